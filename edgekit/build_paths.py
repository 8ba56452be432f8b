"""What edgekit.toml names: paths that can be one, files that are there and can be read twice."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from edgekit import build_keys, user_code
from edgekit.build_keys import Source
from edgekit.build_lines import Key

OUTPUTS = "build"
"""Where outputs go, beside the file."""


def check(source: Source, keys: Sequence[Key], given: str) -> None:
    """Refuses what can be no path, whatever is there.

    Raises:
        BuildFileError: It is such a path; the key and its line are named.
    """
    try:
        (source.path.parent / named(given)).resolve().stat()
    except (ValueError, RuntimeError, OSError) as error:
        _refuse_unreadable(source, keys, given, error)


def check_input(source: Source, keys: Sequence[Key], given: str) -> None:
    """Refuses what `check` does, and what is where outputs go.

    What is built must not be what it is built from, over however many steps.

    Raises:
        BuildFileError: The key and its line are named.
    """
    check(source, keys, given)
    outputs = (source.path.parent / OUTPUTS).resolve()
    place = (source.path.parent / named(given)).resolve()
    said = build_keys.shown(given)
    if place == outputs or outputs in place.parents:
        build_keys.refuse(
            source,
            keys,
            f"is {said}, and {OUTPUTS}/ is where this file's own outputs go",
            "name what that output was made from, or move it out of there",
        )
    if place in outputs.parents:
        build_keys.refuse(
            source,
            keys,
            f"is {said}, which holds {OUTPUTS}/, where this file's own outputs go",
            "name a file, or a directory that holds nothing else",
        )


def named(spec: str) -> Path:
    """The file or directory of a path or of `file.py:function`, as it is written."""
    function = user_code.split(spec)
    return function[0] if function else Path(spec).expanduser()


def lacking(place: Path) -> str | None:
    """Why something cannot be read; None for a file or directory, which can be read twice."""
    try:
        if place.is_file() or place.is_dir():
            return None
        if not place.exists():
            return f"there is no {place}"
    except OSError as error:
        return f"cannot look at {place}: {error.strerror or error}"
    return f"{place} is neither a file nor a directory"


def _refuse_unreadable(
    source: Source, keys: Sequence[Key], given: str, error: ValueError | RuntimeError | OSError
) -> None:
    """Says why a path is none; whether there is something is looked at where it is needed."""
    said = build_keys.shown(given)
    if isinstance(error, OSError):
        if error.errno == errno.ENAMETOOLONG:
            what = f"is {said}, a path too long for this system ({len(given)} characters)"
            build_keys.refuse(source, keys, what, "shorten it")
        return
    if "\0" in given:
        build_keys.refuse(source, keys, f"is {said}, and no path holds \\0", "take it out")
    if given.startswith("~"):
        what = f"is {said}, and there is no such user's home directory"
        build_keys.refuse(source, keys, what, "write the path without ~")
    build_keys.refuse(source, keys, f"is {said}: {error}", "correct that path")
