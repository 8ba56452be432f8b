"""Interleaved rounds: every artifact once per round, each time in a fresh process.

What disturbs a machine for a while then disturbs all artifacts alike, and the ratio within a
round stays. The order is drawn anew for every second round and turned around for the next, so that
no artifact always comes first.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edgekit.bench_statistics import MIN_PROCESSES, known, relative_half_width
from edgekit.errors import DeviceError
from edgekit.result_types import Replicate
from edgekit.targets import Device, Frame

ENOUGH = 0.02
"""The relative half-width of the interval at which measuring may stop."""
MOST_ROUNDS = 100
LEAST_RUNS = 11
"""Runs wanted of each process: six of them then hold the 64 that a 90th percentile needs."""
_START_S = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: in each process, and in all.

    `least_s` of timing are wanted of each process, and LEAST_RUNS, but not beyond `most_s`.
    `rounds` are done even beyond the budget.
    """

    budget_s: float
    least_s: float
    most_s: float
    rounds: int = MIN_PROCESSES


@dataclass(slots=True)
class Observed:
    """What was seen of one artifact: a replicate per round, and the first round's frames.

    `failure` is what ended the device before the plan was carried out.
    """

    replicates: list[Replicate] = field(default_factory=list)
    frames: dict[str, Frame] = field(default_factory=dict)
    failure: DeviceError | None = None

    def medians(self) -> list[float]:
        """The processes' medians, in seconds, by round; none where one did not tell its own."""
        return known([replicate.median_s for replicate in self.replicates])


def plan(count: int, budget_s: float, rounds: int = MIN_PROCESSES) -> Plan:
    """Shares the budget out to the fewest rounds that give an interval.

    Half a second of a process is enough, since the spread is between processes; many artifacts
    or a small budget make it less. Slow models get what is left.
    """
    share_s = budget_s / (rounds * count)
    least_s = min(0.5, max(0.1, share_s / 2 - _START_S))
    return Plan(budget_s, least_s, max(least_s, share_s - 2 * _START_S), rounds)


def run(
    device: Device,
    jobs: Sequence[Frame],
    wanted: Plan,
    *,
    seed: int,
    progress: Callable[[str], None],
) -> list[Observed]:
    """Measures until every interval is within ±2 %, or the budget has no room for another round.

    Args:
        device: Where.
        jobs: The runner's `measure` job of each artifact.
        wanted: From `plan`.
        seed: Of the order.
        progress: Told what is being measured.

    Returns:
        One per job, with as many replicates as rounds, at least those of the plan; or with fewer,
        and the failure that ended the device midway.

    Raises:
        ModelError, DataError, DeviceError: See edgekit.targets.Device.run.
    """
    observed = [Observed() for _ in jobs]
    timed = [_timed(job, wanted) for job in jobs]
    try:
        _rounds(device, timed, observed, wanted, seed, progress)
    except DeviceError as error:
        if not any(one.replicates for one in observed):
            raise
        for one in observed:
            one.failure = error
    return observed


def _rounds(
    device: Device,
    timed: Sequence[Frame],
    observed: Sequence[Observed],
    wanted: Plan,
    seed: int,
    progress: Callable[[str], None],
) -> None:
    start = time.monotonic()
    longest_s = 0.0
    for number, order in enumerate(_orders(len(timed), seed)):
        round_start = time.monotonic()
        for at in order:
            progress(f"measuring {Path(timed[at]['artifact']).name}, process {number + 1}")
            _replicate(device, timed[at], observed[at])
        longest_s = max(longest_s, time.monotonic() - round_start)
        left_s = wanted.budget_s - (time.monotonic() - start)
        if number + 1 >= wanted.rounds and (left_s < longest_s or _all_narrow(observed)):
            break


def describe(device: Device, job: Frame) -> Observed:
    """Loads an artifact without running it: what it is and would run as, and no replicate.

    Raises:
        ModelError, DeviceError: See edgekit.targets.Device.run.
    """
    observed = Observed()
    device.run(
        {**job, "kind": "describe"},
        lambda frame: observed.frames.update({frame["frame"]: frame}),
    )
    return observed


def stopped(observed: Observed, wanted: Plan) -> str:
    """Why measuring ended, for people."""
    if observed.failure:
        done = len(observed.replicates)
        return f"the device failed after {done} process{'es' * (done != 1)}"
    width = relative_half_width(observed.medians())
    if observed.replicates and not observed.medians():
        return f"{len(observed.replicates)} rounds done, no medians to make an interval of"
    if width <= ENOUGH:
        return f"interval within ±{ENOUGH * 100:g} %"
    if len(observed.replicates) >= MOST_ROUNDS:
        return f"{MOST_ROUNDS} rounds done, interval ±{width * 100:.1f} %"
    return f"budget of {wanted.budget_s:g} s used, interval ±{width * 100:.1f} %"


def _orders(count: int, seed: int) -> Iterator[list[int]]:
    draw = random.Random(seed)  # noqa: S311 an order of measurements is no secret
    for _ in range(MOST_ROUNDS // 2):
        order = draw.sample(range(count), count)
        yield order
        yield order[::-1]


def _timed(job: Frame, wanted: Plan) -> Frame:
    return {
        **job,
        "warm_up_least_s": 0.05,
        "warm_up_most_s": wanted.least_s,
        "least_runs": LEAST_RUNS,
        "least_s": wanted.least_s,
        "most_s": wanted.most_s,
    }


def _replicate(device: Device, job: Frame, observed: Observed) -> None:
    frames: dict[str, Frame] = {}
    device.run(job, lambda frame: frames.update({frame["frame"]: frame}))
    observed.replicates.append(msgspec.convert(frames["measured"], Replicate))
    observed.frames = observed.frames or frames


def _all_narrow(observed: Sequence[Observed]) -> bool:
    return all(relative_half_width(one.medians()) <= ENOUGH for one in observed)
