"""What qualifies a measurement: where it was taken, and in what state the machine was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit import bench_gpu, hardware
from edgekit.bench_artifacts import Measurand
from edgekit.bench_rounds import Observed
from edgekit.errors import ProfileError
from edgekit.result_types import Replicate
from edgekit.targets import Device, Frame

HOT_C = 80.0
"""Where a Raspberry Pi begins to lower its clock, and most others are about to."""


def of(
    device: Device,
    measurand: Measurand,
    observed: Observed,
    threads: int,
) -> Iterator[str]:
    """What a reader has to know before believing the figures."""
    target, machine, replicates = (
        measurand.target, observed.frames["environment"], observed.replicates,
    )  # fmt: skip
    if elsewhere(device, measurand):
        yield (
            f"{_aim(measurand)} and measured on this machine ({machine['cpu'] or 'unknown CPU'}):"
            f" latency and memory say nothing about a {target}"
        )
    yield from _another_processor(device, measurand, machine)
    usable = machine["cpu_quota_cores"] or machine["usable_cores"]
    if usable is not None and threads > usable:
        yield f"{threads} threads share {usable:g} cores: they wait for each other"
    if device.unjudged:
        yield f"no accuracy: {device.unjudged}"
    facts = observed.frames["facts"]
    if facts.get("partly_on_cpu"):
        name = facts["delegate"]["name"]
        yield f"the {name} delegate took a part of the graph; the rest ran on the CPU"
    if replicates and all(replicate.warm_up_stable is False for replicate in replicates):
        yield "no warm-up became stable: a longer --budget gives it more time"
    if replicates:
        yield from _state(machine, replicates)
        yield from bench_gpu.warnings(replicates)


def elsewhere(device: Device, measurand: Measurand) -> bool:
    """Whether an artifact for another machine was measured on this one."""
    target = measurand.target
    ran_for = measurand.engine is not None  # an engine runs on the kind of GPU it is for alone
    foreign = target is not None and not target.startswith("host")
    return device.is_this_machine and foreign and not ran_for


def _aim(measurand: Measurand) -> str:
    """What an artifact was made for, and what --target says that it is run for."""
    made, target = measurand.made_for, measurand.target
    if made == target:
        return f"made for {target}"
    return (f"made for {made}, " if made else "") + f"with --target {target}"


def _another_processor(device: Device, measurand: Measurand, machine: Frame) -> Iterator[str]:
    """A device of another kind than the artifact is run for can still run it."""
    target = measurand.target
    if device.is_this_machine or target is None:
        return
    try:
        wanted = hardware.load(target).hardware.arch
    except ProfileError:  # a file of the user's that is not here
        return
    if wanted is not None and wanted != machine["arch"]:
        figures = f": latency and memory say nothing about a {target}"
        yield (
            f"{_aim(measurand)} ({wanted}) and measured on {machine['arch']}"
            + ("" if device.untimed else figures)
        )


def _state(machine: Frame, replicates: Sequence[Replicate]) -> Iterator[str]:
    """Clock and heat, before the first process and after each."""
    governor = machine["governor"]
    if governor not in (None, "performance"):
        yield (
            f"the CPU's governor is {governor}, which may change the clock while it is measured:"
            " cpupower frequency-set -g performance"
        )
    if machine["throttled"] or any(one.throttled_after for one in replicates):
        yield "the processor was throttled by heat or a weak supply: the latency is too high"
    known = [one.temperature_after_c for one in replicates if one.temperature_after_c is not None]
    if known and max(known) >= HOT_C:
        yield f"the processor was at {max(known):.0f} °C: it may be throttled, cool it"
