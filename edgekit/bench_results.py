"""Puts together what was observed of an artifact: one `Result`, and its comparison with another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from edgekit import bench_claims, bench_statistics
from edgekit.bench_artifacts import Measurand
from edgekit.bench_rounds import Observed, Plan, stopped
from edgekit.result_types import (
    Comparison,
    Delegate,
    DeviceInfo,
    Latency,
    OperatorTime,
    Replicate,
    Result,
)
from edgekit.targets import Device, Frame
from edgekit.types import Accuracy

_IN_DEVICE = ("frame", "arch", "cpu", "cores")
_IN_RESULT = ("frame", "delegate", "partly_on_cpu", "versions")


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
) -> Result:
    """What was measured of one artifact on one device."""
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
        environment=_environment(measurand, observed),
        warnings=(
            *notes,
            *_warnings(device, measurand, machine, replicates, threads),
            *_shared(observed),
        ),
        timing=timing,
    )


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
    found = bench_statistics.ratio(pair[0].medians(), pair[1].medians())
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
        rounds=len(pair[0].replicates),
    )
    claim = bench_claims.check(
        baseline, candidate, made, on_target=not _elsewhere(device, candidate)
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


def _warnings(
    device: Device,
    measurand: Measurand,
    machine: Frame,
    replicates: list[Replicate],
    threads: int,
) -> Iterator[str]:
    target = measurand.target
    if _elsewhere(device, measurand):
        yield (
            f"made for {target} and measured on this machine ({machine['cpu'] or 'unknown CPU'}):"
            f" latency and memory say nothing about a {target}"
        )
    usable = machine["cpu_quota_cores"] or machine["usable_cores"]
    if usable is not None and threads > usable:
        yield f"{threads} threads share {usable:g} cores: they wait for each other"
    if device.unjudged:
        yield f"no accuracy: {device.unjudged}"
    if replicates and all(replicate.warm_up_stable is False for replicate in replicates):
        yield "no warm-up became stable: a longer --budget gives it more time"


def _shared(observed: Observed) -> Iterator[str]:
    """That a delegate which was asked for left a part of the graph to the CPU."""
    facts = observed.frames["facts"]
    if facts.get("partly_on_cpu"):
        name = facts["delegate"]["name"]
        yield f"the {name} delegate took a part of the graph; the rest ran on the CPU"


def _elsewhere(device: Device, measurand: Measurand) -> bool:
    """Whether an artifact for another machine was measured on this one."""
    target = measurand.target
    return device.is_this_machine and target is not None and not target.startswith("host")
