"""The smallest real artifacts, made here: a dense layer as .tflite, OpenVINO IR and .onnx.

Numbers of known meaning: outputs are x @ weights + bias, which numpy computes independently.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
BIAS = np.array([0.5, -1.0, 0.25], np.float32)


def dense(x):
    """What every float model here computes, [n, 4] → [n, 3]."""
    return x @ WEIGHTS + BIAS


def dense_tflite(path: Path, batch: int | None = 1, signature: str | None = None) -> Path:
    """A float fully connected layer with the tensors `in` and `out`.

    With a signature its names are `features` and `scores`; batch None may vary.
    """
    tensors = [
        _tensor("in", [batch or 1, 4], schema.TensorType.FLOAT32, varies=batch is None),
        _tensor("weights", [3, 4], schema.TensorType.FLOAT32, buffer=1),
        _tensor("bias", [3], schema.TensorType.FLOAT32, buffer=2),
        _tensor("out", [batch or 1, 3], schema.TensorType.FLOAT32, varies=batch is None),
    ]
    return _write(path, tensors, [np.ascontiguousarray(WEIGHTS.T), BIAS], signature)


def wide_tflite(path: Path, outputs: int, inputs: int = 512, name: str = "out") -> Path:
    """A float layer large enough for its work to show: inputs × outputs multiply-accumulates.

    Another name of the output gives other bytes and the same work.
    """
    weights = np.random.default_rng(0).normal(size=(outputs, inputs)).astype(np.float32)
    tensors = [
        _tensor("in", [1, inputs], schema.TensorType.FLOAT32),
        _tensor("weights", [outputs, inputs], schema.TensorType.FLOAT32, buffer=1),
        _tensor("bias", [outputs], schema.TensorType.FLOAT32, buffer=2),
        _tensor(name, [1, outputs], schema.TensorType.FLOAT32),
    ]
    return _write(path, tensors, [weights, np.zeros(outputs, np.float32)], None)


def image_tflite(path: Path) -> Path:
    """The dense layer on a grey image of 2 × 2 pixels."""
    tensors = [
        _tensor("in", [1, 2, 2, 1], schema.TensorType.FLOAT32),
        _tensor("weights", [3, 4], schema.TensorType.FLOAT32, buffer=1),
        _tensor("bias", [3], schema.TensorType.FLOAT32, buffer=2),
        _tensor("out", [1, 3], schema.TensorType.FLOAT32),
    ]
    return _write(path, tensors, [np.ascontiguousarray(WEIGHTS.T), BIAS], None)


def identity_int8_tflite(path: Path, width: int, scale: float, zero_point: int) -> Path:
    """An int8 fully connected layer whose weights are the identity: it gives back what it got."""
    quantized = {"scale": scale, "zero_point": zero_point}
    int8 = schema.TensorType.INT8
    weights = np.eye(width, dtype=np.int8) * np.int8(127)
    bias = np.zeros(width, np.int32)
    tensors = [
        _tensor("in", [1, width], int8, **quantized),
        _tensor("weights", [width, width], int8, buffer=1, scale=1 / 127),
        _tensor("bias", [width], schema.TensorType.INT32, buffer=2, scale=scale / 127),
        _tensor("out", [1, width], int8, **quantized),
    ]
    return _write(path, tensors, [weights, bias], None)


def dense_ir(path: Path, batch: int | None = 1) -> Path:
    """The dense layer as OpenVINO IR, with the inputs and outputs `in` and `out`."""
    import openvino  # noqa: PLC0415 an extra
    from openvino import opset13 as ops  # noqa: PLC0415

    x = ops.parameter([-1 if batch is None else batch, 4], np.float32, "in")
    x.output(0).set_names({"in"})
    y = ops.add(ops.matmul(x, WEIGHTS, False, False), BIAS)
    y.output(0).set_names({"out"})
    openvino.save_model(openvino.Model([y], [x], "dense"), path, compress_to_fp16=False)
    return path


def dense_onnx(path: Path, batch: int | None = 1) -> Path:
    """The dense layer as .onnx, with the inputs and outputs `in` and `out`."""
    import onnx  # noqa: PLC0415 an extra
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    size = "n" if batch is None else batch
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["in", "weights", "bias"], ["out"])],
        "dense",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [size, 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [size, 3])],
        [numpy_helper.from_array(WEIGHTS, "weights"), numpy_helper.from_array(BIAS, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def _tensor(name, shape, dtype, *, buffer=0, varies=False, scale=None, zero_point=0):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, dtype, buffer
    if varies:
        tensor.shapeSignature = [-1, *shape[1:]]
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [scale]
        tensor.quantization.zeroPoint = [zero_point]
    return tensor


def _write(path, tensors, constants, signature):
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [3]
    graph.operators, graph.name = [operator], "main"
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(1 + len(constants))]
    for buffer, values in zip(model.buffers[1:], constants, strict=True):
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    if signature:
        model.signatureDefs = [_signature(signature)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _signature(key):
    found = schema.SignatureDefT()
    found.signatureKey, found.subgraphIndex = key, 0
    found.inputs, found.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    found.inputs[0].name, found.inputs[0].tensorIndex = "features", 0
    found.outputs[0].name, found.outputs[0].tensorIndex = "scores", 3
    return found
