"""Finds, in a converter's own graph, the tensors that a model's trained ranges belong to.

Names and layouts differ from format to format, and activations are fused; values do not. A tensor
whose extremes on the calibration samples are those of a layer's output is that output (or moves
its values around), and has its range. Imports nothing: for converters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

METHOD = "trained"
"""What the calibration method of such an artifact is called."""

TOLERANCE = 1e-3
"""Largest difference of two extremes of one tensor, over its magnitude: float arithmetic."""

Range = tuple[float, float]
Extremes = tuple[float, float, float, float]
"""Lowest and highest value over all samples; means of each sample's lowest and highest one."""


class Matched(NamedTuple):
    """Ranges by tensor; how many were given, which ones no tensor has; tensors that have none."""

    ranges: dict[str, Range]
    trained: int
    unused: list[str]
    without: list[str]


def extremes(lows: Sequence[float], highs: Sequence[float]) -> Extremes:
    """Of a tensor, from the extremes of each sample."""
    count = max(1, len(lows))
    return min(lows), max(highs), sum(lows) / count, sum(highs) / count


def match(trained: Sequence[Mapping[str, Any]], seen: Mapping[str, Extremes]) -> Matched:
    """The range of each tensor whose extremes are those of a trained one.

    Args:
        trained: `name`, `range` (two numbers) and `extremes` (four) of each.
        seen: Of the graph's tensors.
    """
    ranges: dict[str, Range] = {}
    used: set[str] = set()
    without: list[str] = []
    for tensor, found in seen.items():
        near = [(_distance(one["extremes"], found), one) for one in trained]
        distance, best = min(near, key=lambda pair: pair[0], default=(1.0, {}))
        if distance > TOLERANCE:
            without.append(tensor)
            continue
        ranges[tensor] = float(best["range"][0]), float(best["range"][1])
        used |= {one["name"] for other, one in near if other <= TOLERANCE}
    unused = [one["name"] for one in trained if one["name"] not in used]
    return Matched(ranges, len(trained), unused, without)


def notes(matched: Matched) -> list[str]:
    """What a user should know of a match: which ranges were left over, and which were missing."""
    said = []
    if len(matched.unused) > matched.trained / 2:  # some are not rounded by every runtime
        said.append(
            f"{len(matched.unused)} of {matched.trained} trained ranges belong to no activation of"
            f" the artifact: {_shown(matched.unused)}"
        )
    if matched.without:
        count = len(matched.without)
        have = "activation has no trained range, and gets its" if count == 1 else (
            "activations have no trained range, and get their"
        )  # fmt: skip
        said.append(
            f"{count} {have} extremes on the calibration samples: {_shown(matched.without)}"
        )
    return said


def _distance(ours: Sequence[float], theirs: Sequence[float]) -> float:
    magnitude = max(abs(ours[0]), abs(ours[1]), abs(theirs[0]), abs(theirs[1]), 1e-30)
    return max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) / magnitude


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
