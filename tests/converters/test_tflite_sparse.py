"""Sparse weights in .tflite: decoded by hand, run by LiteRT, left dense where it refuses them."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekit.converters import tflite, tflite_sparse
from edgekit.errors import ConversionError

INPUTS, OUTPUTS = 300, 64


def dense_layer(weights):
    """A float model of one FULLY_CONNECTED without bias."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(weights.astype(np.float32).tobytes(), np.uint8)
    graph.tensors = []
    for name, shape, buffer in (
        ("x", (1, INPUTS), 0), ("w", weights.shape, 1), ("y", (1, OUTPUTS), 0),
    ):  # fmt: skip
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.operatorCodes = [code]
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [2]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def weights_of(zeros):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    weights[rng.random(weights.shape) < zeros] = 0
    weights[0, :3] = -0.0
    return weights


def decoded(content):
    """The sparse weights, from the flatbuffer alone (schema.fbs: rows dense, columns CSR)."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tensor = model.subgraphs[0].tensors[1]
    rows, columns = tensor.sparsity.dimMetadata
    assert (rows.format, rows.denseSize) == (schema.DimensionType.DENSE, OUTPUTS)
    assert columns.format == schema.DimensionType.SPARSE_CSR
    kept = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.float32)
    ends, places = columns.arraySegments.values, columns.arrayIndices.values
    dense = np.zeros((OUTPUTS, INPUTS), np.float32)
    for row in range(OUTPUTS):
        span = slice(int(ends[row]), int(ends[row + 1]))
        dense[row, places[span]] = kept[span]
    return dense


def test_sparse_weights_are_the_same_bits_in_a_smaller_file_that_litert_runs():
    weights = weights_of(0.9)
    content = dense_layer(weights)
    made, names = tflite_sparse.encode(content, "fp32")
    assert names == ["w"]
    assert len(made) < 0.3 * len(content)
    assert np.array_equal(decoded(made).view(np.uint32), weights.view(np.uint32))
    interpreter = Interpreter(model_content=made, num_threads=1)
    interpreter.allocate_tensors()
    x = np.random.default_rng(1).standard_normal((1, INPUTS)).astype(np.float32)
    interpreter.set_tensor(0, x)
    interpreter.invoke()
    expected = x @ weights.T
    assert interpreter.get_tensor(2) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_weights_that_would_save_little_stay_dense(zeros):
    assert tflite_sparse.encode(dense_layer(weights_of(zeros)), "fp32") is None


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "int16x8", "int4-weight"])
def test_a_precision_whose_kernels_refuse_sparse_weights_stays_dense(precision):
    assert tflite_sparse.encode(dense_layer(weights_of(0.9)), precision) is None


def test_a_sparse_file_is_not_converted_again(tmp_path):
    made, _ = tflite_sparse.encode(dense_layer(weights_of(0.9)), "fp32")
    path = tmp_path / "m.tflite"
    path.write_bytes(made)
    sides = {
        side: [{"name": name, "shape": [1, size], "dtype": "float32"}]
        for side, name, size in (("inputs", "x", INPUTS), ("outputs", "y", OUTPUTS))
    }
    with pytest.raises(ConversionError, match="stores weights sparsely"):
        tflite.Converter().open(str(path), 1, **sides)
