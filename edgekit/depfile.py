"""What a run read, as a rule that make and ninja understand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit import files
from edgekit.build_types import BuildFile, Stage
from edgekit.errors import OutputError

_MEANT_OTHERWISE = re.compile(r"[\x00-\x1f\x7f;|\\%*?\[\]~&]")
"""Ends a rule, starts a command or stands for other files, and not both tools can escape it."""


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

    Each input also gets a rule of its own without a recipe, so that make runs edgekit where one is
    gone, and does not look for a way to make it.

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
    named = [Path(file.path), *read]
    for place in (*outputs, *named):
        _require_nameable(place)
    within = (entry for place in read for entry in _inside(place))
    inputs = [_escaped(place) for place in dict.fromkeys((*named, *within))]
    rule = " \\\n  ".join([" ".join(map(_escaped, outputs)) + ":", *inputs])
    files.write_atomic(path, "\n".join([rule, *(f"{one}:" for one in inputs), ""]).encode())


def _require_nameable(place: Path) -> None:
    if _MEANT_OTHERWISE.search(str(place)):
        raise OutputError(
            f"{str(place)!r} cannot stand in a depfile: make or ninja would take a sign in it for"
            " its own",
            "rename it, or leave out --depfile",
        )


def _inside(place: Path) -> Iterator[Path]:
    """A directory's own time says that something came or went, its files' that one changed.

    A file whose name no rule can hold is left to its directory.
    """
    if place.is_dir():
        yield from (one for one in sorted(place.rglob("*"))
                    if not _MEANT_OTHERWISE.search(str(one)))  # fmt: skip


def _escaped(path: Path) -> str:
    return re.sub(r"([ #:])", r"\\\1", str(path)).replace("$", "$$")
