"""Channel pruning: removes the least important channels and leaves a smaller dense model.

A group of channels that depend on each other goes as a whole. Groups made by the same layers form
a bundle, and within a bundle they compete. Importance is the norm of a channel's weights over the
mean of its layer (Li et al. 2017, Pruning Filters for Efficient ConvNets, arXiv 1608.08710),
averaged over all that a group holds (Fang et al. 2023, DepGraph, arXiv 2301.12900).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import channel_groups, kernels, slicing
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, Tensor
from edgekit.errors import UsageError
from edgekit.types import Removal

Array = NDArray[Any]
Criterion = Literal["l1", "l2", "bn-scale"]
Scope = Literal["layer", "global"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The groups that certain layers make together; `score` in the order of `groups`."""

    makers: tuple[int, ...]
    groups: Array
    score: Array


def prune_channels(
    graph: Graph,
    ratio: float,
    *,
    criterion: Criterion = "l1",
    scope: Scope = "layer",
    multiple: int = 1,
) -> tuple[list[Removal], list[Removal]]:
    """Removes channels in place.

    Args:
        graph: The model; its batch normalizations not folded, if they are to be the criterion.
        ratio: Share of the channels to remove, 0 ≤ ratio < 1: of every bundle, or of all together.
        criterion: How important a channel is: norm of its weights, or size of its BN scale.
        scope: "layer": the same share everywhere; "global": the least important ones anywhere.
        multiple: Kept channels are rounded up to a multiple of this, as far as there are some.

    Returns:
        What was removed per layer, and which layers keep all their channels and why.

    Raises:
        UsageError: The ratio is not below 1 or is negative.
    """
    if not 0 <= ratio < 1:
        raise UsageError(f"ratio is {ratio:g}; allowed is 0 ≤ ratio < 1", "ratio = 0.5")
    channels = channel_groups.of_graph(graph)
    importance = _importance(graph, channels, criterion)
    bundles = _bundles(channels, importance)
    wanted = _uniform(bundles, ratio) if scope == "layer" else _global(bundles, ratio)
    gone = np.zeros(channels.total, bool)
    for bundle, count in zip(bundles, wanted, strict=True):
        kept = math.ceil((bundle.groups.size - count) / multiple) * multiple
        order = np.argsort(bundle.score, kind="stable")
        gone[bundle.groups[order[: max(0, bundle.groups.size - max(1, kept))]]] = True
    gone = gone[channels.group]
    _spare_last_ones(channels, importance, gone)
    report = _report(graph, channels, gone, f"least important by {criterion}")
    slicing.cut(graph, channels, ~gone)
    return report


def _importance(graph: Graph, channels: Channels, criterion: Criterion) -> Array:
    """Mean normalized importance per group, at the group's smallest element."""
    total, count = np.zeros(channels.total), np.zeros(channels.total)
    for number in sorted(_scored(graph, channels, criterion)):
        scores = _scores(graph.layers[graph.calls[number].layer], criterion)
        elements = channels.group[channels.of(Tensor(number))]
        mean = float(scores.mean())
        np.add.at(total, elements, scores / mean if mean else scores)
        np.add.at(count, elements, 1)
    return total / np.maximum(count, 1)


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


def _bundles(channels: Channels, importance: Array) -> list[Bundle]:
    """Joins makers that share a group, and lists their groups that nothing freezes."""
    frozen = np.zeros(channels.total, bool)
    np.logical_or.at(frozen, channels.group, channels.reason > 0)
    members: list[tuple[set[int], set[int]]] = []
    for number in channels.makers:
        groups = set(channels.group[channels.of(Tensor(number))].tolist())
        makers = {number}
        apart = []
        for known_makers, known_groups in members:
            if known_groups & groups:
                makers |= known_makers
                groups |= known_groups
            else:
                apart.append((known_makers, known_groups))
        members = [*apart, (makers, groups)]
    found = []
    for makers, groups in members:
        free = np.array([group for group in sorted(groups) if not frozen[group]], np.int64)
        if free.size:
            found.append(Bundle(tuple(sorted(makers)), free, importance[free]))
    return found


def _uniform(bundles: list[Bundle], ratio: float) -> list[int]:
    return [int(bundle.groups.size * ratio) for bundle in bundles]


def _global(bundles: list[Bundle], ratio: float) -> list[int]:
    """How many of each bundle are among the least important of all."""
    scores = [bundle.score for bundle in bundles]
    if not scores:
        return []
    owner = np.repeat(np.arange(len(bundles)), [score.size for score in scores])
    order = np.argsort(np.concatenate(scores), kind="stable")
    chosen = owner[order[: int(owner.size * ratio)]]
    return [int(number) for number in np.bincount(chosen, minlength=len(bundles))]


def _spare_last_ones(channels: Channels, importance: Array, gone: Array) -> None:
    """Gives back the most important channel to each tensor that would have none."""
    for tensor, size in channels.size.items():
        elements = channels.of(tensor)
        if size and gone[elements].all():
            groups = channels.group[elements]
            gone[channels.group == groups[np.argmax(importance[groups])]] = False


def _report(
    graph: Graph, channels: Channels, gone: Array, why: str
) -> tuple[list[Removal], list[Removal]]:
    removed, kept = [], []
    for number in channels.makers:
        layer = graph.layers[graph.calls[number].layer]
        elements = channels.of(Tensor(number))
        count = int(gone[elements].sum())
        if count:
            remaining = int(elements.size) - count
            removed.append(Removal(layer.name, layer.kind, count, remaining, why))
            continue
        inside = np.isin(channels.group, channels.group[elements])
        reasons = np.unique(channels.reason[inside])
        if reasons[-1] > 0:
            text = channels.reasons[int(reasons[-1])]
            kept.append(Removal(layer.name, layer.kind, 0, int(elements.size), text))
    known = {removal.layer for removal in kept}
    kept += [
        Removal(name, kind, None, None, why)
        for name, kind, why in dict.fromkeys(channels.frozen_by)
        if name not in known
    ]
    return removed, kept
