"""Cross-layer equalization: channels of one activation get alike ranges, and nothing else changes.

relu(s · x) = s · relu(x): what divides a channel before it and multiplies the weights that read it
leaves the function as it is (Nagel et al. 2019, arXiv 1906.04721, section 4.1). Where the layer
before has a scale per channel, its weights need no help, and it is the activation's ranges that are
made alike, at the cost of the weights that read them, half and half (Xiao et al. 2022, SmoothQuant,
arXiv 2211.10438); a depthwise layer that reads them has scales of its own and pays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernels, layer_kinds
from edgekit.compression.graph import (
    Graph,
    Layer,
    Tensor,
    calls_by_layer,
    consumers,
    inputs_of,
    is_plain,
)
from edgekit.compression.int8_rules import Rules, function

Array = NDArray[Any]

LARGEST_FACTOR = 64.0
_POOLING = {kind for kind in layer_kinds.POOLING if not kind.endswith("3D")}
_THROUGH = (
    _POOLING | layer_kinds.NOISE | layer_kinds.PADDING | layer_kinds.CROPPING
    | {"Identity", "ReLU", "Activation", "LeakyReLU", "Flatten"}
)  # fmt: skip
_HOMOGENEOUS = (None, "linear", "relu", "leakyrelu")
"""Activations with f(s · x) = s · f(x) for s > 0."""


class Pair(NamedTuple):
    """A layer that makes an activation, and the only one that reads it."""

    before: str
    after: str


def pairs(graph: Graph, rules: Rules) -> list[Pair]:
    """The pairs of layers whose channels in between may be scaled, in the order of computation."""
    read_by, calls = consumers(graph), calls_by_layer(graph)
    found = []
    for name in rules.kernels:
        if not _may_scale(graph.layers[name]) or len(calls[name]) > 1:
            continue
        after = _reader(graph, read_by, Tensor(calls[name][0]))
        taken = after in rules.kernels and len(calls[after or ""]) == 1
        if after is not None and taken and _may_be_scaled(graph.layers[after]):
            found.append(Pair(name, after))
    return found


def equalize(graph: Graph, rules: Rules, largest: Mapping[str, Array]) -> list[Pair]:
    """Scales the model that a graph was read from, in place.

    Args:
        graph: As read; the variables of its layers change, its own copies do not.
        rules: Of int8.
        largest: For each layer with a kernel, the largest magnitude of each channel that it reads.

    Returns:
        The pairs whose channels were scaled.
    """
    made = []
    for pair in pairs(graph, rules):
        before, after = (graph.layers[name].source for name in pair)
        made_by = _outputs(before, graph, pair)
        if rules.kernels[pair.before][0].channels:
            made_by = largest[pair.after].reshape(-1, len(made_by)).max(axis=0)
        rows = _input_rows(after, graph.layers[pair.after], len(made_by))
        free = graph.layers[pair.after].kind in kernels.DEPTHWISE
        factors = _factors(made_by, None if free else np.abs(rows).max(axis=(0, 2)))
        _divide(before, graph.layers[pair.before], factors)
        _multiply(after, graph.layers[pair.after], factors)
        made.append(pair)
    return made


def _factors(activation: Array, weights: Array | None) -> Array:
    """What each channel is divided by, of geometric mean 1; 1 for channels that are always 0."""
    alive = activation > 0 if weights is None else (activation > 0) & (weights > 0)
    ratio = np.ones(len(activation))
    if weights is None:
        ratio[alive] = activation[alive]
    else:
        ratio[alive] = np.sqrt(activation[alive] / weights[alive])
    if not alive.any():
        return ratio
    ratio[alive] /= np.exp(np.log(ratio[alive]).mean())
    return np.clip(ratio, 1 / LARGEST_FACTOR, LARGEST_FACTOR)


def _may_scale(layer: Layer) -> bool:
    kinds = kernels.KERNELS - kernels.SEPARABLE
    return (
        layer.kind in kinds
        and function(layer) in _HOMOGENEOUS
        and kernels.is_plain(layer)
        and (layer.kind not in kernels.DEPTHWISE or layer.weights[0].shape[-1] == 1)
    )


def _may_be_scaled(layer: Layer) -> bool:
    return layer.kind in kernels.KERNELS - kernels.SEPARABLE and kernels.is_plain(layer)


def _reader(graph: Graph, read_by: Mapping[Tensor, list[int]], tensor: Tensor) -> str | None:
    """The layer that alone reads an activation, behind what treats all channels alike."""
    while True:
        readers = read_by.get(tensor, [])
        if len(readers) != 1 or readers[0] < 0:
            return None
        call = graph.calls[readers[0]]
        layer = graph.layers[call.layer]
        if not is_plain(call) or inputs_of(call) != [tensor]:
            return None
        if layer.kind not in _THROUGH:
            return layer.name
        if function(layer) not in _HOMOGENEOUS or not _channels_last(layer):
            return None
        tensor = Tensor(readers[0])


def _channels_last(layer: Layer) -> bool:
    return str(layer.config.get("data_format", "channels_last")) == "channels_last"


def _outputs(source: Any, graph: Graph, pair: Pair) -> Array:
    """The largest weight of each output channel."""
    kernel, layer = source.weights[0].numpy(), graph.layers[pair.before]
    axis = kernel.ndim - (2 if layer.kind in kernels.TRANSPOSED | kernels.DEPTHWISE else 1)
    others = tuple(one for one in range(kernel.ndim) if one != axis)
    found: Array = np.abs(kernel).max(axis=others)
    return found


def _input_rows(source: Any, layer: Layer, channels: int) -> Array:
    """The weights as [taps, input channels, outputs]; a Dense behind Flatten has several taps."""
    kernel: Array = source.weights[0].numpy()
    if layer.kind in kernels.TRANSPOSED:
        kernel = np.swapaxes(kernel, -1, -2)
    if layer.kind == "Dense":
        return kernel.reshape(-1, channels, kernel.shape[-1])
    return kernel.reshape(-1, *kernel.shape[-2:])


def _divide(source: Any, layer: Layer, factors: Array) -> None:
    kernel = source.weights[0].numpy()
    beside = layer.kind in kernels.TRANSPOSED | kernels.DEPTHWISE
    source.weights[0].assign(kernel / (factors[:, None] if beside else factors))
    if layer.config["use_bias"]:
        source.weights[1].assign(source.weights[1].numpy() / factors)


def _multiply(source: Any, layer: Layer, factors: Array) -> None:
    kernel = source.weights[0].numpy()
    rows = _input_rows(source, layer, len(factors)) * factors[:, None]
    if layer.kind in kernels.TRANSPOSED:
        kernel = np.swapaxes(rows.reshape(np.swapaxes(kernel, -1, -2).shape), -1, -2)
    else:
        kernel = rows.reshape(kernel.shape)
    source.weights[0].assign(kernel)
