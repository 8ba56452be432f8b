"""Reads JSON files of a schema; one that is damaged, foreign or newer becomes one line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from edgekit.errors import UserError

MAX_BYTES = 256 << 20
"""More than any manifest, result or baseline has."""

T = TypeVar("T")


class _Head(msgspec.Struct):
    """What every file of edgekit begins with."""

    schema: str = ""


def read(path: Path, kind: type[T], schema: str, fix: str) -> T:
    """A file's content, checked key by key.

    Args:
        path: The file.
        kind: What it holds.
        schema: The name and number that it must state, such as "edgekit.bench/1".
        fix: What to do where it is something else.

    Raises:
        UserError: It cannot be read, or is not of this schema; the key that is wrong is named.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is not a file", fix)
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has over {MAX_BYTES >> 20} MiB: it is no {schema} file", fix)
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror or error}", "check the path and its permissions"
        ) from None
    return _decoded(path, data, kind, schema, fix)


def is_newer(path: Path, known: str) -> bool:
    """Whether a small JSON file states a later number of a schema; one that cannot be read: no."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        return False
    return _is_newer(_stated(path.read_bytes()), known)


def _decoded(path: Path, data: bytes, kind: type[T], schema: str, fix: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found = _stated(data)
        if _is_newer(found, schema):
            raise UserError(
                f"{path} was written by a newer edgekit: its schema is {found}, this one reads"
                f" {schema}",
                "pip install --upgrade edgekit",
            ) from None
        what = f"states schema {found}" if found and found != schema else str(error)
        raise UserError(f"{path} is no {schema} file: {what}", fix) from None


def _stated(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_Head).schema
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _is_newer(found: str, known: str) -> bool:
    name, _, number = found.partition("/")
    own_name, _, own_number = known.partition("/")
    return name == own_name and number.isdecimal() and int(number[:9]) > int(own_number)
