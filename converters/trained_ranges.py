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


ALIKE = 0.01
"""Largest difference of two ranges that are the same to int8, over what both span: 2.5 steps."""


class Matched(NamedTuple):
    """Ranges by tensor; how many were given, which ones no tensor has; tensors that have none.

    `unclear` gives, for a tensor that several ranges fit which differ, whose these are.
    """

    ranges: dict[str, Range]
    trained: int
    unused: list[str]
    without: list[str]
    unclear: dict[str, list[str]]


def extremes(lows: Sequence[float], highs: Sequence[float]) -> Extremes:
    """Of a tensor, from the extremes of each sample."""
    count = max(1, len(lows))
    return min(lows), max(highs), sum(lows) / count, sum(highs) / count


def match(trained: Sequence[Mapping[str, Any]], seen: Mapping[str, Extremes]) -> Matched:
    """The range of each tensor whose extremes are those of a trained one.

    Where several are, and their ranges differ, it gets one that spans them all: nothing is cut off.

    Args:
        trained: `name`, `range` (two numbers) and `extremes` (four) of each; those of one name are
            tensors inside one layer, which an artifact need not have all of.
        seen: Of the graph's tensors.
    """
    ranges: dict[str, Range] = {}
    used: set[str] = set()
    without: list[str] = []
    unclear: dict[str, list[str]] = {}
    for tensor, found in seen.items():
        near = _near(trained, found)
        if not near:
            without.append(tensor)
            continue
        whole = _spanning(near)
        differ = any(_differ(whole, one["range"]) for one in near)
        if differ:
            unclear[tensor] = [str(one["name"]) for one in near]
        nearest = near[0]["range"]
        ranges[tensor] = whole if differ else (float(nearest[0]), float(nearest[1]))
        used |= {one["name"] for one in near}
    names = dict.fromkeys(str(one["name"]) for one in trained)
    unused = [name for name in names if name not in used]
    return Matched(ranges, len(names), unused, without, unclear)


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
    if matched.unclear:
        tensor, names = next(iter(matched.unclear.items()))
        more = f", and {len(matched.unclear) - 1} more likewise" * (len(matched.unclear) > 1)
        said.append(
            f"{tensor} has the values of several activations whose trained ranges differ"
            f" ({_shown(names)}), and gets a range that spans them{more}"
        )
    return said


def _near(trained: Sequence[Mapping[str, Any]], found: Sequence[float]) -> list[Mapping[str, Any]]:
    """The trained ones that a tensor can be, the nearest first."""
    every = [(_distance(one["extremes"], found), one) for one in trained]
    near = [pair for pair in every if pair[0] <= TOLERANCE]
    return [one for _, one in sorted(near, key=lambda pair: pair[0])]


def _spanning(near: Sequence[Mapping[str, Any]]) -> Range:
    lows, highs = zip(*(one["range"] for one in near), strict=True)
    return float(min(lows)), float(max(highs))


def _differ(whole: Range, own: Sequence[float]) -> bool:
    width = max(whole[1] - whole[0], 1e-30)
    return max(own[0] - whole[0], whole[1] - own[1]) / width > ALIKE


def _distance(ours: Sequence[float], theirs: Sequence[float]) -> float:
    magnitude = max(abs(ours[0]), abs(ours[1]), abs(theirs[0]), abs(theirs[1]), 1e-30)
    return max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) / magnitude


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
