"""Puts together what was observed of an artifact: one `Result`, and its comparison with another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from edgekit import bench_claims, bench_gpu, bench_statistics, bench_warnings
from edgekit.bench_artifacts import Measurand
from edgekit.bench_rounds import Observed, Plan, stopped
from edgekit.errors import DeviceError
from edgekit.result_types import (
    Comparison,
    Delegate,
    DeviceInfo,
    Footprint,
    Instructions,
    Latency,
    OperatorTime,
    Result,
)
from edgekit.targets import Device
from edgekit.types import Accuracy

_Told = TypeVar("_Told", Instructions, Footprint)
_IN_DEVICE = ("frame", "arch", "cpu", "cores")
_IN_RESULT = ("frame", "delegate", "partly_on_cpu", "versions", "gpu")


def result(
    device: Device,
    measurand: Measurand,
    observed: Observed,
    plan: Plan,
    *,
    threads: int,
    accuracy: Accuracy | None,
    operators: tuple[OperatorTime, ...] | None,
    notes: tuple[str, ...],
    timing: dict[str, float],
    failure: DeviceError | None = None,
) -> Result:
    """What was measured of one artifact on one device, until it failed where it did."""
    replicates, machine = observed.replicates, observed.frames["environment"]
    latency = _latency(device, observed, plan, threads)
    return Result(
        artifact=measurand.info,
        model=measurand.model_name,
        recipe=measurand.recipe,
        device=DeviceInfo(
            url=device.url,
            target=measurand.target,
            arch=machine["arch"],
            cpu=machine["cpu"],
            cores=machine["cores"],
            threads=threads,
            measured_here=device.is_this_machine,
        ),
        latency=latency,
        throughput_per_s=_batch(observed) / latency.median_s if latency.median_s else None,
        cold_start=bench_statistics.cold_start(replicates),
        memory=bench_statistics.memory(replicates),
        accuracy=accuracy,
        delegate=msgspec.convert(observed.frames["facts"]["delegate"], Delegate),
        operators=operators,
        instructions=_told(observed, "instructions", Instructions),
        footprint=_told(observed, "footprint", Footprint),
        gpu=bench_gpu.gpu(observed),
        environment=_environment(measurand, observed),
        warnings=(
            *notes,
            *bench_warnings.of(device, measurand, observed, threads),
            *([f"incomplete: {failure.message}"] if failure else []),
        ),
        complete=failure is None,
        timing=timing,
    )


def _told(observed: Observed, frame: str, kind: type[_Told]) -> _Told | None:
    """What a device tells in a frame of its own; None from those that send none."""
    if frame not in observed.frames:
        return None
    told = {key: value for key, value in observed.frames[frame].items() if key != "frame"}
    return msgspec.convert(told, kind)


def _latency(device: Device, observed: Observed, plan: Plan, threads: int) -> Latency:
    if device.untimed:
        return bench_statistics.no_latency(device.untimed)
    return bench_statistics.latency(
        observed.replicates, threads=threads, stopped=stopped(observed, plan)
    )


def comparison(
    device: Device, baseline: Measurand, candidate: Measurand, pair: tuple[Observed, Observed]
) -> Comparison | None:
    """Candidate latency over baseline latency, beside what the manifests claim of it.

    None where there were too few rounds, or where one inference of the two is not as many samples.
    """
    if _batch(pair[0]) != _batch(pair[1]):
        return None
    rounds = min(len(one.replicates) for one in pair)  # a device that failed was within one
    found = bench_statistics.ratio(*(one.medians()[:rounds] for one in pair))
    if found is None:
        return None
    made = Comparison(
        baseline=baseline.info.sha256,
        candidate=candidate.info.sha256,
        device=device.url,
        ratio=found.value,
        ratio_ci95=found.ci95,
        different=found.different,
        ratio_ci99=found.ci99,
        rounds=rounds,
    )
    claim = bench_claims.check(
        baseline, candidate, made, on_target=not bench_warnings.elsewhere(device, candidate)
    )
    return msgspec.structs.replace(made, claim=claim)


def not_compared(baseline: Measurand, pair: tuple[Observed, Observed]) -> Iterator[str]:
    """Why two artifacts have no comparison that their latencies would seem to allow."""
    first, second = _batch(pair[0]), _batch(pair[1])
    if first != second:
        yield (
            f"not compared with {baseline.info.path}: it infers {first} sample{'s' * (first > 1)}"
            f" at once, this one {second}"
        )


def _environment(measurand: Measurand, observed: Observed) -> dict[str, Any]:
    machine, facts = observed.frames["environment"], observed.frames["facts"]
    timed = {
        key: getattr(first, key) for first in observed.replicates[:1] for key in ("inputs", "clock")
    }
    for last in observed.replicates[-1:]:
        held = [one.throttled_after for one in observed.replicates]
        timed["temperature_after_c"] = last.temperature_after_c
        timed["throttled_after"] = None if None in held else any(held)
    return {
        **{key: value for key, value in machine.items() if key not in _IN_DEVICE},
        **{key: value for key, value in facts.items() if key not in _IN_RESULT},
        "versions": {**machine["versions"], **facts["versions"]},
        "runtime": measurand.runtime,
        "options": measurand.options,
        **timed,
    }


def _batch(observed: Observed) -> int:
    """Samples per inference; where the batch may vary, one was measured."""
    shapes = [tensor["shape"] for tensor in observed.frames["loaded"]["inputs"]]
    return max((shape[0] or 1 for shape in shapes if shape), default=1)
