"""What a run read, as a rule that make and ninja understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit import files
from edgekit.build_types import BuildFile, Stage
from edgekit.errors import OutputError


def check(path: Path) -> None:
    """Finds out before anything is run whether a depfile can be written.

    Raises:
        OutputError: It cannot.
    """
    try:
        with files.staging(path):
            pass
    except OutputError as error:
        raise OutputError(error.message, "name another place with --depfile") from None
    if path.is_dir():
        raise OutputError(f"{path} is a directory", f"--depfile {path / 'edgekit.d'}")


def write(path: Path, file: BuildFile, stages: Sequence[Stage], read: Sequence[Path]) -> None:
    """Writes `OUTPUT…: INPUT…`, with paths as edgekit.toml was named.

    Args:
        path: The depfile.
        file: The edgekit.toml, an input too.
        stages: Whose outputs are the targets of the rule.
        read: Files, and directories, which stand for everything in them.

    Raises:
        OutputError: It cannot be written.
    """
    directory = Path(file.directory)
    outputs = [directory / path for stage in stages for path in stage.outputs]
    inputs = [Path(file.path), *(entry for place in read for entry in _inside(place))]
    lines = [" ".join(map(_escaped, outputs)) + ":", *map(_escaped, dict.fromkeys(inputs))]
    files.write_atomic(path, (" \\\n  ".join(lines) + "\n").encode())


def _inside(place: Path) -> Iterator[Path]:
    """A directory's own time says that something came or went, its files' that one changed."""
    yield place
    if place.is_dir():
        yield from sorted(place.rglob("*"))


def _escaped(path: Path) -> str:
    return re.sub(r"([ #:])", r"\\\1", str(path)).replace("$", "$$")
