"""How important each group of channels is, from the weights alone.

By the norm of a channel's weights over the mean of its layer (Li et al. 2017, Pruning Filters for
Efficient ConvNets, arXiv 1608.08710), averaged over all that a group holds (Fang et al. 2023,
DepGraph, arXiv 2301.12900); or by the size of its scale in batch normalization (Liu et al. 2017,
Network Slimming, arXiv 1708.06519). `taylor` and
`reconstruction` have what looks at data.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernels
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, Tensor

Array = NDArray[Any]
Criterion = Literal["l1", "l2", "bn-scale", "taylor", "reconstruction"]


def from_weights(graph: Graph, channels: Channels, criterion: Criterion) -> Array:
    """Mean normalized importance per group, at the group's smallest element.

    Args:
        graph: The model; its batch normalizations not folded, if they are to be the criterion.
        channels: Its channels.
        criterion: "l1" or "l2" norm, or "bn-scale", which is NaN where no normalization scales.
    """
    total, count = np.zeros(channels.total), np.zeros(channels.total)
    for number in sorted(_scored(graph, channels, criterion)):
        scores = _scores(graph.layers[graph.calls[number].layer], criterion)
        elements = channels.group[channels.of(Tensor(number))]
        mean = float(scores.mean())
        np.add.at(total, elements, scores / mean if mean else scores)
        np.add.at(count, elements, 1)
    if criterion == "bn-scale":
        total[count == 0] = np.nan
    return np.asarray(total / np.maximum(count, 1))


def _scored(graph: Graph, channels: Channels, criterion: Criterion) -> set[int]:
    """The calls whose weights speak for their channels."""
    if criterion != "bn-scale":
        return set(channels.makers)
    return {
        number
        for number, call in graph.calls.items()
        if graph.layers[call.layer].kind == "BatchNormalization"
        and graph.layers[call.layer].config["scale"]
        and not channels.reason[channels.of(Tensor(number))].all()
    }


def _scores(layer: Layer, criterion: Criterion) -> Array:
    if criterion == "bn-scale":
        return np.abs(layer.weights[0].astype(np.float64))
    if layer.kind in kernels.DEPTHWISE:
        kernel = layer.weights[0].astype(np.float64)
        rows = kernel.reshape(-1, math.prod(kernel.shape[-2:]))
    else:
        taps = kernels.linear(layer).taps.astype(np.float64)
        rows = taps.reshape(-1, taps.shape[-1])
    return np.asarray(np.linalg.norm(rows, ord=1 if criterion == "l1" else 2, axis=0))
