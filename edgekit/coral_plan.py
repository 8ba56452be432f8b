"""What is known of Coral's compiler without running it; loads nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgekit.profile_types import Profile

RUNTIME = "edgetpu"
COMPILER = "edgetpu_compiler"
SIBLING = "_edgetpu.tflite"
"""What the compiler appends to the stem of its input."""


def applies(profile: Profile) -> bool:
    """Whether a target's artifacts are for the Edge TPU."""
    return profile.runtime == RUNTIME


def installed() -> bool:
    """Whether the compiler is on the path."""
    return shutil.which(COMPILER) is not None


def siblings(profile: Profile) -> tuple[str, ...]:
    """The endings of the files that a target's .tflite has beside it."""
    return (SIBLING,) if applies(profile) and installed() else ()


def command(model: Path, directory: Path) -> list[str]:
    """What compiles an int8 .tflite into a directory."""
    return [COMPILER, "-s", "-o", str(directory), str(model)]
