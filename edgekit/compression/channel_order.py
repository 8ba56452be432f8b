"""In which order channels go, and how far: by a share of them, or until a budget is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Tensor

Array = NDArray[Any]
Scope = Literal["layer", "global"]

MOST_LOST = 0.9
"""Share of its channels that one bundle may lose in scope "global" unless more is asked for.

A global order can empty a single layer, through which everything must pass: layer collapse
(Tanaka et al. 2020, Pruning neural networks without any data, arXiv 2006.05467).
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The free groups that the same layers make: they compete with each other.

    `groups` are in the order in which they go, with their `score` in the same order.
    """

    makers: tuple[int, ...]
    groups: Array
    score: Array


@dataclass(frozen=True, slots=True)
class Order:
    """All removals, first to last: the bundle that each of them is taken from."""

    bundles: tuple[Bundle, ...]
    owners: Array
    multiple: int = 1

    def removed(self, count: int) -> Array:
        """How many channels each bundle loses if the first `count` removals are made.

        What it keeps is rounded up to a multiple, as far as there are some.
        """
        taken = np.bincount(self.owners[:count], minlength=len(self.bundles))
        return np.array(
            [self.rounded(bundle.groups.size, int(lost))
             for bundle, lost in zip(self.bundles, taken, strict=True)], np.int64,
        )  # fmt: skip

    def rounded(self, size: int, lost: int) -> int:
        """How many of `size` channels go if `lost` are to, and the rest is rounded up."""
        kept = max(1, math.ceil((size - lost) / self.multiple) * self.multiple)
        return max(0, size - kept)

    def keep(self, channels: Channels, removed: Array) -> Array:
        """Per element whether it stays."""
        gone = np.zeros(channels.total, bool)
        for bundle, lost in zip(self.bundles, removed, strict=True):
            gone[bundle.groups[:lost]] = True
        return np.asarray(~gone[channels.group])


def bundles(channels: Channels, score: Array) -> tuple[Bundle, ...]:
    """Groups that nothing freezes, by the layers that make them, the least score first."""
    frozen = np.zeros(channels.total, bool)
    np.logical_or.at(frozen, channels.group, channels.reason > 0)
    makers: dict[int, list[int]] = {}
    for number in channels.makers:
        for group in np.unique(channels.group[channels.of(Tensor(number))]).tolist():
            if not frozen[group]:
                makers.setdefault(group, []).append(number)
    members: dict[tuple[int, ...], list[int]] = {}
    for group in sorted(makers):
        members.setdefault(tuple(sorted(makers[group])), []).append(group)
    found = []
    for which, groups in sorted(members.items()):
        order = np.argsort(score[groups], kind="stable")
        found.append(Bundle(which, np.array(groups)[order], score[groups][order]))
    return tuple(found)


def ordered(found: Sequence[Bundle], scope: Scope, multiple: int, most: float = 1.0) -> Order:
    """The order of removals; the last channel of a bundle is never in it.

    Args:
        found: The bundles.
        scope: "layer": the same share everywhere; "global": the least score anywhere.
        multiple: Of what kept channels are rounded up to.
        most: Share of its channels that a bundle may lose in scope "global".
    """
    keys, owners = [np.zeros(0)], [np.zeros(0, np.int64)]
    for number, bundle in enumerate(found):
        size = bundle.groups.size
        most_here = size - 1 if scope == "layer" else min(size - 1, math.floor(size * most))
        share = np.arange(1, size + 1) / size
        keys.append((share if scope == "layer" else bundle.score)[:most_here])
        owners.append(np.full(most_here, number))
    order = np.argsort(np.concatenate(keys), kind="stable")
    return Order(tuple(found), np.concatenate(owners)[order], multiple)


def by_damage(found: Sequence[Bundle], damages: Sequence[Array]) -> Order:
    """The order of removals by what each does to the output; see `sensitivity.per_channel`.

    Args:
        found: The bundles.
        damages: Of each bundle's removals, rising; as many as may be made of it.
    """
    keys = np.concatenate([np.zeros(0), *damages])
    owners = np.repeat(np.arange(len(found)), [one.size for one in damages])
    return Order(tuple(found), owners[np.argsort(keys, kind="stable")])


def share(order: Order, ratio: float, scope: Scope, whole: Sequence[int]) -> Array:
    """How many channels each bundle loses for a ratio: of every bundle, or of all together.

    Args:
        order: Of all removals that may be made.
        ratio: Of what there was, earlier cuts included.
        scope: See `ordered`.
        whole: What each bundle once had, if more than now.
    """
    sizes = [bundle.groups.size for bundle in order.bundles]
    once = [max(pair) for pair in zip(sizes, whole, strict=True)]
    if scope == "global":
        return order.removed(max(0, math.floor(sum(once) * ratio) - (sum(once) - sum(sizes))))
    wanted = [
        max(0, math.floor(then * ratio) - (then - now))
        for then, now in zip(once, sizes, strict=True)
    ]
    return np.array([order.rounded(*pair) for pair in zip(sizes, wanted, strict=True)], np.int64)


def fit(order: Order, cost: Callable[[Array], int], budget: int) -> Array | None:
    """The fewest removals, along the order, whose cost is within the budget.

    The search is by bisection: the cost falls with every removal. Then whatever still fits is
    given back, the last removed first, so that the model is as large as the budget allows.

    Args:
        order: Of all removals that may be made.
        cost: Of a model whose bundles lose these numbers of channels.
        budget: The largest cost allowed.

    Returns:
        The channels that each bundle loses; None if all removals together are not enough.
    """
    low, high = 0, order.owners.size
    if cost(order.removed(high)) > budget:
        return None
    while low < high:
        middle = (low + high) // 2
        if cost(order.removed(middle)) <= budget:
            high = middle
        else:
            low = middle + 1
    lost, closed = order.removed(low), set[int]()
    for owner in reversed(order.owners[:low].tolist()):
        while owner not in closed and lost[owner]:
            tried = lost.copy()
            size = order.bundles[owner].groups.size
            tried[owner] = order.rounded(size, max(0, int(lost[owner]) - order.multiple))
            if cost(tried) <= budget:
                lost = tried
            else:
                closed.add(owner)
    return lost
