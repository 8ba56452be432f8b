"""Cuts channels out of a graph: weights, configs and recorded shapes, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernels
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, Tensor, inputs_of, outputs_of

Array = NDArray[Any]


def cut(graph: Graph, channels: Channels, keep: Array) -> None:
    """Removes the channels that are not kept, in place.

    Args:
        graph: The model.
        channels: Its channels, from `channel_groups.of_graph`.
        keep: Per element whether it stays; the same for all elements of a group, true for frozen
            ones, and true for at least one channel of each tensor.
    """
    masks = {tensor: keep[channels.of(tensor)] for tensor in channels.offset}
    done: set[str] = set()
    for number, call in graph.calls.items():
        given = [masks[tensor] for tensor in inputs_of(call)]
        made = [masks[tensor] for tensor in outputs_of(number, call)]
        layer = graph.layers[call.layer]
        if not all(mask.all() for mask in (*given, *made)) and layer.name not in done:
            done.add(layer.name)
            _cut_layer(layer, given[0], made[0])
    for tensor, mask in masks.items():
        if not mask.all():
            _record(graph, tensor, int(mask.sum()))


def _record(graph: Graph, tensor: Tensor, size: int) -> None:
    shapes = graph.calls[tensor.call].shapes
    shapes[tensor.index] = (*shapes[tensor.index][:-1], size)


def _cut_layer(layer: Layer, given: Array, made: Array) -> None:
    kept = int(made.sum())
    if layer.kind in kernels.CONVOLUTIONS | {"Dense"}:
        layer.weights[0] = layer.weights[0][..., given, :][..., made]
        layer.weights[1:] = [bias[made] for bias in layer.weights[1:]]
        layer.config["units" if layer.kind == "Dense" else "filters"] = kept
    elif layer.kind in kernels.TRANSPOSED:
        layer.weights[0] = layer.weights[0][..., made, :][..., given]
        layer.weights[1:] = [bias[made] for bias in layer.weights[1:]]
        layer.config["filters"] = kept
    elif layer.kind in kernels.SEPARABLE:
        inner = np.repeat(given, layer.config["depth_multiplier"])
        layer.weights[0] = layer.weights[0][..., given, :]
        layer.weights[1] = layer.weights[1][..., inner, :][..., made]
        layer.weights[2:] = [bias[made] for bias in layer.weights[2:]]
        layer.config["filters"] = kept
    elif layer.kind in kernels.DEPTHWISE:
        layer.weights[0] = layer.weights[0][..., given, :]
        layer.weights[1:] = [bias[made] for bias in layer.weights[1:]]
    elif layer.kind == "BatchNormalization":
        layer.weights = [weight[made] for weight in layer.weights]
    elif layer.kind == "PReLU" and layer.weights[0].shape[-1] == made.size:
        layer.weights[0] = layer.weights[0][..., made]
    elif layer.kind == "Reshape" and layer.config["target_shape"][-1] != -1:
        layer.config["target_shape"] = (*layer.config["target_shape"][:-1], kept)
