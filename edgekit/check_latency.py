"""Whether an artifact became slower than its baseline.

Both are measured again, interleaved, and the 99 % interval of the ratio decides: stored figures
were taken on another occasion, when the machine may have been slower. So these only warn.
"""

from __future__ import annotations

import statistics

from edgekit import bench_statistics, units
from edgekit.check_reading import measure
from edgekit.check_types import Conditions, Figures, Gate, Outcome, Rerun


def remeasured(rerun: Rerun, tolerance: float) -> Gate:
    """Candidate over baseline, both measured now: broken where the whole interval is above."""
    allowed = 1 + tolerance
    broken = rerun.ratio_ci99[0] > allowed
    unsure = not broken and rerun.ratio > allowed
    return _gate(
        f"latency is {_ratio(rerun.ratio, rerun.ratio_ci99)} the baseline's, both measured in"
        f" {rerun.rounds} interleaved rounds; allowed {units.factor_of(allowed)}"
        + (" and the interval reaches below it" if unsure else ""),
        "find what slowed it: edgekit bench BASELINE ARTIFACT --profile-ops; if it is meant,"
        " edgekit baseline update"
        if broken
        else "give it more time with --budget 120, or an idle machine"
        if unsure
        else "",
        outcome="broken" if broken else "warned" if unsure else "held",
        value=rerun.ratio,
        interval=rerun.ratio_ci99,
        allowed=allowed,
    )


def same_bytes(tolerance: float) -> Gate:
    """The very artifact of the baseline cannot have become slower than itself."""
    return _gate(
        "the same bytes as the baseline's artifact, so not measured again",
        "",
        outcome="held",
        value=1.0,
        allowed=1 + tolerance,
    )


def stored(
    figures: Figures, before: Figures, tolerance: float, *, unpaired: bool, why: str
) -> Gate | None:
    """The stored figures of both, which decide only where `unpaired` says so.

    Args:
        figures: What is judged.
        before: The baseline's.
        tolerance: By how much the latency may rise, as a share.
        unpaired: Let stored figures decide.
        why: Why the two were not measured again.

    Returns:
        None where neither has a latency.
    """
    allowed = 1 + tolerance
    if before.median_s is None and figures.median_s is None:
        return None
    if figures.median_s is None:
        fix = measure(figures)
        return _gate("latency was not measured, the baseline has one", fix, allowed=allowed)
    if before.median_s is None:
        return _gate(
            "latency is not judged: the baseline has none", "edgekit baseline update",
            outcome="broken" if unpaired else "warned", allowed=allowed,
        )  # fmt: skip
    if other := _other_conditions(figures.conditions, before.conditions):
        return _gate(
            f"latency is not judged: {other}, and {why}",
            "edgekit baseline update --keep-artifacts, then both are measured again",
            outcome="warned", allowed=allowed,
        )  # fmt: skip
    return _unpaired(figures, before, allowed, unpaired, why)


def _unpaired(figures: Figures, before: Figures, allowed: float, decides: bool, why: str) -> Gate:
    medians = (before.process_medians_s, figures.process_medians_s)
    interval = bench_statistics.unpaired_ratio_ci99(*medians) if all(medians) else None
    if interval is None:
        return _gate(
            "latency is not judged: under 5 processes have no 99 % interval", measure(figures),
            outcome="broken" if decides else "warned", allowed=allowed,
        )  # fmt: skip
    ratio = statistics.median(medians[1]) / statistics.median(medians[0])
    slower = interval[0] > allowed
    return _gate(
        f"latency is {_ratio(ratio, interval)} the baseline's stored one, allowed"
        f" {units.factor_of(allowed)}; {why}",
        "edgekit baseline update --keep-artifacts, then both are measured again" if slower else "",
        outcome="held" if not slower else "broken" if decides else "warned",
        value=ratio,
        interval=interval,
        allowed=allowed,
    )


def _other_conditions(now: Conditions | None, then: Conditions | None) -> str:
    """What is not as it was; empty where all is."""
    if now is None or then is None:
        return "nothing says where it was measured"
    changes = [
        f"{what} {after} instead of {before}"
        for what, before, after in (
            ("CPU", then.cpu, now.cpu),
            ("architecture", then.arch, now.arch),
            ("threads", then.threads, now.threads),
            ("runtime", then.runtime, now.runtime),
            *(
                (name, then.versions.get(name), now.versions.get(name))
                for name in sorted({*then.versions, *now.versions})
            ),
        )
        if before != after
    ]
    return f"measured with {', '.join(changes)}" if changes else ""


def _ratio(value: float, interval: tuple[float, float]) -> str:
    low, high = (units.significant(edge) for edge in interval)
    return f"{units.factor_of(value)} [{low}, {high}] (99 %)"


def _gate(
    line: str,
    fix: str,
    *,
    allowed: float,
    outcome: Outcome = "broken",
    value: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Gate:
    return Gate(
        name="latency",
        against="baseline",
        outcome=outcome,
        unit="ratio",
        value=value,
        allowed=allowed,
        interval=interval,
        level=0.99 if interval else None,
        line=line,
        fix=fix,
    )
