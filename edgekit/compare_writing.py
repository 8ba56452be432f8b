"""The files of a comparison: the report as JSON, and the plot of its layers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgekit import files, layer_plot
from edgekit.compare_types import CompareReport
from edgekit.errors import OutputError, UsageError

_OWN = (b'"schema": "edgekit.compare/1"', layer_plot.MARK.encode())


def check(plot: Path | None, output: Path | None, *, read: tuple[Path, Path], force: bool) -> None:
    """Finds out before anything is run whether the files can be written.

    Args:
        plot: Where the plot goes.
        output: Where the report goes.
        read: The two models, which must not be lost.
        force: Replace any other file.

    Raises:
        UsageError: Two of the files are the same.
        OutputError: A directory or a file that no earlier comparison wrote stands there, or nothing
            can be written there.
    """
    taken = {path.resolve() for path in read}
    for option, path in (("--plot", plot), ("-o", output)):
        if path is None:
            continue
        if path.resolve() in taken:
            raise UsageError(f"{option} {path} is named twice", "name another file")
        taken.add(path.resolve())
        if path.is_dir():
            raise OutputError(f"{path} is a directory", f"name a file: {option} {path / 'FILE'}")
        if path.exists() and not (force or _is_own(path)):
            raise OutputError(
                f"{path} exists and was not written by edgekit compare",
                f"add --force to replace it, or name another file for {option}",
            )
        with files.staging(path):
            pass


def write(report: CompareReport, *, plot: Path | None, output: Path | None) -> None:
    """Writes what was asked for, each file whole or not at all."""
    if plot is not None and report.layers is not None:
        files.write_atomic(plot, layer_plot.svg(report.layers, report.artifact.path).encode())
    if output is not None:
        text = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        files.write_atomic(output, text)


def _is_own(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        head = handle.read(512)
    return not head or any(mark in head for mark in _OWN)
