"""Removes channels that are the same for every input, or that nothing reads: exactly.

A group of channels may go when every layer with a kernel that reads one of them loses nothing: its
weights there are zero, or the channel is zero, or it is a constant that moves into the bias. That
last one is exact only where the kernel never reaches over a zero-padded border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import bounds, channel_groups, kernels, layer_kinds, slicing
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, Tensor, consumers, inputs_of
from edgekit.compression.ranges import Bounds
from edgekit.recipe_types import Removal

Array = NDArray[Any]

ROUNDED = "the channel count stays a multiple of {}, which the target's kernels like"
ZERO, CONSTANT, UNREAD = "always 0", "constant", "read by no weight"


@dataclass(slots=True)
class Verdict:
    """Per element: whether its group may go, and what was proven of it.

    `value` is the constant, NaN where there is none; `blocked` an index into `obstacles`.
    """

    removable: Array
    value: Array
    zero: Array
    folded: Array
    blocked: Array
    obstacles: list[str]


def remove(
    graph: Graph, input_limit: float, multiple: int = 1
) -> tuple[list[Removal], list[Removal], list[Removal]]:
    """Removes dead and constant channels in place, until none is left.

    Args:
        graph: The model.
        input_limit: Largest magnitude of an input value that the proofs may assume.
        multiple: Channel counts that are multiples of this stay so: fewer channels go then.

    Returns:
        What was removed, what is dead and had to stay, and which layers freeze their channels.
    """
    removed: list[Removal] = []
    while True:
        channels = channel_groups.of_graph(graph)
        verdict = _judge(graph, channels, input_limit)
        free = verdict.removable & ~_last_ones(channels, verdict.removable)
        going = _rounded(channels, free, multiple)
        if not going.any():
            return removed, _kept(graph, channels, verdict, free, multiple), _frozen(channels)
        anyhow = going
        if math.isfinite(input_limit):
            anyhow = _judge(graph, channels, math.inf).removable
        removed += _removals(graph, channels, verdict, going, going & ~anyhow, input_limit)
        for number in channels.readers:
            _fold(graph, channels, number, verdict, going)
        slicing.cut(graph, channels, ~going)


def _judge(graph: Graph, channels: Channels, input_limit: float) -> Verdict:
    found = bounds.of_graph(graph, input_limit)
    value = np.full(channels.total, np.nan)
    for tensor, known in found.items():
        if channels.size[tensor]:
            value[channels.of(tensor)] = _constants(known)
    verdict = Verdict(
        removable=channels.reason == 0,
        value=value,
        zero=np.ones(channels.total, bool),
        folded=np.zeros(channels.total, bool),
        blocked=np.zeros(channels.total, np.int64),
        obstacles=[""],
    )
    for number in channels.readers:
        _ask_reader(graph, channels, number, verdict)
    verdict.removable = _all_in_group(channels, verdict.removable & (verdict.blocked == 0))
    verdict.zero = _all_in_group(channels, verdict.zero)
    verdict.folded = ~_all_in_group(channels, ~verdict.folded)
    return verdict


def _constants(known: Bounds) -> Array:
    return np.where(known.constant, known.low, np.nan)


def _all_in_group(channels: Channels, flags: Array) -> Array:
    """Whether a flag is set for every element of an element's group."""
    whole = np.ones(channels.total, bool)
    np.logical_and.at(whole, channels.group, flags)
    return np.asarray(whole[channels.group])


def _ask_reader(graph: Graph, channels: Channels, number: int, verdict: Verdict) -> None:
    call = graph.calls[number]
    layer = graph.layers[call.layer]
    elements = channels.of(inputs_of(call)[0])
    read = kernels.linear(layer).taps.any(axis=(0, 2))
    value = verdict.value[elements]
    constant, zero = ~np.isnan(value), value == 0
    verdict.zero[elements] &= zero
    exact = not kernels.sees_borders(layer)
    verdict.folded[elements] |= read & constant & ~zero & exact
    for mask, why in (
        (read & ~constant, f"it does not stay so up to '{layer.name}'"),
        (read & constant & ~zero & (not exact), f"the zero padding of '{layer.name}' would show"),
    ):
        verdict.obstacles.append(why)
        verdict.blocked[elements[mask]] = len(verdict.obstacles) - 1


def _last_ones(channels: Channels, removable: Array) -> Array:
    """One group for each tensor that would lose all its channels: a layer needs one."""
    spared = np.zeros(channels.total, bool)
    for tensor, size in channels.size.items():
        elements = channels.of(tensor)
        if size and (removable & ~spared)[elements].all():
            spared |= channels.group == channels.group[elements[0]]
    return spared


def _rounded(channels: Channels, going: Array, multiple: int) -> Array:
    """Spares groups until every layer whose channels are a multiple keeps a multiple."""
    going = going.copy()
    makers = [channels.of(Tensor(number)) for number in channels.makers]
    uneven = True
    while uneven:
        uneven = False
        for elements in makers:
            excess = int(going[elements].sum()) % multiple
            if excess and elements.size % multiple == 0:
                groups = np.unique(channels.group[elements[going[elements]]])
                going &= ~np.isin(channels.group, groups[-excess:])
                uneven = True
    return going


def _fold(graph: Graph, channels: Channels, number: int, verdict: Verdict, going: Array) -> None:
    """Moves the effect of constants that go into the bias of the layer that reads them."""
    call = graph.calls[number]
    layer = graph.layers[call.layer]
    elements = channels.of(inputs_of(call)[0])
    moved = np.where(going[elements], np.nan_to_num(verdict.value[elements]), 0.0)
    chosen = moved.nonzero()[0]
    if not chosen.size or kernels.sees_borders(layer):
        return
    mapped = kernels.linear(layer)
    effect = np.einsum("tco,c->o", mapped.taps[:, chosen].astype(np.float64), moved[chosen])
    if not effect.any():
        return
    bias = (mapped.bias + effect).astype(layer.weights[0].dtype)
    if layer.config["use_bias"]:
        layer.weights[-1] = bias
    else:
        layer.weights.append(bias)
        layer.config["use_bias"] = True


def _removals(
    graph: Graph, channels: Channels, verdict: Verdict, going: Array, assumed: Array, limit: float
) -> list[Removal]:
    found = []
    for number in channels.makers:
        layer = graph.layers[graph.calls[number].layer]
        elements = channels.of(Tensor(number))
        gone = elements[going[elements]]
        if not gone.size:
            continue
        kinds = np.where(verdict.zero[gone], ZERO, np.where(verdict.folded[gone], CONSTANT, UNREAD))
        why = ", ".join(
            f"{int((kinds == kind).sum())} {kind}{_where_to(kind)}"
            for kind in (ZERO, CONSTANT, UNREAD)
            if (kinds == kind).any()
        )
        if assumed[gone].any():
            why += f" ({int(assumed[gone].sum())} of them for inputs within ±{limit:g})"
        remaining = int(elements.size - gone.size)
        found.append(Removal(layer.name, layer.kind, int(gone.size), remaining, why))
    return found


def _where_to(kind: str) -> str:
    return ", moved into the next bias" if kind == CONSTANT else ""


def _kept(
    graph: Graph, channels: Channels, verdict: Verdict, spared: Array, multiple: int
) -> list[Removal]:
    """Channels that are constant at their end, or that nothing reads, and why they had to stay."""
    dead = _constant_in_the_end(graph, channels, verdict) | spared
    why = np.asarray(channels.reasons)[channels.reason]
    blocked = np.asarray(verdict.obstacles)[verdict.blocked]
    why = np.where(why == "", blocked, why)
    why = np.where(spared, ROUNDED.format(multiple), why)
    order = np.flatnonzero(why != "")[::-1]
    of_group = {
        int(group): str(text) for group, text in zip(channels.group[order], why[order], strict=True)
    }
    found = []
    for number in channels.makers:
        layer = graph.layers[graph.calls[number].layer]
        elements = channels.of(Tensor(number))
        reasons: dict[str, int] = {}
        for group in channels.group[elements[dead[elements]]]:
            text = of_group.get(int(group), "a layer needs at least one channel")
            reasons[text] = reasons.get(text, 0) + 1
        found += [
            Removal(
                layer.name,
                layer.kind,
                count,
                int(elements.size),
                f"{_what(text, multiple)}, but {text}",
            )
            for text, count in reasons.items()
        ]
    return found


def _what(why: str, multiple: int) -> str:
    return "removable" if why == ROUNDED.format(multiple) else "constant"


def _constant_in_the_end(graph: Graph, channels: Channels, verdict: Verdict) -> Array:
    """Which elements are constant, or become so in all the layers that only hand them on."""
    dead = ~np.isnan(verdict.value)
    used = consumers(graph)
    for tensor in reversed(list(channels.offset)):
        readers = [graph.calls[number] for number in used.get(tensor, ()) if number >= 0]
        numbers = [number for number in used.get(tensor, ()) if number >= 0]
        if (
            not readers
            or -1 in used[tensor]
            or not all(_hands_on(graph.layers[call.layer], inputs_of(call)) for call in readers)
        ):
            continue
        after = np.ones(channels.size[tensor], bool)
        for number in numbers:
            result = Tensor(number)
            if channels.size[result] != after.size:
                break
            after &= dead[channels.of(result)]
        else:
            dead[channels.of(tensor)] |= after
    return dead


def _hands_on(layer: Layer, given: list[Tensor]) -> bool:
    one_to_one = (
        layer_kinds.ACTIVATIONS | layer_kinds.POOLING | layer_kinds.NOISE | {"BatchNormalization"}
    )
    return layer.kind in one_to_one and len(given) == 1


def _frozen(channels: Channels) -> list[Removal]:
    return [
        Removal(name, kind, None, None, f"its channels stay: {why}")
        for name, kind, why in dict.fromkeys(channels.frozen_by)
    ]
