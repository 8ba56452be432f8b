"""What is installed here, what is missing and how to get it, and whether this machine can measure.

Loads no framework: installed packages are read from their metadata, modules are only looked for.
"""

from __future__ import annotations

import platform
import re
import resource
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Literal

import msgspec

from edgekit import registry
from edgekit.doctor_types import (
    BackendState,
    DoctorReport,
    ExtraState,
    Machine,
    Measuring,
    PackageState,
)
from edgekit.errors import DeviceError
from edgekit.targets import cortex_tools, userland
from edgekit.targets.runner import environment, memory

CONTENDED_WALL_PER_CPU = 1.05
"""Above this, something else took the core; the limit that bench marks results by."""
BUSY_S = 0.2
SUPPORTED_PYTHON = ((3, 11), (3, 14))
"""From the first, below the second."""
CORE = "core"

Kind = Literal["source", "converter", "runtime", "target"]


def examine() -> DoctorReport:
    """Looks at Python, packages, backends and the machine."""
    first, end = SUPPORTED_PYTHON
    here = environment.describe()
    machine = Machine(**{name: here[name] for name in Machine.__struct_fields__})
    return DoctorReport(
        schema="edgekit.doctor/1",
        edgekit=metadata.version("edgekit"),
        python=platform.python_version(),
        python_supported=first <= sys.version_info[:2] < end,
        machine=machine,
        measuring=measuring(machine),
        extras=extras(),
        backends=backends(),
    )


# ------------------------------------------------------------------------------------ packages


def extras() -> tuple[ExtraState, ...]:
    """Each extra of this installation, with the packages that it asks for."""
    wanted: dict[str, list[PackageState]] = {CORE: []}
    for text in metadata.requires("edgekit") or ():
        requirement, _, marker = text.partition(";")
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", marker)
        if not requirement.startswith("edgekit["):  # `all` only names the others
            name = extra[1] if extra else CORE
            wanted.setdefault(name, []).append(_package(requirement.strip()))
    return tuple(_extra(name, tuple(packages)) for name, packages in wanted.items())


def _package(requirement: str) -> PackageState:
    found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^)]*)\)?", requirement)
    assert found, f"the package's own metadata holds {requirement!r}"
    name, wanted = found[1], found[2].replace(" ", "")
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return PackageState(name, wanted, None, None)
    return PackageState(name, wanted, installed, fits(installed, wanted))


def fits(version: str, wanted: str) -> bool:
    """Whether a version meets bounds such as `>=2.21,<2.22`, by the numbers of its release.

    Args:
        version: Of what is installed; a pre-release counts as its release.
        wanted: Bounds with >=, <=, >, <, == or !=, joined by commas; "" allows everything.
    """
    return all(_meets(_release(version), bound) for bound in wanted.split(",") if bound)


def _meets(have: tuple[int, ...], bound: str) -> bool:
    found = re.fullmatch(r"(>=|<=|>|<|==|!=)([0-9.]+)", bound)
    assert found, f"the package's own metadata holds the bound {bound!r}"
    limit = _release(found[2])
    width = max(len(have), len(limit))
    padded, edge = (numbers + (0,) * (width - len(numbers)) for numbers in (have, limit))
    return {
        ">=": padded >= edge,
        "<=": padded <= edge,
        ">": padded > edge,
        "<": padded < edge,
        "==": padded == edge,
        "!=": padded != edge,
    }[found[1]]


def _release(version: str) -> tuple[int, ...]:
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _extra(name: str, packages: tuple[PackageState, ...]) -> ExtraState:
    complete = all(package.fits for package in packages)
    what = "edgekit" if name == CORE else f"edgekit[{name}]"
    return ExtraState(name, packages, complete, None if complete else f"pip install '{what}'")


# ------------------------------------------------------------------------------------ backends


def backends() -> tuple[BackendState, ...]:
    """Every source, converter, runtime and target, of edgekit and of third parties."""
    return (
        *_known("source", registry.SOURCES),
        *_known("converter", registry.CONVERTERS),
        *_third_party("converter"),
        *_known("runtime", registry.RUNTIMES),
        *_known("target", {name: one for name, one in registry.TARGETS.items() if name != "qemu"}),
        _emulated(),
        *_third_party("target"),
    )


def _known(kind: Kind, table: dict[str, registry.Backend]) -> Iterator[BackendState]:
    for name, backend in table.items():
        lacking = registry.missing(backend)
        commands = registry.missing_commands(backend)
        detail = f"needs {', '.join(lacking)}: {registry.how_to_get(backend)}" if lacking else ""
        if commands:
            detail = f"needs the program {', '.join(commands)}, which is not on PATH"
        yield BackendState(kind, name, not lacking and not commands, detail)


def _emulated() -> BackendState:
    """The machines behind qemu://: ready where one of them is, with what each of the others lacks.

    The processors of microcontrollers are emulated by programs of the system, arm64 in a userland.
    """
    lacking = [_cortex_m_lacks(), _arm64_lacks()]
    return BackendState("target", "qemu", "" in lacking, "; ".join(filter(None, lacking)))


def _cortex_m_lacks() -> str:
    programs = cortex_tools.missing()
    told = f"qemu://cortex-m… needs {', '.join(programs)}: {cortex_tools.INSTALL}"
    return told if programs else ""


def _arm64_lacks() -> str:
    try:
        is_there = userland.place().is_dir()
    except (DeviceError, metadata.PackageNotFoundError):  # not on this machine, or without LiteRT
        is_there = False
    return "" if is_there else "qemu://aarch64 needs edgekit device setup qemu://aarch64"


def _third_party(kind: Kind) -> Iterator[BackendState]:
    for point in metadata.entry_points(group=f"edgekit.{kind}s"):
        found = registry.has_module(point.module.partition(".")[0])
        origin = f"from {point.dist.name} {point.dist.version}" if point.dist else point.value
        yield BackendState(kind, point.name, found, origin)


# ----------------------------------------------------------------------------------- measuring


def measuring(machine: Machine) -> Measuring:
    """Keeps one core busy for a moment, and tries what peak memory needs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - start_s < BUSY_S:
        pass
    wall_per_cpu = (time.perf_counter() - start_s) / (time.process_time() - start_cpu_s)
    measured = Measuring(
        wall_per_cpu=round(wall_per_cpu, 3),
        involuntary_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - before,
        contended=wall_per_cpu > CONTENDED_WALL_PER_CPU,
        peak_memory=memory.reset_peak() and memory.peak_bytes() is not None,
    )
    return msgspec.structs.replace(measured, notes=tuple(notes(measured, machine)))


def notes(measured: Measuring, machine: Machine) -> Iterator[str]:
    """What stands in the way of good figures, a line each."""
    if measured.contended:
        yield "another process uses this core now: latency will be marked contended"
    if not measured.peak_memory:
        yield "/proc/self/clear_refs does not reset peak memory here: it will be null"
    if machine.cpu_quota_cores is not None:
        yield f"a cgroup limits this process to {machine.cpu_quota_cores:g} cores: it may stall"
    if machine.governor not in (None, "performance"):
        yield f"the CPU's governor is {machine.governor}: short runs may see a low clock"
