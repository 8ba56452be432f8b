"""Runs programs on emulated boards: what the model answers, and how many instructions it takes."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from edgekit.errors import DeviceError
from edgekit.targets import children, conversation, cortex_tools
from edgekit.targets.cortex_boards import Board

SHIFT = 8
"""Under -icount every instruction takes 2^8 ns: more than six ticks of SysTick on every board, so
that its ticks give the number of instructions exactly, and not to within a tick's worth."""
PAINTED_BYTES = 65_536
"""Of stack that cortex_m/count.c looks at."""
OVERFLOW_INSTRUCTIONS = 5
"""Of the interrupt handler in cortex_m/startup.c, which runs at each overflow of SysTick."""

_PIECE = 1 << 16
_FIGURES = re.compile(rb"(\d+) (\d+) (\d+) (\d+)\n")
_HELP = "build NAME_main.c and run it on the device itself; report this with the model"


class Counted(NamedTuple):
    """What one inference takes; the stack is None where it is deeper than what was looked at."""

    instructions: int
    stack_bytes: int | None


def count(program: Path, board: Board, *, what: str, silence_s: float) -> Counted:
    """Counts the instructions of one inference by SysTick under `-icount`.

    Args:
        program: `cortex_m/count.c`, linked with the model; "samples" lies beside it.
        board: What to emulate.
        what: What to call the model in messages.
        silence_s: Seconds after which it is given up.

    Raises:
        DeviceError: It did not come to its end.
    """
    with _started(program, board, ["-icount", f"shift={SHIFT}"], what, silence_s) as emulated:
        said = emulated.rest()
    found = _FIGURES.fullmatch(said)
    if found is None:
        raise DeviceError(
            f"{what} damaged the program that counts its instructions: it said {said[:40]!r}", _HELP
        )
    stack_bytes, bare, whole, overflows = map(int, found.groups())
    taken = (whole - bare) * 1e9 / board.clock_hz / 2**SHIFT
    own = 1  # of what the bare call ran
    return Counted(
        round(taken) + own - OVERFLOW_INSTRUCTIONS * overflows,
        stack_bytes if stack_bytes < PAINTED_BYTES else None,
    )


def answers(
    program: Path, board: Board, sizes: Sequence[int], *, what: str, silence_s: float
) -> Iterator[bytes]:
    """What the model answers, in parts of these sizes, in bytes.

    Args:
        program: `cortex_m/answer.c`, linked with the model; "samples" lies beside it.
        board: What to emulate.
        sizes: Of the parts, together what all the samples give.
        what: What to call the model in messages.
        silence_s: Seconds without an answer after which it is given up.

    Raises:
        DeviceError: It did not come to its end.
    """
    with _started(program, board, [], what, silence_s) as emulated:
        for size in sizes:
            yield emulated.read(size)
        emulated.rest()


class _Emulated:
    """A running emulator: bytes that the board writes, waited for no longer than `silence_s`."""

    def __init__(
        self, process: subprocess.Popen[bytes], log: IO[bytes], what: str, silence_s: float
    ) -> None:
        self._process = process
        self._log = log
        self._what = what
        self._silence_s = silence_s

    def read(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            DeviceError: They did not come.
        """
        found = bytearray()
        while len(found) < size:
            data = self._some(size - len(found))
            if not data:
                raise self._death()
            found += data
        return bytes(found)

    def rest(self) -> bytes:
        """Everything up to a good end.

        Raises:
            DeviceError: It ended otherwise.
        """
        found = bytearray()
        while data := self._some(_PIECE):
            found += data
        if self._process.wait():
            raise self._death()
        return bytes(found)

    def _some(self, most: int) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], self._silence_s)[0]:
            raise DeviceError(
                f"{self._what} gave no sign for {self._silence_s:g} s on the emulated board and was"
                " ended",
                "try a smaller model, or a machine that is less busy",
            )
        return os.read(descriptor, most)

    def _death(self) -> DeviceError:
        said = conversation.last_words(self._log)
        last = f"; the emulator's last words: {said}" if said else ""
        return DeviceError(
            f"{self._what} failed on the emulated board (exit code {self._process.wait()}){last}",
            _HELP,
        )


@contextlib.contextmanager
def _started(
    program: Path, board: Board, options: Sequence[str], what: str, silence_s: float
) -> Iterator[_Emulated]:
    command = [
        cortex_tools.EMULATOR, "-M", board.machine, "-display", "none", "-monitor", "none",
        "-serial", "null", "-semihosting-config", "enable=on,target=native", *options,
        "-kernel", str(program),
    ]  # fmt: skip
    with (
        tempfile.TemporaryFile() as log,
        children.child(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            directory=program.parent,
        ) as process,
    ):
        yield _Emulated(process, log, what, silence_s)
