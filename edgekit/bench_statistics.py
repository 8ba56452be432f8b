"""From what fresh processes measured to figures with intervals.

The spread that matters is between processes: within one, thousands of runs agree to a per cent
and are all off together. So the figure is the median of the processes' medians, and its interval
is that of a median over processes, without any assumption about their distribution.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from edgekit.intervals import median_interval, shift_interval
from edgekit.result_types import ColdStart, Latency, Memory, Replicate

MIN_PROCESSES = 6
"""The fewest values whose extremes enclose their median with 95 % confidence (1 − 2 · 2⁻⁶)."""
MIN_ROUNDS_99 = 8
"""Likewise with 99 % confidence (1 − 2 · 2⁻⁸)."""
P90_RUNS = 64
P99_RUNS = 662
"""Runs needed to claim a percentile: MLPerf LoadGen's early-stopping rule at 99 % confidence."""
CONTENDED_WALL_PER_CPU = 1.05
CONTENDED_SWITCHES_PER_S = 20.0
"""An idle machine shows below 10 (timer ticks, kernel threads), a shared core above 100."""

Figure = TypeVar("Figure", int, float)


class Ratio(NamedTuple):
    """Candidate latency over baseline latency, round by round."""

    value: float
    ci95: tuple[float, float]
    different: bool
    ci99: tuple[float, float] | None = None


def latency(replicates: Sequence[Replicate], *, threads: int, stopped: str) -> Latency:
    """Latency over fresh processes.

    Args:
        replicates: One per process, at least one.
        threads: Threads that ran one inference; with several, wall over CPU time says nothing.
        stopped: Why measuring ended.
    """
    medians = known([replicate.median_s for replicate in replicates])
    pooled = sorted(sample for replicate in replicates for sample in replicate.samples_ns)
    runs = sum(replicate.runs for replicate in replicates)
    return Latency(
        median_s=_median(medians),
        ci95_s=interval(medians),
        p90_s=percentile(pooled, 0.9) / 1e9 if pooled and runs >= P90_RUNS else None,
        p99_s=percentile(pooled, 0.99) / 1e9 if pooled and runs >= P99_RUNS else None,
        min_s=min(replicate.min_s for replicate in replicates),
        runs=runs,
        processes=len(replicates),
        cpu_median_s=_median(known([_cpu_median_s(replicate) for replicate in replicates])),
        contended=is_contended(replicates, threads),
        stopped=stopped,
        process_medians_s=tuple(medians),
        why=None if medians else "the tool that measured tells its mean, and no median",
        mean_s=_median(known([replicate.mean_s for replicate in replicates])),
    )


def no_latency(why: str) -> Latency:
    """Latency where nothing was timed, and why."""
    return Latency(
        median_s=None, ci95_s=None, p90_s=None, p99_s=None, min_s=None, runs=0, processes=0,
        cpu_median_s=None, contended=None, stopped="nothing was timed", why=why,
    )  # fmt: skip


def cold_start(replicates: Sequence[Replicate]) -> ColdStart:
    """Medians over processes. Files that an earlier process read come from the page cache."""
    return ColdStart(
        import_s=_median(known([replicate.import_s for replicate in replicates])),
        load_s=_median(known([replicate.load_s for replicate in replicates])),
        first_inference_s=_median(known([replicate.first_inference_s for replicate in replicates])),
    )


def memory(replicates: Sequence[Replicate]) -> Memory:
    """Medians over processes; None where a process could not tell, or nothing was measured."""
    return Memory(
        peak_delta_bytes=_median_bytes([replicate.peak_delta_bytes for replicate in replicates]),
        anonymous_bytes=_median_bytes([replicate.anonymous_bytes for replicate in replicates]),
    )


def ratio(baseline: Sequence[float], candidate: Sequence[float]) -> Ratio | None:
    """Compares two artifacts that were measured in the same rounds.

    What slows a whole round slows both, so each round gives one ratio of process medians; the
    figure is their median.

    Args:
        baseline: Process medians, one per round.
        candidate: Likewise, of the same rounds.

    Returns:
        The ratio, `different` only if its 95 % interval excludes 1; None for fewer than 6 rounds.
        The 99 % interval needs 8 rounds.
    """
    ratios = [b / a for a, b in zip(baseline, candidate, strict=True)]
    ci95 = interval(ratios)
    if ci95 is None:
        return None
    different = not ci95[0] <= 1.0 <= ci95[1]
    return Ratio(statistics.median(ratios), ci95, different, interval(ratios, 0.99))


def unpaired_ratio_ci99(
    baseline: Sequence[float], candidate: Sequence[float]
) -> tuple[float, float] | None:
    """The 99 % interval of candidate over baseline where they were not measured together.

    It holds what differs between processes, and not what differs between the two occasions: a
    machine that was slower that day is in the ratio.

    Args:
        baseline: Process medians, in seconds.
        candidate: Likewise.

    Returns:
        None for fewer than 5 processes each.
    """
    before, after = ([math.log(value) for value in values] for values in (baseline, candidate))
    found = shift_interval(before, after, 0.99)
    return (math.exp(found[0]), math.exp(found[1])) if found else None


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """The interval of a median; None for fewer than 6 values (95 %) or 8 (99 %)."""
    found = median_interval(values, level)
    return found[:2] if found else None


def relative_half_width(values: Sequence[float]) -> float:
    """Half the interval's width over the median; infinite where there is no interval."""
    found = interval(values)
    if found is None:
        return math.inf
    return (found[1] - found[0]) / 2 / statistics.median(values)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of the samples does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def is_contended(replicates: Sequence[Replicate], threads: int) -> bool | None:
    """Whether other work took the processor in at least half of the processes.

    One that waits for a GPU uses less CPU than wall time without any other work.
    """
    switches = known([replicate.involuntary_switches for replicate in replicates])
    wall_per_cpu = known([replicate.wall_per_cpu for replicate in replicates])
    if not switches or not wall_per_cpu:
        return None
    per_s = [count / one.elapsed_s for count, one in zip(switches, replicates, strict=True)]
    if statistics.median(per_s) > CONTENDED_SWITCHES_PER_S:
        return True
    computes_here = threads == 1 and not any(replicate.gpu for replicate in replicates)
    return computes_here and statistics.median(wall_per_cpu) > CONTENDED_WALL_PER_CPU


def _cpu_median_s(replicate: Replicate) -> float | None:
    """CPU time that stands for latency: not where a GPU computed, which the CPU waits for."""
    return None if replicate.gpu else replicate.cpu_median_s


def known(values: Sequence[Figure | None]) -> list[Figure]:
    """Figures that every process told; none where one of them did not."""
    found = [value for value in values if value is not None]
    return found if len(found) == len(values) else []


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _median_bytes(values: Sequence[int | None]) -> int | None:
    found = known(values)
    return round(statistics.median(found)) if found else None
