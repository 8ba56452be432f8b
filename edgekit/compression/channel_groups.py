"""Which channels stand and fall together: the dependency groups of a graph's channels.

Every channel of every tensor is an element. Layers that treat channels alone tie the elements
before and after them; merges tie their inputs; layers with a kernel read elements and make new
ones. Whatever is not known to keep channels apart freezes those it touches, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import activations, bounds, kernels, layer_kinds
from edgekit.compression.graph import (
    Call,
    Graph,
    Layer,
    Tensor,
    calls_by_layer,
    inputs_of,
    is_plain,
    outputs_of,
    tensors,
)

Array = NDArray[Any]


@dataclass(slots=True)
class Channels:
    """The elements of a graph.

    `offset` and `size` place each tensor's channels among all elements; `group` names each
    element's group by its smallest element; `reason` is an index into `reasons`, 0 for free ones.
    `readers` are the calls of layers with a kernel, which can do with fewer inputs; `makers` those
    whose kernel makes new channels; `frozen_by` layers (name, kind, why) that keep all of theirs.
    """

    offset: dict[Tensor, int] = field(default_factory=dict)
    size: dict[Tensor, int] = field(default_factory=dict)
    total: int = 0
    group: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    reason: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    reasons: list[str] = field(default_factory=lambda: [""])
    readers: list[int] = field(default_factory=list)
    makers: list[int] = field(default_factory=list)
    frozen_by: list[tuple[str, str, str]] = field(default_factory=list)

    def of(self, tensor: Tensor) -> Array:
        """The elements of a tensor's channels."""
        return np.arange(self.offset[tensor], self.offset[tensor] + self.size[tensor])


def of_graph(graph: Graph) -> Channels:
    """Finds the dependency groups.

    Returns:
        The channels, of which those are frozen that cannot be removed whatever their values.
    """
    return _Grouping(graph).run()


class _Grouping:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found = Channels()
        self.edges: list[tuple[Array, Array]] = []
        self.shared = {name for name, calls in calls_by_layer(graph).items() if len(calls) > 1}

    def run(self) -> Channels:
        found = self.found
        for number, call in self.graph.calls.items():
            for tensor in outputs_of(number, call):
                found.offset[tensor] = found.total
                found.size[tensor] = bounds.channels(self.graph.shape(tensor))
                found.total += found.size[tensor]
        found.reason = np.zeros(found.total, np.int64)
        for number, call in self.graph.calls.items():
            self._call(number, call)
        for tensor, name in zip(tensors(self.graph.outputs), self.graph.output_names, strict=True):
            self.freeze([tensor], f"they are the model's output '{name}'")
        found.group = _components(found.total, self.edges)
        return found

    def _call(self, number: int, call: Call) -> None:
        layer = self.graph.layers[call.layer]
        given, made = inputs_of(call), outputs_of(number, call)
        if layer.kind == "InputLayer":
            self.freeze(made, f"they are the model's input '{layer.name}'")
            return
        rule = _RULES.get(layer.kind)
        holds_sizes = bool(layer.weights) or layer.kind == "Reshape"
        why = None
        if layer.name in self.shared and holds_sizes:
            why = "is called more than once"
        elif len(made) != 1:
            why = f"has {len(made)} outputs"
        elif not is_plain(call):
            why = "is called with more than its inputs"
        elif rule is None or not rule(self, _Use(number, layer, given, made[0])):
            why = "is not known to treat channels one by one"
        if why:
            self.freeze([*given, *made], f"'{layer.name}' ({layer.kind}) {why}")
            self.found.frozen_by.append((layer.name, layer.kind, f"it {why}"))

    def freeze(self, chosen: Sequence[Tensor], why: str) -> None:
        """Keeps all channels of these tensors."""
        self.found.reasons.append(why)
        for tensor in chosen:
            elements = self.found.of(tensor)
            free = elements[self.found.reason[elements] == 0]
            self.found.reason[free] = len(self.found.reasons) - 1

    def tie(self, first: Array, second: Array) -> None:
        """Makes elements stand and fall together, pair by pair."""
        self.edges.append((first, second))


def _components(total: int, edges: Sequence[tuple[Array, Array]]) -> Array:
    """The smallest element that each element is connected with (Shiloach and Vishkin 1982)."""
    parent = np.arange(total)
    if not edges:
        return parent
    first, second = (np.concatenate(side) for side in zip(*edges, strict=True))
    while True:
        one, other = parent[first], parent[second]
        if (one == other).all():
            return parent
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
        while (parent[parent] != parent).any():
            parent = parent[parent]


class _Use(NamedTuple):
    """A call with one output: its number, its layer, what it reads and what it makes."""

    number: int
    layer: Layer
    given: list[Tensor]
    made: Tensor


def _reads(grouping: _Grouping, use: _Use) -> bool:
    if (
        len(use.given) != 1
        or not kernels.is_plain(use.layer)
        or not grouping.found.size[use.given[0]]
    ):
        return False
    grouping.found.readers.append(use.number)
    grouping.found.makers.append(use.number)
    if not _elementwise(use.layer):
        grouping.freeze(
            [use.made], f"'{use.layer.name}' mixes them: {use.layer.config['activation']}"
        )
    return True


def _elementwise(layer: Layer) -> bool:
    value = layer.config["activation"]
    return value is None or activations.named(value) is not None


def _passes(grouping: _Grouping, use: _Use) -> bool:
    found = grouping.found
    if len(use.given) != 1 or found.size[use.given[0]] != found.size[use.made] or _first(use.layer):
        return False
    grouping.tie(found.of(use.given[0]), found.of(use.made))
    return True


def _first(layer: Layer) -> bool:
    return layer.config.get("data_format") == "channels_first"


def _activates(grouping: _Grouping, use: _Use) -> bool:
    known = bounds.layer_activation(use.layer) is not None
    return known and _passes(grouping, use)


def _normalizes(grouping: _Grouping, use: _Use) -> bool:
    rank = len(grouping.graph.shape(use.made))
    plain = bounds.normalizes_channels(use.layer, rank)
    return plain and _passes(grouping, use)


def _depthwise(grouping: _Grouping, use: _Use) -> bool:
    if len(use.given) != 1 or not kernels.is_plain(use.layer) or not _elementwise(use.layer):
        return False
    multiplier = use.layer.config["depth_multiplier"]
    grouping.tie(
        np.repeat(grouping.found.of(use.given[0]), multiplier), grouping.found.of(use.made)
    )
    grouping.found.makers.append(use.number)
    return True


def _merges(grouping: _Grouping, use: _Use) -> bool:
    found, shapes = grouping.found, [grouping.graph.shape(tensor) for tensor in use.given]
    if any(found.size[tensor] != found.size[use.made] for tensor in use.given):
        return False  # one channel spread over many
    if len({len(shape) for shape in shapes}) > 1:
        return False
    for tensor in use.given:
        grouping.tie(found.of(tensor), found.of(use.made))
    return True


def _concatenates(grouping: _Grouping, use: _Use) -> bool:
    found = grouping.found
    if use.layer.config["axis"] not in (-1, len(grouping.graph.shape(use.made)) - 1):
        return _merges(grouping, use)
    if sum(found.size[tensor] for tensor in use.given) != found.size[use.made]:
        return False
    grouping.tie(np.concatenate([found.of(tensor) for tensor in use.given]), found.of(use.made))
    return True


def _flattens(grouping: _Grouping, use: _Use) -> bool:
    found, shape = grouping.found, grouping.graph.shape(use.made)
    before, after = found.size[use.given[0]], found.size[use.made]
    if len(use.given) != 1 or not before or not after or _first(use.layer):
        return False
    if before != after and (len(shape) != 2 or after % before):
        return False
    grouping.tie(np.tile(found.of(use.given[0]), after // before), found.of(use.made))
    return True


Rule = Callable[[_Grouping, _Use], bool]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(kernels.MIXING, _reads),
    **dict.fromkeys(kernels.DEPTHWISE, _depthwise),
    **dict.fromkeys(layer_kinds.CHANNELWISE, _passes),
    **dict.fromkeys(layer_kinds.ACTIVATIONS, _activates),
    **dict.fromkeys(layer_kinds.MERGING, _merges),
    "PReLU": _passes,
    "BatchNormalization": _normalizes,
    "Concatenate": _concatenates,
    "Flatten": _flattens,
    "Reshape": _flattens,
}
