"""How C on an emulated microcontroller reads: its memory, and instructions in place of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit import printing, units
from edgekit.result_types import Result

COLUMNS = (
    ("flash", True),
    ("static\nRAM", True),
    ("stack\nbuffers", True),
    ("instructions\nper inference", True),
)


def is_emulated(result: Result) -> bool:
    """Whether a result is of standalone C on a microcontroller."""
    return result.footprint is not None


def cells(result: Result) -> list[printing.Cell]:
    """The cells of COLUMNS."""
    memory, counted = result.footprint, result.instructions
    assert memory is not None, "the caller looked"
    return [
        units.size(memory.flash_bytes),
        units.size(memory.ram_bytes),
        printing.two_lines(units.size(memory.stack_bytes), units.size(memory.buffer_bytes)),
        units.NOT_MEASURED if counted is None else f"{counted.per_inference:,}",
    ]


def legend(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    """What the columns mean, and by whom they were counted."""
    measured = [result for result in results if result.footprint is not None]
    if not measured:
        return
    compilers = ", ".join({one.footprint.compiler: "" for one in measured if one.footprint})
    yield "flash, RAM", f"the model and the library code that it needs, linked by {compilers}"
    yield "stack, buffers", "the most stack that was seen; the caller's inputs and outputs"
    counted = dict.fromkeys(
        f"{one.instructions.counted_by}; fed with {one.instructions.inputs}"
        for one in measured
        if one.instructions
    )
    if counted:
        yield "instructions", "\n".join(counted)
