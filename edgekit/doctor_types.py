"""What `edgekit doctor` finds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """This machine, as the runner describes it in every result.

    `cpu_quota_cores` is a cgroup's limit; None where there is none.
    """

    system: str
    arch: str
    virtual: bool | None
    cpu: str | None
    cores: int | None
    usable_cores: int | None
    cpu_quota_cores: float | None
    governor: str | None
    memory_bytes: int | None
    load_1min: float | None


class Measuring(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether figures measured here can be trusted now.

    `wall_per_cpu` is the wall time of a busy loop over its CPU time: above 1.05, something else
    uses this core. `peak_memory` says whether the kernel resets the peak of a process.
    """

    wall_per_cpu: float
    involuntary_switches: int
    contended: bool
    peak_memory: bool
    notes: tuple[str, ...] = ()


class PackageState(Struct, frozen=True, forbid_unknown_fields=True):
    """A package that an extra asks for. `fits` is None where it is not installed."""

    name: str
    wanted: str
    installed: str | None
    fits: bool | None


class ExtraState(Struct, frozen=True, forbid_unknown_fields=True):
    """An extra (`core` for what is always there), and what to type for what it lacks."""

    name: str
    packages: tuple[PackageState, ...]
    complete: bool
    install: str | None


class BackendState(Struct, frozen=True, forbid_unknown_fields=True):
    """A source, converter, runtime or target, and whether it can be used here."""

    kind: Literal["source", "converter", "runtime", "target"]
    name: str
    ready: bool
    detail: str = ""


class DoctorReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit doctor` found."""

    schema: Literal["edgekit.doctor/1"]
    edgekit: str
    python: str
    python_supported: bool
    machine: Machine
    measuring: Measuring
    extras: tuple[ExtraState, ...]
    backends: tuple[BackendState, ...]
