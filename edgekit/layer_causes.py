"""Why a layer is bad: likely causes, each with the figures that speak for it, strongest first."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import units
from edgekit.compare_types import Cause
from edgekit.layer_statistics import PairSums
from edgekit.layer_types import Tap

CLIPPED_NOISE = 0.5
"""The share of the error that values outside the range must carry to be its cause."""
ONE_CHANNEL_NOISE = 0.6
GAIN_OFF = 0.25
"""By how much a channel's gain is off 1 before it counts as scaled."""
FEW_LEVELS = 16
SMALL_CHANNEL_STEPS = 8
"""A channel whose largest weight is fewer steps keeps fewer than three of its seven bits."""
SATURATED_ROWS = 0.5


def causes(tap: Tap, sums: PairSums) -> tuple[Cause, ...]:
    """The causes that the figures of a bad layer support; empty where none does.

    Args:
        tap: The artifact's.
        sums: What was seen of it and the reference's.
    """
    return tuple(_causes(tap, sums))


def _causes(tap: Tap, sums: PairSums) -> Iterator[Cause]:
    if not sums.finite:
        yield Cause("not-finite", "it gives NaN or infinity: float16 ends at 65504")
        return
    yield from _clipped(tap, sums)
    yield from _scaled_channel(sums)
    yield from _channel_spread(tap)
    yield from _few_levels(tap, sums)
    if tap.family in ("softmax", "sigmoid") and sums.saturated >= SATURATED_ROWS:
        yield Cause(
            "saturated",
            f"{sums.saturated:.0%} of the reference's rows have a value within half a step of 1:"
            " the rest of each is too small for the integers",
        )
    if tap.weights is not None and tap.weights.bits <= 4:
        yield Cause("few-weight-levels", f"its weights have {2**tap.weights.bits} levels")


def _clipped(tap: Tap, sums: PairSums) -> Iterator[Cause]:
    found = sums.clipping()
    if found is None or found.noise_share < CLIPPED_NOISE:
        return
    assert tap.low is not None, "only a range clips"
    assert tap.high is not None, "only a range clips"
    who = "outliers" if found.share < 0.001 else "values"
    yield Cause(
        "range-clipped",
        f"its range {_short(tap.low)} to {_short(tap.high)} cuts {who} off: {found.share:.2%} lie"
        f" outside, up to {_short(found.furthest)}, and carry {found.noise_share:.0%} of the error",
    )


def _scaled_channel(sums: PairSums) -> Iterator[Cause]:
    found = sums.channel()
    if found is None or found.noise_share < ONE_CHANNEL_NOISE or abs(found.gain - 1) < GAIN_OFF:
        return
    yield Cause(
        "scaled-channel",
        f"channel {found.number} of {found.channels} carries {found.noise_share:.0%} of the error:"
        f" its values are {found.gain:.2g} × the reference's",
    )


def _channel_spread(tap: Tap) -> Iterator[Cause]:
    weights = tap.weights
    if weights is None or weights.step is None:
        return
    steps = weights.smallest / weights.step
    if steps < SMALL_CHANNEL_STEPS:
        yield Cause(
            "channel-spread",
            f"one step for the weights of all {weights.channels} channels, whose largest weights"
            f" are {_short(weights.smallest)} to {_short(weights.largest)}: the smallest channel"
            f" has {steps:.1f} steps",
        )


def _few_levels(tap: Tap, sums: PairSums) -> Iterator[Cause]:
    found = sums.levels()
    if found is None or found.used > FEW_LEVELS:
        return
    assert tap.low is not None, "levels belong to a range"
    assert tap.high is not None, "levels belong to a range"
    yield Cause(
        "few-levels",
        f"99 % of its values use {found.used} of {found.available} levels: the range is"
        f" {_short(tap.low)} to {_short(tap.high)}, and they lie within ±{_short(found.within)}",
    )


def _short(value: float) -> str:
    return units.significant(value) if abs(value) >= 1e-3 or not value else f"{value:.2g}"
