"""How far each iteration of a channels step goes, so that all of them end where the step asks.

Every iteration removes the same share of what is there, which is what iterative pruning does
(Molchanov et al. 2017, arXiv 1611.06440). A ratio refers to what was there before the first one, so
that roundings do not add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.recipe_types import ChannelsStep

OVERALL = 0.5
"""The share of all channels that the ratio "auto" removes unless told otherwise."""


def overall(step: ChannelsStep) -> float | None:
    """The share of all channels that a ratio "auto" comes to; None where a budget says how far."""
    budgeted = step.max_macs is not None or step.max_parameters is not None
    return None if budgeted else step.overall or OVERALL


def amount(
    step: ChannelsStep,
    iteration: int,
    source: dict[str, Any],
    current: dict[str, Any],
) -> dict[str, Any]:
    """The arguments that say how far one iteration goes.

    Args:
        step: What is asked; shares refer to the source.
        iteration: From 1 to `step.iterations`.
        source: `macs_after` and `parameters_after` of the source.
        current: `macs` and `parameters` of the model as it is.
    """
    left = step.iterations - iteration + 1
    wanted: dict[str, Any] = {"ratio": None, "max_macs": None, "max_parameters": None}
    ratio = overall(step) if step.ratio == "auto" else step.ratio
    if ratio is not None:
        wanted["ratio"] = 1 - (1 - ratio) ** (iteration / step.iterations)
    for key, limit in (("macs", step.max_macs), ("parameters", step.max_parameters)):
        if limit is not None:
            final = limit if isinstance(limit, int) else int(limit * source[f"{key}_after"])
            now = max(int(current[key]), 1)
            wanted[f"max_{key}"] = max(final, int(now * (final / now) ** (1 / left)))
    return {**wanted, "first": iteration == 1}


def merged(cuts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several iterations removed, as one: per layer the sum, and what remains at the end."""
    removed: dict[str, dict[str, Any]] = {}
    for cut in cuts:
        for one in cut["removed"]:
            before = removed.get(one["layer"], {"channels": 0})["channels"]
            removed[one["layer"]] = {**one, "channels": before + one["channels"]}
    return {
        **cuts[-1],
        "removed": list(removed.values()),
        **{key: cuts[0][key] for key in cuts[0] if key.endswith("_before")},
        "budget": cuts[-1]["budget"]
        and {
            **cuts[-1]["budget"],
            "before": cuts[0]["budget"]["before"],
            "met_already": cuts[0]["budget"]["met_already"],
        },
    }
