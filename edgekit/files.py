"""Outputs that appear whole or not at all, and what may be replaced.

A stage writes into a staging directory beside its output; `publish` moves everything into place
and writes the manifest last. Anything that goes wrong before leaves the directory as it was.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit.errors import OutputError, is_refusal


@contextlib.contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A directory on the output's file system, removed at the end.

    The directories above the output are made, and removed again where nothing came into them.

    Raises:
        OutputError: The place cannot be written.
    """
    parent = output.absolute().parent
    made: list[Path] = []
    try:
        made = missing(parent)
        parent.mkdir(parents=True, exist_ok=True)
        name = tempfile.mkdtemp(prefix=".edgekit-", dir=parent)
    except OSError as error:
        remove_empty(made)
        raise unwritable(output, error) from None
    try:
        yield Path(name)
    except OSError as error:
        elsewhere = error.filename and not str(error.filename).startswith(name)
        if elsewhere or not is_refusal(error):
            raise
        raise unwritable(output, error) from None
    finally:
        shutil.rmtree(name, ignore_errors=True)
        remove_empty(made)


def publish(files: Sequence[tuple[Path, Path]]) -> None:
    """Moves staged files (from, to) into place, in order; the last one seals the set.

    Raises:
        OutputError: One of them cannot be put there.
    """
    for staged, final in files:
        try:
            with staged.open("rb+") as handle:
                os.fsync(handle.fileno())
        except OSError as error:
            raise unwritable(final, error) from None
    for staged, final in files:
        try:
            staged.replace(final)
        except OSError as error:
            raise unwritable(final, error) from None


def write_atomic(path: Path, data: bytes) -> None:
    """Writes one file whole or not at all."""
    with staging(path) as directory:
        staged = directory / "file"
        staged.write_bytes(data)
        publish([(staged, path)])


def gzip_size_bytes(paths: Sequence[Path]) -> int:
    """The size of the files, each gzipped at level 9, in bytes."""
    return sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in paths)


def unwritable(path: Path, error: OSError) -> OutputError:
    """The one line for an output that cannot be written."""
    # mkdir says "File exists" where a file stands in a directory's place.
    blocked = isinstance(error, FileExistsError)
    reason = "Not a directory" if blocked else error.strerror or str(error)
    return OutputError(
        f"cannot write {path}: {reason}",
        "free some space there" if "space" in reason.lower() else "choose another -o",
    )


def missing(directory: Path) -> list[Path]:
    """The directories that making one would make, the deepest first."""
    return [place for place in (directory, *directory.parents) if not place.exists()]


def remove_empty(directories: Sequence[Path]) -> None:
    """Removes those of some directories, the deepest first, that nothing came into."""
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()
