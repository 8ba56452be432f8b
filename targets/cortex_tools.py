"""The cross compiler and the emulator: whether they are here, and one bounded run of either."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import DeviceError
from edgekit.targets import children

COMPILER = "arm-none-eabi-gcc"
SIZE = "arm-none-eabi-size"
EMULATOR = "qemu-system-arm"
INSTALL = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
LIMIT_S = 300.0
"""Of one run of the compiler: the largest array that fits a board takes seconds."""


class Done(NamedTuple):
    """How a program ended: its exit code, and what it wrote to standard output and error."""

    code: int
    output: str
    errors: str


def missing() -> list[str]:
    """The programs that the emulated board needs and this machine lacks."""
    return [name for name in (COMPILER, SIZE, EMULATOR) if shutil.which(name) is None]


def require(url: str) -> None:
    """Finds out whether everything is installed that the emulated board needs.

    Raises:
        DeviceError: Something is not.
    """
    lacking = missing()
    if lacking:
        raise DeviceError(
            f"{url} needs {', '.join(lacking)}, which {'are' if lacking[1:] else 'is'} not"
            " installed here",
            INSTALL,
        )


def run(command: Sequence[str], directory: Path, what: str) -> Done:
    """Runs a program to its end, with no input; no process of it is left.

    Args:
        command: An argument list.
        directory: The working directory, for temporary files.
        what: What it is doing, for the message where it takes too long.

    Raises:
        DeviceError: It did not end in time.
    """
    with (
        tempfile.TemporaryFile() as log,
        children.child(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            directory=directory,
        ) as started,
    ):
        try:
            output, _ = started.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{what} did not end within {LIMIT_S:g} s", "try a smaller model"
            ) from None
        log.seek(0)
        errors = log.read().decode(errors="replace")
        return Done(started.returncode, output.decode(errors="replace"), errors)


def versions(directory: Path) -> dict[str, str]:
    """The versions of compiler and emulator."""
    compiler = run([COMPILER, "-dumpfullversion"], directory, COMPILER).output
    emulator = run([EMULATOR, "--version"], directory, EMULATOR).output
    number = re.search(r"version (\d[\d.]*)", emulator)
    return {COMPILER: compiler.strip(), EMULATOR: number[1] if number else "unknown"}
