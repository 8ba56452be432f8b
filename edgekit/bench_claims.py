"""What manifests claim of two artifacts, held against what was measured of them."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import gains, units
from edgekit.bench_artifacts import Measurand
from edgekit.profile_types import Gain
from edgekit.result_types import ClaimCheck, Comparison

ENOUGH = 0.9
"""The share of a claim that keeps it: a claim comes from another model than the one measured."""


def check(
    baseline: Measurand, candidate: Measurand, comparison: Comparison, *, on_target: bool
) -> ClaimCheck | None:
    """What the candidate was to buy, and what it bought.

    Args:
        baseline: What the candidate was measured against.
        candidate: The artifact in question.
        comparison: The two, measured.
        on_target: Whether they ran on what they were made for; else no latency claim holds.

    Returns:
        None where nothing is claimed: the two have not one origin and one target, a manifest is
        missing, or no profile knows.
    """
    target = candidate.target
    pair = (baseline.claims, candidate.claims)
    of_target = all(claim.target == target for claims in pair for claim in claims)
    same = (baseline.model_name, baseline.target) == (candidate.model_name, target)
    if target is None or not same or not of_target or not all(pair):
        return None
    claimed, macs = gains.between(*pair), gains.counted(*pair)
    if not on_target:
        claimed = Gain(None, claimed.raw_size, claimed.zipped_size)
    if claimed == Gain() and macs is None:
        return None
    before, after = baseline.info, candidate.info
    measured = Gain(
        1 / comparison.ratio,
        before.size_bytes / after.size_bytes,
        before.gzip_bytes / after.gzip_bytes,
    )
    return ClaimCheck(
        target=target,
        claimed=claimed,
        measured=measured,
        macs=macs,
        sources=gains.sources(*pair),
        shortfalls=tuple(_shortfalls(claimed, measured, comparison)),
    )


def _shortfalls(claimed: Gain, measured: Gain, comparison: Comparison) -> Iterator[str]:
    """One sentence per claim that did not come true, even at the better end of the interval."""
    fastest = 1 / comparison.ratio_ci95[0]
    if claimed.latency is not None and measured.latency and fastest < ENOUGH * claimed.latency:
        slowest = 1 / comparison.ratio_ci95[1]
        yield (
            f"expected was {units.factor_of(claimed.latency)} as fast as the first artifact,"
            f" measured {units.factor_of(measured.latency)}"
            f" [{units.significant(slowest)}, {units.significant(fastest)}]"
            f"{_how_bad(claimed.latency, fastest)}"
        )
    for what, wanted, got in (
        ("smaller", claimed.raw_size, measured.raw_size),
        ("smaller zipped", claimed.zipped_size, measured.zipped_size),
    ):
        if wanted is not None and got is not None and got < ENOUGH * wanted:
            yield (
                f"expected was {units.factor_of(wanted)} {what} than the first artifact, it is"
                f" {units.factor_of(got)}"
            )


def _how_bad(claimed: float, fastest: float) -> str:
    return ": it is slower here, not faster" if claimed > 1 > fastest else ""
