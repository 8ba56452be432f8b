"""Channel pruning: removes the least important channels and leaves a smaller dense model.

A group of channels that depend on each other goes as a whole; groups made by the same layers form
a bundle, within which they compete.

How to choose was tried on MLPerf Tiny's ResNet-8 (88.1 %), normalization measured again and nothing
trained. Scope "global" at a ratio of 0.25: "taylor" 44 %, "l1" 25 %; scope "layer" 29 % and 31 %:
norms of weights say nothing across layers. At 80 % of the MACs "taylor" by importance per MAC that
goes with a channel gave 78 %, by importance alone 33 %, and "l1" 59 % and 61 % (68 % per layer). So
a budget weighs importance against cost, as Molchanov et al. 2017 do (arXiv 1611.06440, FLOPs
regularization), only where importance is a change of the loss.
"reconstruction", which also adjusts what reads the channels, gave 83.5 % at 80 % of the MACs with
nothing trained or measured again, and needs no labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.compression import (
    channel_groups,
    channel_order,
    counting,
    importance,
    reconstruction,
    sensitivity,
    slicing,
)
from edgekit.compression.channel_groups import Channels
from edgekit.compression.channel_order import Bundle, Order, Scope
from edgekit.compression.counting import Counter, Quantity
from edgekit.compression.graph import Graph, Tensor
from edgekit.compression.importance import Criterion
from edgekit.errors import ModelError, UsageError
from edgekit.recipe_types import Removal

Array = NDArray[Any]


_WHY = "the layers that read them make up for them best"
QUANTITIES: tuple[Quantity, ...] = ("parameters", "macs")
_UNITS: dict[Quantity, str] = {"parameters": "parameters", "macs": "MACs"}


@dataclass(frozen=True, slots=True)
class Budget:
    """The largest number of MACs or parameters that a model may have."""

    quantity: Quantity
    largest: int

    @property
    def key(self) -> str:
        """What a recipe calls it."""
        return f"max_{self.quantity}"


@dataclass(frozen=True, slots=True)
class Pruning:
    """What pruning did.

    `removed` per layer; `kept` are the layers that keep all their channels, and why. `before` and
    `after` are parameters and MACs of one sample; `budget` is what was asked for, if a budget was.
    `sizes` are the channels that were free before, by the layers that make them. `errors` is by
    layer what `reconstruction.choose` says, None for another criterion.
    """

    removed: list[Removal]
    kept: list[Removal]
    before: dict[Quantity, int]
    after: dict[Quantity, int]
    budget: Budget | None
    sizes: dict[str, int]
    errors: dict[str, float | None] | None = None


def prune_channels(
    graph: Graph,
    ratio: float | None = None,
    *,
    max_macs: int | None = None,
    max_parameters: int | None = None,
    criterion: Criterion = "l1",
    scope: Scope = "layer",
    multiple: int = 1,
    taylor: Array | None = None,
    samples: reconstruction.Samples | None = None,
    whole: Mapping[str, int] | None = None,
    curves: Mapping[str, sensitivity.Curve] | None = None,
) -> Pruning:
    """Removes channels in place, as many as exactly one of the first three arguments says.

    Args:
        graph: As `graph.read` made it, and not changed since.
        ratio: Share of the channels to remove, 0 ≤ ratio < 1: of every bundle, or of all together.
        max_macs: Remove channels until the model has no more MACs (of one sample) than this.
        max_parameters: Likewise parameters, statistics included.
        criterion: How important a channel is; see `importance` and, for "taylor", `taylor`.
        scope: "layer": the same share everywhere; "global": the least important ones anywhere, but
            no layer loses more than `channel_order.MOST_LOST` or, if that is more, the ratio.
        multiple: Kept channels are rounded up to a multiple of this, as far as there are some.
        taylor: Importance per group from `taylor.importance`, where that is the criterion.
        samples: What "reconstruction" looks at; weights that read what goes are adjusted.
        whole: `Pruning.sizes` of the first of several cuts: a ratio is one of what was there then.
        curves: What each bundle's loss does to the output, by `bundle_names`: how far each goes
            is then chosen by `sensitivity`, and not by scope.

    Raises:
        UsageError: The ratio is not below 1 or is negative, or not exactly one amount is given.
        ModelError: The budget cannot be met, or nobody knows the MACs of a layer.
    """
    asked = _asked(ratio, max_macs, max_parameters)
    channels = channel_groups.of_graph(graph)
    counters = {name: counting.counter(graph, channels, name) for name in QUANTITIES}
    score = scores(graph, channels, criterion, taylor)
    if samples is not None and scope == "global":
        plain = _order(channels, score, scope, multiple)
        score = reconstruction.scores(graph, channels, plain, samples)
    if curves is not None:
        order = _by_damage(graph, channels, score, curves, _prices(counters, asked, channels))
        order, scope = replace(order, multiple=multiple), "global"
    elif isinstance(asked, Budget):
        if (taylor is not None or samples is not None) and scope == "global":
            score = score / _prices(counters, asked, channels)
        order = _order(channels, score, scope, multiple)
    else:
        order = _order(channels, score, scope, multiple, asked)
    if isinstance(asked, Budget):
        lost = _within(graph, channels, order, counters[asked.quantity], asked)
    else:
        lost = channel_order.share(order, asked, scope, _then(graph, order, whole or {}))
    errors = None
    if samples is not None:
        order, errors = reconstruction.choose(graph, channels, order, lost, samples)
    why = _WHY if criterion == "reconstruction" else f"least important by {criterion}"
    return replace(_cut(graph, channels, counters, order, lost, asked, why), errors=errors)


def _then(graph: Graph, order: Order, whole: Mapping[str, int]) -> list[int]:
    """The channels of each bundle before the first of several cuts; 0 where none came before."""
    return [whole.get(name, 0) for name in bundle_names(graph, order.bundles)]


def _cut(
    graph: Graph,
    channels: Channels,
    counters: Mapping[Quantity, Counter],
    order: Order,
    lost: Array,
    asked: float | Budget,
    why: str,
) -> Pruning:
    """Removes what was chosen, and says what the graph was and is."""
    sizes = [bundle.groups.size for bundle in order.bundles]
    names = bundle_names(graph, order.bundles)
    keep = order.keep(channels, lost)
    removed, kept = _report(graph, channels, ~keep, why)
    slicing.cut(graph, channels, keep)
    everything = np.ones(channels.total, bool)
    before, after = (
        {name: counter.total(which) for name, counter in counters.items()}
        for which in (everything, keep)
    )
    return Pruning(
        removed,
        kept,
        before,
        after,
        asked if isinstance(asked, Budget) else None,
        dict(zip(names, sizes, strict=True)),
    )


def bundle_names(graph: Graph, bundles: Sequence[Bundle]) -> list[str]:
    """What each bundle is known by, whatever was cut off it: the layers that make it."""
    return [
        "+".join(graph.layers[graph.calls[number].layer].name for number in bundle.makers)
        for bundle in bundles
    ]


def scores(graph: Graph, channels: Channels, criterion: Criterion, taylor: Array | None) -> Array:
    """Importance per group, as far as weights tell it; what "bn-scale" cannot rate is frozen."""
    norm: Criterion = "l1" if criterion == "reconstruction" else criterion
    score = importance.from_weights(graph, channels, norm) if taylor is None else taylor
    if criterion == "bn-scale":
        _freeze(channels, np.isnan(score), "no batch normalization scales them: bn-scale is silent")
    return score


def _freeze(channels: Channels, groups: Array, why: str) -> None:
    """Keeps the elements of some groups, for a reason that is reported."""
    channels.reasons.append(why)
    silent = groups[channels.group] & (channels.reason == 0)
    channels.reason[silent] = len(channels.reasons) - 1


def as_plain(made: Pruning) -> dict[str, Any]:
    """A pruning as JSON takes it.

    Returns:
        `removed` and `kept`, each a list of `recipe_types.Removal`; `parameters_before`,
        `parameters_after`, `macs_before`, `macs_after`; and `budget`, None for a ratio, else
        `quantity`, what was `asked`, `before` and `reached`, and whether it was `met_already`.
        With the criterion "reconstruction" also `reconstruction_error` by layer.
    """
    budget = None
    if made.budget is not None:
        quantity = made.budget.quantity
        budget = {
            "quantity": quantity,
            "asked": made.budget.largest,
            "before": made.before[quantity],
            "reached": made.after[quantity],
            "met_already": made.before[quantity] <= made.budget.largest,
        }
    counts = {
        f"{name}_{when}": found[name]
        for when, found in (("before", made.before), ("after", made.after))
        for name in QUANTITIES
    }
    removed, kept = msgspec.to_builtins((made.removed, made.kept))
    errors = {} if made.errors is None else {"reconstruction_error": made.errors}
    return {"removed": removed, "kept": kept, "budget": budget, **counts, **errors}


def _asked(ratio: float | None, max_macs: int | None, max_parameters: int | None) -> float | Budget:
    given = [value for value in (ratio, max_macs, max_parameters) if value is not None]
    if len(given) != 1:
        raise UsageError(
            f"channels takes one of ratio, max_macs and max_parameters, and {len(given)} came",
            "leave one: ratio = 0.5",
        )
    if ratio is not None:
        if 0 <= ratio < 1:
            return ratio
        raise UsageError(f"ratio is {ratio:g}; allowed is 0 ≤ ratio < 1", "ratio = 0.5")
    asked = Budget("macs" if max_macs is not None else "parameters", int(given[0]))
    if asked.largest < 1:
        raise UsageError(
            f"{asked.key} is {asked.largest}; allowed is 1 or more", f"{asked.key} = 100000"
        )
    return asked


def _order(
    channels: Channels, score: Array, scope: Scope, multiple: int, ratio: float = 0
) -> Order:
    most = max(channel_order.MOST_LOST, ratio)
    return channel_order.ordered(channel_order.bundles(channels, score), scope, multiple, most)


def _prices(
    counters: Mapping[Quantity, Counter], asked: float | Budget, channels: Channels
) -> Array:
    """What each group saves of what is asked for: of a ratio's channels, one."""
    if isinstance(asked, Budget):
        return np.maximum(counters[asked.quantity].savings(channels), 1)
    return np.ones(channels.total)


def _by_damage(
    graph: Graph,
    channels: Channels,
    score: Array,
    curves: Mapping[str, sensitivity.Curve],
    prices: Array,
) -> Order:
    found = channel_order.bundles(channels, score)
    damages = [
        sensitivity.per_channel(curves[name], bundle.groups.size) / prices[bundle.groups].mean()
        for name, bundle in zip(bundle_names(graph, found), found, strict=True)
    ]
    return channel_order.by_damage(found, damages)


def _within(
    graph: Graph, channels: Channels, order: Order, counter: Counter, asked: Budget
) -> Array:
    if asked.quantity == "macs" and counter.uncounted:
        name = counter.uncounted[0]
        raise ModelError(
            f"the MACs of '{name}' ({graph.layers[name].kind}) are not known, since the size of its"
            " input may vary",
            "use max_parameters or ratio, or fix the size of the model's input",
        )
    found = channel_order.fit(
        order, lambda lost: counter.total(order.keep(channels, lost)), asked.largest
    )
    if found is not None:
        return found
    least = order.keep(channels, order.removed(order.owners.size))
    raise ModelError(*_out_of_reach(graph, channels, counter, least, asked))


def _out_of_reach(
    graph: Graph, channels: Channels, counter: Counter, least: Array, asked: Budget
) -> tuple[str, str]:
    """Says how far channels can go, and which layers hold what is left then."""
    rows, total = counter.rows(least), counter.total(least)
    largest = [int(row) for row in np.argsort(-rows, kind="stable")[:3] if rows[row]]
    held = ", ".join(
        f"'{counter.layers[row]}' ({graph.layers[counter.layers[row]].kind}) {rows[row]:,}"
        for row in largest
    )
    whole = counter.total(np.ones(channels.total, bool))
    message = (
        f"{asked.key} is {asked.largest:,} and cannot be met: with every channel gone that may go,"
        f" {total:,} of {whole:,} {_UNITS[asked.quantity]} remain, most of them in {held}"
    )
    return message, f"{asked.key} = {total} or more; edgekit inspect --recipe says what is kept"


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
