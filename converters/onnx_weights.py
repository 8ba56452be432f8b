"""The int8 grids of a model's weights, and how much of a file is stored in few bits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgekit.converters import onnx_graph, weight_grid
from edgekit.converters.onnx_graph import Graph, Model, Weights

INTEGERS = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


class Grid(NamedTuple):
    """Symmetric int8 weights, their scales [channels], and the axis that these lie along."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int


def grid(weights: Weights, *, fitted: bool) -> Grid:
    """Weights per output channel as int8.

    Args:
        weights: A layer's weights.
        fitted: Whether CPUs run them that add neighbouring products in 16 bits.
    """
    values = weights.values.astype(np.float32)
    channels = (weights.channels,)
    if fitted:
        found, scale = _fitted(values, weights)
    else:
        scale = weight_grid.full_scale(values, channels)
        found = np.rint(values / scale).astype(np.int8)
    return Grid(found, scale.reshape(-1), weights.channels)


def grids(graph: Graph, float_layers: tuple[str, ...], *, fitted: bool) -> dict[str, Grid]:
    """The grids of all weights that no layer needs in float, by their names."""
    found: dict[str, Grid] = {}
    kept: set[str] = set()
    for node in graph.model.graph.node:
        weights = graph.weights(node)
        if weights is None:
            continue
        if node.name in float_layers:
            kept.add(weights.name)
        elif weights.name not in found:
            found[weights.name] = grid(weights, fitted=fitted)
    return {name: one for name, one in found.items() if name not in kept}


def stored_share(model: Model) -> float:
    """The share of all weight elements that is stored as integers of 8 bits or fewer, 0…1."""
    integers = total = 0
    for entry in _constants(model):
        size = math.prod(entry.dims)
        if len(entry.dims) < 2 or size < 2:
            continue
        if entry.data_type in INTEGERS:
            integers += size
        if entry.data_type in (*INTEGERS, *_FLOATS):
            total += size
    return integers / total if total else 0.0


def _constants(model: Model) -> list[TensorProto]:
    found = list(model.graph.initializer)
    for node in onnx_graph.nodes(model.graph):
        for attribute in node.attribute:
            found.extend(attribute.g.initializer)
            if node.op_type == "Constant" and attribute.name == "value":
                found.append(attribute.t)
    return found


def _fitted(
    values: NDArray[np.float32], weights: Weights
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights whose neighbours fit, in the order that kernels sum in.

    That is over the input channels at one place of the kernel after the other. Where a place has an
    odd number of channels, pairs straddle places, and either neighbour may be the partner.
    """
    channels, inputs = weights.channels, weights.inputs
    places = math.prod(values.shape[2:])
    if inputs is None or values.shape[inputs] % 2 == 0 or places == 1:
        return weight_grid.fit_weights(values, (channels,), inputs)
    lined = np.moveaxis(values, (channels, inputs), (0, -1)).reshape(values.shape[channels], -1)
    shifted = np.pad(lined, ((0, 0), (1, 0)))
    needed = [weight_grid.fit_weights(one, (0,), 1)[1] for one in (lined, shifted)]
    shape = [1] * values.ndim
    shape[channels] = -1
    scale = np.maximum(*needed).reshape(shape)
    return np.rint(values / scale).astype(np.int8), scale
