"""Times a session: warm-up, then single inferences, with as little as possible around each."""

from __future__ import annotations

import resource
import statistics
import time
from array import array
from itertools import repeat
from typing import Any, Callable, NamedTuple, Optional

STABLE = 0.02
"""Two successive warm-up windows whose medians are this close, relatively, end the warm-up."""
WINDOW_NS = 10_000_000
BLOCK_NS = 2_000_000
"""CPU time is read once per block of about this length: reading it costs half a microsecond."""
LEAST_RUNS = 3
MOST_RUNS = 200_000

Invoke = Callable[[], Any]


class WarmUp(NamedTuple):
    """How the warm-up went."""

    runs: int
    stable: bool
    median_ns: float


class Timed(NamedTuple):
    """Times of single inferences; CPU time is that of the whole process, per inference."""

    samples_ns: Any
    cpu_median_ns: float
    wall_per_cpu: float
    involuntary_switches: int
    elapsed_s: float


def warm_up(invoke: Invoke, least_s: float, most_s: float) -> WarmUp:
    """Invokes until two successive windows agree, or the time is up.

    A window is 10 ms or three inferences, whichever is longer.
    """
    clock = time.perf_counter_ns
    start = clock()
    runs, previous, median = 0, 0.0, 0.0
    while True:
        window: list[int] = []
        window_start = clock()
        while len(window) < 3 or clock() - window_start < WINDOW_NS:
            before = clock()
            invoke()
            window.append(clock() - before)
            if clock() - start > most_s * 1e9:
                return WarmUp(runs + len(window), False, statistics.median(window))
        runs += len(window)
        previous, median = median, statistics.median(window)
        stable = abs(median - previous) <= STABLE * previous
        if stable and clock() - start >= least_s * 1e9:
            return WarmUp(runs, True, median)


def sample(session: Any, about_ns: float, least_runs: int, least_s: float, most_s: float) -> Timed:
    """Times inferences one by one, for `least_s` and `least_runs`, but not beyond `most_s`.

    Args:
        session: Has `invoke`, and `elapsed_ns` where the runtime has a clock of its own.
        about_ns: How long one inference takes, from the warm-up.
        least_runs: Inferences wanted.
        least_s: Seconds wanted.
        most_s: Seconds after which no further block begins.
    """
    samples = array("q")
    run_block = _block(session, samples.append)
    size = max(1, int(BLOCK_NS / max(about_ns, 1.0)))
    cpu_ns: list[float] = []
    wall_total = cpu_total = 0
    switches = _involuntary_switches()
    start = time.perf_counter_ns()
    elapsed = 0
    while len(samples) < LEAST_RUNS or (
        (elapsed < least_s * 1e9 or len(samples) < least_runs)
        and elapsed < most_s * 1e9
        and len(samples) < MOST_RUNS
    ):
        cpu = time.process_time_ns()
        wall = time.perf_counter_ns()
        run_block(size)
        wall_total += time.perf_counter_ns() - wall
        cpu = time.process_time_ns() - cpu
        cpu_total += cpu
        cpu_ns.append(cpu / size)
        elapsed = time.perf_counter_ns() - start
    return Timed(
        samples,
        statistics.median(cpu_ns),
        wall_total / max(cpu_total, 1),
        _involuntary_switches() - switches,
        elapsed / 1e9,
    )


def thinned(samples: Any, most: int) -> list[int]:
    """At most so many samples, evenly spaced in order of size, so that percentiles stay."""
    ordered = sorted(samples)
    if len(ordered) <= most:
        return ordered
    step = (len(ordered) - 1) / (most - 1)
    return [ordered[round(at * step)] for at in range(most)]


def _block(session: Any, append: Callable[[int], None]) -> Callable[[int], None]:
    elapsed_ns: Optional[Callable[[], int]] = getattr(session, "elapsed_ns", None)
    if elapsed_ns is None:
        return _by_our_clock(session.invoke, append)
    return _by_its_clock(session.invoke, elapsed_ns, append)


def _by_our_clock(invoke: Invoke, append: Callable[[int], None]) -> Callable[[int], None]:
    clock = time.perf_counter_ns

    def run(count: int) -> None:
        for _ in repeat(None, count):
            before = clock()
            invoke()
            append(clock() - before)

    return run


def _by_its_clock(
    invoke: Invoke, elapsed_ns: Callable[[], int], append: Callable[[int], None]
) -> Callable[[int], None]:
    def run(count: int) -> None:
        for _ in repeat(None, count):
            invoke()
            append(elapsed_ns())

    return run


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
