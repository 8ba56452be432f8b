"""How `edgekit doctor` shows what it found."""

from __future__ import annotations

from rich.console import RenderableType

from edgekit import printing, units
from edgekit.doctor_types import BackendState, DoctorReport, ExtraState, Machine, PackageState


def doctor(report: DoctorReport) -> RenderableType:
    """The machine, the packages, and what can be read, written, run and reached."""
    return printing.stack(
        printing.facts(_facts(report)),
        printing.table(
            [("extra", False), ("package", False), ("installed", False), ("wanted", False)],
            [row for extra in report.extras for row in _extra_rows(extra)],
        ),
        printing.table(
            [("can", False), ("name", False), ("here", False)],
            _backend_rows(report.backends),
        ),
        printing.warnings(_python_warning(report) + report.measuring.notes),
    )


def _facts(report: DoctorReport) -> list[tuple[str, str]]:
    measuring = report.measuring
    load = "contended" if measuring.contended else "quiet"
    return [
        ("edgekit", report.edgekit),
        ("Python", report.python),
        ("system", f"{report.machine.system}, {report.machine.arch}"),
        ("CPU", _cpu(report.machine)),
        ("memory", units.size(report.machine.memory_bytes)),
        ("measuring", f"{load} (wall time / CPU time {measuring.wall_per_cpu:.2f})"),
        ("peak memory", "can be measured" if measuring.peak_memory else "cannot be measured"),
    ]


def _cpu(machine: Machine) -> str:
    parts = [machine.cpu or "unknown"]
    if machine.usable_cores is not None:
        parts.append(f"{machine.usable_cores} of {machine.cores} cores usable")
    if machine.cpu_quota_cores is not None:
        parts.append(f"limited to {machine.cpu_quota_cores:g} cores")
    parts.append(f"governor {machine.governor or 'not told'}" + ", virtual" * bool(machine.virtual))
    return ", ".join(parts)


def _python_warning(report: DoctorReport) -> tuple[str, ...]:
    if report.python_supported:
        return ()
    return (f"Python {report.python} is not supported: use 3.11, 3.12 or 3.13",)


def _extra_rows(extra: ExtraState) -> list[tuple[str, ...]]:
    return [
        ("" if number else extra.name, package.name, _state(package, extra), package.wanted)
        for number, package in enumerate(extra.packages)
    ]


def _state(package: PackageState, extra: ExtraState) -> str:
    if package.installed is None:
        return f"missing: {extra.install}"
    return (
        package.installed if package.fits else f"{package.installed} does not fit: {extra.install}"
    )


_CAN = {"source": "read", "converter": "write", "runtime": "run", "target": "reach"}


def _backend_rows(backends: tuple[BackendState, ...]) -> list[tuple[str, ...]]:
    names: dict[tuple[str, str], list[str]] = {}
    for backend in backends:
        here = ("yes" if backend.ready else "no") + (f", {backend.detail}" * bool(backend.detail))
        names.setdefault((_CAN[backend.kind], here), []).append(backend.name)
    return [(can, ", ".join(group), here) for (can, here), group in names.items()]
