"""Counts parameters and MACs of a graph with some channels removed, without removing them.

Both are sums over calls of a·given·made + b·given + c·made + d, where `given` and `made` are how
many channels its input and output keep. The MACs are those that `layer_macs` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernels
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, Tensor, inputs_of, outputs_of
from edgekit.layer_macs import layer_macs

Array = NDArray[Any]
Quantity = Literal["macs", "parameters"]
Coefficients = tuple[int, int, int, int]
"""Of the product of both widths, of the input's, of the output's, and what does not depend."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One quantity of a graph.

    `layers` names the layer of each row, `coefficients` has shape (rows, 4); `given` and `made`,
    (rows, 2), are the ranges of elements that its first input and first output cover. `uncounted`
    are layers with a kernel that no figure is known for, since a size may vary.
    """

    layers: tuple[str, ...]
    coefficients: Array
    given: Array
    made: Array
    uncounted: tuple[str, ...] = ()

    def rows(self, keep: Array) -> Array:
        """The quantity per row, int64, where `keep` says of each element whether it stays."""
        before = np.concatenate([[0], np.cumsum(keep)])
        given = before[self.given[:, 1]] - before[self.given[:, 0]]
        made = before[self.made[:, 1]] - before[self.made[:, 0]]
        terms = np.stack([given * made, given, made, np.ones_like(made)], axis=1)
        return np.asarray((terms * self.coefficients).sum(axis=1))

    def total(self, keep: Array) -> int:
        """The quantity as a whole."""
        return int(self.rows(keep).sum())

    def savings(self, channels: Channels) -> Array:
        """What each group saves if it goes alone, at the group's smallest element."""
        saved = np.zeros(channels.total)
        for (both, given, made, _), reads, makes in zip(
            self.coefficients, self.given, self.made, strict=True
        ):
            saved[slice(*reads)] += both * (makes[1] - makes[0]) + given
            saved[slice(*makes)] += both * (reads[1] - reads[0]) + made
        return np.bincount(channels.group, saved, minlength=channels.total)


def counter(graph: Graph, channels: Channels, quantity: Quantity) -> Counter:
    """Prepares the count of one quantity.

    Args:
        graph: As `graph.read` made it, and not changed since.
        channels: Its channels.
        quantity: "macs", of one sample, or "parameters", statistics included.
    """
    layers, coefficients, given, made, uncounted = [], [], [], [], []
    seen: set[str] = set()
    for number, call in graph.calls.items():
        layer, reads = graph.layers[call.layer], inputs_of(call)
        makes = outputs_of(number, call)
        sizes = [channels.size[tensor] for tensor in (reads[:1] + makes[:1])]
        if quantity == "parameters":
            found = _parameters(layer, sizes) if layer.name not in seen else (0, 0, 0, 0)
        else:
            count = layer_macs(
                layer.source,
                [graph.shape(tensor)[1:] for tensor in reads],
                [shape[1:] for shape in call.shapes],
            )
            if count is None and layer.kind in kernels.KERNELS:
                uncounted.append(layer.name)
            found = _macs(layer, sizes, count or 0)
        seen.add(layer.name)
        layers.append(layer.name)
        coefficients.append(found)
        given.append(_range(channels, reads))
        made.append(_range(channels, makes))
    return Counter(
        tuple(layers), np.array(coefficients, np.int64), np.array(given), np.array(made),
        tuple(uncounted),
    )  # fmt: skip


def _range(channels: Channels, found: Sequence[Tensor]) -> tuple[int, int]:
    if not found:
        return 0, 0
    start = channels.offset[found[0]]
    return start, start + channels.size[found[0]]


def _parameters(layer: Layer, sizes: Sequence[int]) -> Coefficients:
    elements = sum(weight.size for weight in layer.weights)
    made = sizes[-1]
    if layer.kind == "PReLU" and made and layer.weights[0].shape[-1] == made:
        return 0, 0, elements // made, 0
    if layer.kind == "BatchNormalization" and elements == len(layer.weights) * made:
        return 0, 0, len(layer.weights), 0
    if not _plain_kernel(layer, sizes):
        return 0, 0, 0, elements
    both, given = _kernel(layer, sizes)
    return both, given, int(layer.config["use_bias"]), 0


def _macs(layer: Layer, sizes: Sequence[int], count: int) -> Coefficients:
    if not count or not _plain_kernel(layer, sizes):
        return 0, 0, 0, count
    both, given = _kernel(layer, sizes)
    places = count // (both * sizes[0] * sizes[1] + given * sizes[0])
    return places * both, places * given, 0, 0


def _plain_kernel(layer: Layer, sizes: Sequence[int]) -> bool:
    plain = layer.kind in kernels.KERNELS and kernels.is_plain(layer)
    return plain and len(sizes) == 2 and all(sizes)


def _kernel(layer: Layer, sizes: Sequence[int]) -> tuple[int, int]:
    """Weights of the kernels per pair of channels, and per input channel."""
    given, made = sizes
    if layer.kind in kernels.DEPTHWISE:
        return 0, layer.weights[0].size // given
    if layer.kind in kernels.SEPARABLE:
        return layer.weights[1].size // (given * made), layer.weights[0].size // given
    return layer.weights[0].size // (given * made), 0
