"""Builds int8 `.tflite` graphs operator by operator, and runs them with LiteRT's own kernels.

Nothing of edgekit is used: what is built and answered here is what generated code is compared with.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}


class Graph:
    """A graph under construction. Tensors are numbers; `int8` takes a scale and a zero point."""

    def __init__(self):
        self.tensors, self.operators, self.buffers, self.codes = [], [], [schema.BufferT()], []

    def int8(self, shape, scale=0.05, zero_point=0, values=None, axis=0):
        """A tensor of int8; with values a constant, with a list of scales one per channel."""
        return self.tensor(
            shape, schema.TensorType.INT8, values, np.atleast_1d(scale), zero_point, axis
        )

    def int32(self, values, scale=None):
        """A constant of int32: a bias, axes, a shape."""
        values = np.asarray(values, np.int32)
        scales = None if scale is None else np.atleast_1d(scale)
        return self.tensor(values.shape, schema.TensorType.INT32, values, scales, 0, 0)

    def float32(self, shape):
        """A computed float tensor."""
        return self.tensor(shape, schema.TensorType.FLOAT32, None, None, 0, 0)

    def tensor(self, shape, kind, values, scales, zero_point, axis):
        found = schema.TensorT()
        found.name, found.shape, found.type = f"t{len(self.tensors)}", list(shape), kind
        if values is not None:
            buffer = schema.BufferT()
            dtype = np.int32 if kind == schema.TensorType.INT32 else np.int8
            buffer.data = np.frombuffer(np.asarray(values, dtype).tobytes(), np.uint8)
            self.buffers.append(buffer)
            found.buffer = len(self.buffers) - 1
        if scales is not None:
            found.quantization = schema.QuantizationParametersT()
            found.quantization.scale = [float(scale) for scale in scales]
            found.quantization.zeroPoint = [zero_point] * len(scales)
            found.quantization.quantizedDimension = axis
        self.tensors.append(found)
        return len(self.tensors) - 1

    def add(self, name, inputs, outputs, version=1, **options):
        """An operator by its name in the schema; options by theirs."""
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.version = number, version
        code.deprecatedBuiltinCode = min(number, 127)
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        kind = OPTIONS.get(name)
        if kind:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")()
            for key, value in options.items():
                assert hasattr(operator.builtinOptions, key), f"{kind} has no {key}"
                setattr(operator.builtinOptions, key, value)
        self.operators.append(operator)

    def finish(self, inputs, outputs):
        """The file's bytes."""
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs, graph.name = list(inputs), list(outputs), "main"
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs = 3, self.codes, [graph]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def small_cnn(seed=0, *, float_edges=False):
    """A convolution, an average, a dense layer and a softmax: [1, 6, 6, 2] to three classes.

    With float edges the model quantizes its input and dequantizes its output itself.
    """
    random = np.random.default_rng(seed)
    graph = Graph()
    x = graph.int8((1, 6, 6, 2), 0.05, 3)
    scales = random.uniform(0.002, 0.01, 4)
    w = graph.int8((4, 3, 3, 2), scales, 0, random.integers(-127, 128, (4, 3, 3, 2)))
    b = graph.int32(random.integers(-500, 500, 4), 0.05 * scales)
    y = graph.int8((1, 6, 6, 4), 0.04, -128)
    graph.add(
        "CONV_2D", [x, w, b], [y], version=3, padding=0, strideH=1, strideW=1,
        dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=1,
    )  # fmt: skip
    pooled = graph.int8((1, 1, 1, 4), 0.04, -128)
    graph.add(
        "AVERAGE_POOL_2D", [y], [pooled], version=2, padding=1, strideH=6, strideW=6,
        filterHeight=6, filterWidth=6,
    )  # fmt: skip
    flat, shape = graph.int8((1, 4), 0.04, -128), graph.int32([1, 4])
    graph.add("RESHAPE", [pooled, shape], [flat])
    dense = graph.int8((3, 4), 0.01, 0, random.integers(-127, 128, (3, 4)))
    bias = graph.int32(random.integers(-100, 100, 3), 0.04 * 0.01)
    scores, classes = graph.int8((1, 3), 0.05, 5), graph.int8((1, 3), 1 / 256, -128)
    graph.add("FULLY_CONNECTED", [flat, dense, bias], [scores], version=4)
    graph.add("SOFTMAX", [scores], [classes], version=2, beta=1.0)
    if not float_edges:
        return graph.finish([x], [classes])
    first, last = graph.float32((1, 6, 6, 2)), graph.float32((1, 3))
    graph.add("DEQUANTIZE", [classes], [last], version=2)
    graph.add("QUANTIZE", [first], [x])
    graph.operators.insert(0, graph.operators.pop())
    return graph.finish([first], [last])


OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
}


def reference(content):
    """A function from input arrays to output arrays, by LiteRT's reference kernels.

    Each tensor has memory of its own: LiteRT 2.3 computes RESHAPE and ADD in place, and in graphs
    where one tensor is reshaped for several readers it overwrites what another still reads.
    """
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()

    def run(*arrays):
        for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]

    return run
