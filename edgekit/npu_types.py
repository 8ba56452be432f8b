"""The data of a compiler's estimate for a neural processor: not measured, and labelled so."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class CpuOperator(Struct, frozen=True, forbid_unknown_fields=True):
    """An operator that the processor does not take; `reason` is the compiler's, if it gave one."""

    name: str
    kind: str
    reason: str | None


class NpuMemory(Struct, frozen=True, forbid_unknown_fields=True):
    """One memory: what the model occupies of it, and what an inference moves in and out."""

    name: Literal["sram", "dram", "on-chip flash", "off-chip flash"]
    used_bytes: int
    traffic_bytes: int
    cycles: int


class NpuEstimate(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What Vela estimates for one inference; nothing of it was measured.

    It covers the NPU only: the operators in `cpu_operators` take time that is not in it.
    `npu_cycles` are those of its arithmetic, `memories` have those of each memory's traffic, and
    `total_cycles` is what remains of all of them where they overlap.
    """

    kind: Literal["estimate"] = "estimate"
    npu_only: Literal[True] = True
    by: str
    accelerator: str
    system_config: str
    memory_mode: str
    clock_hz: float
    inference_s: float
    total_cycles: int
    npu_cycles: int
    macs: int
    memories: tuple[NpuMemory, ...]
    npu_operators: int
    cpu_operators: tuple[CpuOperator, ...]
