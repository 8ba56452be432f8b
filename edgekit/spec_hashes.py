"""The identity of what options name: data, and functions of the user's, before they are opened."""

from __future__ import annotations

from pathlib import Path

from edgekit import hashing, user_code
from edgekit.errors import DataError


def data_sha256(spec: str, directory: Path = Path()) -> str:
    """What is known of the data before it is opened: its file, directory, or function's file.

    Args:
        spec: The value of `--data`.
        directory: What a path in it is relative to.

    Raises:
        DataError: It is not there, or cannot be read twice.
    """
    function = user_code.split(spec)
    path = directory / Path(function[0] if function else spec).expanduser()
    if not path.exists():
        raise DataError(f"--data {spec}: {path} does not exist", "check the path")
    if not (path.is_file() or path.is_dir()):  # a pipe can be read once only
        raise DataError(f"--data {spec} is neither a file nor a directory", "save it in a file")
    return hashing.sha256_json([hashing.file_ref(path).sha256, function[1] if function else None])


def function_sha256(spec: str | None, directory: Path = Path()) -> str | None:
    """The code behind `file.py:function`, an input like any other; None for a name such as top1."""
    function = user_code.split(spec) if spec else None
    if function is None:
        return None
    path = directory / function[0]
    return hashing.file_ref(path).sha256 if path.is_file() else None
