"""2:4 sparsity, by hand-made weights."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402

from edgekit.converters import tensorrt_sparsity  # noqa: E402

HALF = np.array([1, 0, 0, 2, 0, 3, 4, 0], np.float32)
"""Along this axis two of four are zero; of (0, 3, 4, 0) and (1, 0, 0, 2) both."""


def model(node, weights, *more):
    graph = helper.make_graph(
        [*more, node],
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.float32(1), "s")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    ("kind", "weights", "options", "sparse"),
    [
        ("Conv", np.tile(HALF[None, :, None, None], (3, 1, 3, 3)), {}, True),
        ("Conv", np.tile(HALF[:, None, None, None], (1, 8, 3, 3)), {}, False),
        ("Gemm", np.tile(HALF[:, None], (1, 8)), {}, True),
        ("Gemm", np.tile(HALF[None], (8, 1)), {}, False),
        ("Gemm", np.tile(HALF[None], (8, 1)), {"transB": 1}, True),
        ("MatMul", np.tile(HALF[:, None], (1, 5)), {}, True),
        ("MatMul", np.tile(HALF[:6, None], (1, 5)), {}, False),
        ("Conv", np.ones((4, 1, 3, 3), np.float32), {"group": 4}, False),
    ],
)
def test_two_of_four_are_counted_along_what_a_layer_sums_over(kind, weights, options, sparse):
    node = helper.make_node(kind, ["x", "w"], ["y"], name="layer", **options)
    assert tensorrt_sparsity.layers(model(node, weights)) == (("layer",) if sparse else ())


def test_int8_weights_are_looked_at_behind_their_dequantization():
    pair = helper.make_node("DequantizeLinear", ["w", "s"], ["f"])
    node = helper.make_node("MatMul", ["x", "f"], ["y"], name="layer")
    weights = np.tile(HALF[:, None], (1, 5)).astype(np.int8)
    assert tensorrt_sparsity.layers(model(node, weights, pair)) == ("layer",)
