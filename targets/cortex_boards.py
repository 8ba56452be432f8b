"""The emulated boards: which of QEMU's machines has which Cortex-M, and where its memories begin.

From QEMU's own description of the machines (hw/arm/mps2.c, mps2-tz.c, docs/system/arm/mps2).
"""

from __future__ import annotations

from typing import NamedTuple


class Memory(NamedTuple):
    """Where a memory begins, and its size."""

    origin: int
    size_bytes: int


class Board(NamedTuple):
    """One machine of `qemu-system-arm`. `clock_hz` is that of the processor, which SysTick has."""

    cpu: str
    title: str
    architecture: str
    machine: str
    clock_hz: int
    vectors: Memory
    code: Memory
    data: Memory


VECTORS_BYTES = 0x400


def _mps2(cpu: str, title: str, architecture: str, machine: str) -> Board:
    """An MPS2 board: both memories of 4 MiB, the vectors at the start of the first."""
    return Board(
        cpu,
        title,
        architecture,
        machine,
        25_000_000,
        Memory(0, VECTORS_BYTES),
        Memory(VECTORS_BYTES, (4 << 20) - VECTORS_BYTES),
        Memory(0x2000_0000, 4 << 20),
    )


BOARDS = {
    board.cpu: board
    for board in (
        _mps2("cortex-m3", "Arm Cortex-M3", "armv7-m", "mps2-an385"),
        _mps2("cortex-m4", "Arm Cortex-M4", "armv7e-m", "mps2-an386"),
        _mps2("cortex-m7", "Arm Cortex-M7", "armv7e-m", "mps2-an500"),
        Board(
            "cortex-m55",
            "Arm Cortex-M55",
            "armv8.1-m.main",
            "mps3-an547",
            32_000_000,
            Memory(0x1000_0000, VECTORS_BYTES),
            Memory(0x1100_0000, 2 << 20),
            Memory(0x3100_0000, 4 << 20),
        ),
    )
}
"""By the part of the URL after `qemu://`."""
