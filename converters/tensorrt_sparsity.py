"""Which layers' weights are 2:4 sparse, so that TensorRT may take kernels that skip the zeros.

Of every four consecutive values along the axis that a layer sums over (a convolution's input
channels, a product's inputs) at least two are zero. Source: NVIDIA's TensorRT documentation,
"Structured sparsity".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from edgekit.converters.onnx_graph import LAYERS, Model, Node, nodes

GROUP, MOST = 4, 2
"""Of so many neighbours so many may be other than zero."""


def layers(model: Model) -> tuple[str, ...]:
    """The names of the layers whose weights, float or int8, are so; in the order of the nodes."""
    weights = {entry.name: entry for entry in model.graph.initializer}
    stored = {
        node.output[0]: node.input[0]
        for node in nodes(model.graph)
        if node.op_type == "DequantizeLinear"
    }
    found = []
    for node in nodes(model.graph):
        if node.op_type not in LAYERS or len(node.input) < 2:
            continue
        name = stored.get(node.input[1], node.input[1])
        if name in weights and is_sparse(_summed_last(node, numpy_helper.to_array(weights[name]))):
            found.append(str(node.name or node.output[0]))
    return tuple(found)


def is_sparse(values: NDArray[np.generic]) -> bool:
    """Whether at most two of every four neighbours along the last axis are other than zero."""
    length = values.shape[-1] if values.ndim else 0
    if length == 0 or length % GROUP:
        return False
    groups = values.reshape(-1, GROUP)
    return bool((np.count_nonzero(groups, axis=1) <= MOST).all())


def _summed_last(node: Node, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Weights with the axis that the layer sums over at the end."""
    if node.op_type == "Conv":
        return np.moveaxis(values, 1, -1)
    turned = node.op_type == "Gemm" and any(
        entry.name == "transB" and entry.i for entry in node.attribute
    )
    return values if turned or values.ndim < 2 else np.moveaxis(values, -2, -1)
