"""Compiles generated C with this machine's compiler and runs its golden vectors.

Runs inside a worker, whose whole process group ends with it. What passes here has the bits of
LiteRT's reference kernels; a device's compiler still has to pass its own test program.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from edgekit.errors import ParityError

COMPILER = "cc"
LIMIT_S = 600


class Checked(NamedTuple):
    """What was found: with which compiler, and a warning where nothing could be run."""

    compiler: str | None
    warning: str | None


def check(main: Path, program: Path, directory: Path) -> Checked:
    """Runs the golden vectors through C sources.

    Args:
        main: The source file of the artifact.
        program: The source file of its test program.
        directory: Where to put the executable, which stays there.

    Raises:
        ParityError: The C answers something else than LiteRT's reference kernels.
    """
    compiler = shutil.which(COMPILER)
    if compiler is None:
        return Checked(None, f"no C compiler ({COMPILER}) is here: {_untested(program)}")
    executable = directory / "golden"
    sources = [str(main), str(program)]
    built = _run([compiler, "-std=c99", "-O1", *sources, "-o", str(executable)])
    if built.returncode:
        said = next(iter(built.stderr.splitlines()), "no message")
        return Checked(None, f"{COMPILER} could not compile the C ({said}): {_untested(program)}")
    found = _run([str(executable)])
    if found.returncode:
        raise ParityError(
            f"the generated C does not give the outputs of LiteRT's reference kernels:"
            f" {found.stdout.strip()[-200:] or f'it ended with {found.returncode}'}",
            "report this with the model's inspect output, and use --emit c-array meanwhile",
        )
    return Checked(_version(compiler), None)


def _untested(program: Path) -> str:
    return f"the C was not run; build {program.name} and run it"


def _version(compiler: str) -> str:
    """The first line of what the compiler says of itself."""
    said = _run([compiler, "--version"]).stdout.splitlines()
    return said[0] if said else COMPILER


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=LIMIT_S
    )
