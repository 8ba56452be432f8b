"""Generated C → what an emulated Cortex-M runs, and the exact memory that the model takes.

The model's footprint is that of a link of its own: NAME_invoke is the entry point, so that the ELF
file holds the model and the library code that it needs, and nothing of the board or of what feeds
it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import DeviceError, ModelError
from edgekit.targets import cortex_tools
from edgekit.targets.cortex_boards import Board
from edgekit.targets.runner.tensors import Tensor

SUPPORT = Path(__file__).with_name("cortex_m")
OPTIMIZED = "-O2"
_SYMBOL = re.compile(r"^int (\w+_invoke)\(", re.MULTILINE)
_TOO_LARGE = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_SHOWN = 200


class Sources(NamedTuple):
    """What `convert --emit c` wrote: the source, its function, and the bytes of its arguments."""

    path: Path
    function: str
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]


class Footprint(NamedTuple):
    """Memory of the model and the library code that it needs, as the ELF file has it."""

    flash_bytes: int
    ram_bytes: int


def sources(header: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Sources:
    """Reads what has to be known of an artifact, whose tensors are those of its manifest.

    Raises:
        ModelError: It is not what `convert --emit c` writes.
    """
    found = _SYMBOL.search(header.read_text(encoding="ascii", errors="replace"))
    others = [tensor["name"] for tensor in (*inputs, *outputs) if tensor["dtype"] != "int8"]
    if found is None or others or not (inputs and outputs):
        raise ModelError(
            f"{header.name} does not declare a NAME_invoke for int8 tensors",
            "write it with edgekit convert MODEL --emit c",
        )
    return Sources(header.with_suffix(".c"), found[1], _sizes(inputs), _sizes(outputs))


def compiled(model: Sources, board: Board, directory: Path) -> Path:
    """The object file of the model.

    Raises:
        ModelError: It is no C that the compiler takes.
    """
    place = directory / "model.o"
    command = [*_core(board), "-std=c99", "-c", str(model.path), "-o", str(place)]
    done = cortex_tools.run(command, directory, f"compiling {model.path.name}")
    if done.code:
        raise ModelError(
            f"{model.path.name} does not compile for {board.title}: {_complaint(done.errors)}",
            "convert the model again",
        )
    return place


def footprint(model: Sources, compiled_model: Path, board: Board, directory: Path) -> Footprint:
    """Links the model alone and reads its sections.

    Raises:
        DeviceError: It is larger than the board's memory.
    """
    place = directory / "alone.elf"
    alone = ["-Wl,--gc-sections", f"-Wl,--entry={model.function}"]
    _link([*alone, str(compiled_model)], model, board, directory, place)
    shown = cortex_tools.run([cortex_tools.SIZE, str(place)], directory, cortex_tools.SIZE).output
    text, data, bss = map(int, shown.splitlines()[1].split()[:3])
    return Footprint(text + data, data + bss)


def program(main: str, model: Sources, compiled_model: Path, board: Board, directory: Path) -> Path:
    """Links one of the programs of `cortex_m/` with the model.

    Args:
        main: Its file.
        model: The sources.
        compiled_model: Their object file.
        board: Where it will run.
        directory: Where everything is written.

    Raises:
        DeviceError: It is larger than the board's memory, or the C library is not installed.
    """
    (directory / "model.h").write_text(_declarations(model), encoding="ascii")
    place = directory / f"{Path(main).stem}.elf"
    parts = [str(SUPPORT / "startup.c"), str(SUPPORT / main), str(compiled_model)]
    _link([f"-I{directory}", *parts], model, board, directory, place)
    return place


def _declarations(model: Sources) -> str:
    """What the programs know of the model: its function, and how to call it with both buffers."""
    kinds = ["const int8_t *"] * len(model.input_bytes) + ["int8_t *"] * len(model.output_bytes)
    arguments = [*_offsets("input", model.input_bytes), *_offsets("output", model.output_bytes)]
    return "\n".join([
        "#include <stdint.h>",
        f"typedef int (*model_t)({', '.join(kinds)});",
        f"extern int {model.function}({', '.join(kinds)});",
        f"#define MODEL {model.function}",
        f"#define CALL(model) ((model)({', '.join(arguments)}))",
        f"static int8_t input[{sum(model.input_bytes)}];",
        f"static int8_t output[{sum(model.output_bytes)}];",
        "",
    ])  # fmt: skip


def _offsets(array: str, sizes: Sequence[int]) -> list[str]:
    return [f"{array} + {sum(sizes[:number])}" for number in range(len(sizes))]


def _sizes(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(math.prod(tensor["shape"]) for tensor in tensors)


def _core(board: Board) -> list[str]:
    return [cortex_tools.COMPILER, f"-mcpu={board.cpu}", "-mthumb", "-mfloat-abi=soft", OPTIMIZED]


def _link(parts: Sequence[str], model: Sources, board: Board, directory: Path, place: Path) -> None:
    memories = {"VECTORS": board.vectors, "CODE": board.code, "DATA": board.data}
    defined = [
        f"-Wl,--defsym={name}_ORIGIN={memory.origin},--defsym={name}_LENGTH={memory.size_bytes}"
        for name, memory in memories.items()
    ]
    script = ["-T", str(SUPPORT / "boards.ld")]
    command = [
        *_core(board),
        "--specs=rdimon.specs",
        "-nostartfiles",
        *defined,
        *script,
        *parts,
        "-o",
        str(place),
    ]
    done = cortex_tools.run(command, directory, f"linking {model.path.name}")
    if done.code:
        raise _not_linked(model, board, done.errors)


def _not_linked(model: Sources, board: Board, errors: str) -> DeviceError:
    large = _TOO_LARGE.search(errors)
    if large:
        kind, size_bytes = {
            "CODE": ("code and constants", board.code.size_bytes),
            "DATA": ("data", board.data.size_bytes),
        }[large[1]]
        return DeviceError(
            f"{model.path.name} does not fit {board.machine}: its {kind} need {large[2]} bytes more"
            f" than the {size_bytes} that are there",
            "make the model smaller (edgekit recipes list)",
        )
    if "rdimon.specs" in errors:
        return DeviceError(
            f"{cortex_tools.COMPILER} has no C library here (newlib's rdimon.specs)",
            cortex_tools.INSTALL,
        )
    return DeviceError(
        f"{model.path.name} could not be linked: {_complaint(errors)}",
        f"use Debian's toolchain: {cortex_tools.INSTALL}",
    )


def _complaint(errors: str) -> str:
    lines = [line for line in errors.splitlines() if not line.startswith("collect2:")]
    found = [line for line in lines if "error:" in line] or lines[-1:] or ["it gave no reason"]
    return found[0].strip()[-_SHOWN:]
