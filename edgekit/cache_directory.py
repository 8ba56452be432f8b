"""Which directories are a cache: those that edgekit made, and marked when they were empty.

Nothing is removed from any other, whatever it holds and whatever its names are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from edgekit import hashing, json_files
from edgekit.cache_types import CacheMark
from edgekit.errors import OutputError

MARK = "edgekit-cache.json"
_SCHEMA: Final = "edgekit.cache-directory/1"
_STAGED = ".edgekit-cache-"


def default() -> Path:
    """Where the cache is unless `--cache-dir` says otherwise."""
    return hashing.cache_directory() / "run"


def check(directory: Path) -> None:
    """Refuses a directory that holds something and was not made by edgekit.

    Raises:
        OutputError: It is such a directory, or no directory, or cannot be read.
        UserError: A newer edgekit made it.
    """
    elsewhere = f"--cache-dir {directory}-cache names another"
    try:
        if (directory / MARK).exists():
            json_files.read(directory / MARK, CacheMark, _SCHEMA, elsewhere)
            return
        if not directory.exists() or directory == default().absolute():
            return
        if not directory.is_dir():
            raise OutputError(f"the cache {directory} is not a directory", elsewhere)
        names = os.listdir(directory)
    except OSError as error:
        raise unusable(directory, error) from None
    found = [name for name in names if not name.startswith(_STAGED)]
    if found and MARK not in found:  # another run may have marked it just now
        raise OutputError(
            f"{directory} is not empty ({min(found)}), and no cache that edgekit made: nothing"
            " in it was touched",
            f"name an empty directory or one that edgekit made: --cache-dir"
            f" {directory / 'edgekit-cache'}",
        )


def make(directory: Path) -> None:
    """Makes a cache directory, marked as one before anything else is in it.

    Raises:
        OutputError, UserError: As `check`; or it cannot be written.
    """
    check(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / MARK).exists():
            _mark(directory)
    except OSError as error:
        raise unusable(directory, error) from None


def unusable(directory: Path, error: OSError) -> OutputError:
    """The one line for a cache that cannot be read or written."""
    return OutputError(
        f"cannot write the cache {directory}: {error.strerror or error}",
        "make it writable, free some space there, or name another with --cache-dir",
    )


def _mark(directory: Path) -> None:
    staged = directory / f"{_STAGED}{os.getpid()}"
    try:
        staged.write_bytes(msgspec.json.encode(CacheMark(_SCHEMA)) + b"\n")
        staged.replace(directory / MARK)
    finally:
        staged.unlink(missing_ok=True)
