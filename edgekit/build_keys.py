"""What a table of edgekit.toml may say: one line for each way in which it does not."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin

import msgspec

from edgekit import struct_errors
from edgekit.build_lines import Key, line_of
from edgekit.errors import BuildFileError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

Table = typing.TypeVar("Table", bound=msgspec.Struct)


class Source(NamedTuple):
    """The file, to name it and its lines."""

    path: Path
    text: str


def refuse(source: Source, keys: Sequence[Key], what: str, fix: str) -> NoReturn:
    """Raises what `wrong` gives."""
    raise wrong(source, keys, what, fix)


def wrong(source: Source, keys: Sequence[Key], what: str, fix: str) -> BuildFileError:
    """The error with the file, the line of a key, and the key."""
    line = line_of(source.text, keys)
    where = f"{source.path}, line {line}" if line else str(source.path)
    key = dotted(keys)
    return BuildFileError(f"{where}: {key}{': ' if key else ''}{what}", fix)


def convert(source: Source, given: Any, kind: type[Table], keys: Sequence[Key]) -> Table:
    """One table of the file as its type.

    Raises:
        BuildFileError: A key in it is unknown, missing or has a wrong value.
    """
    try:
        return msgspec.convert(given, kind, strict=True)
    except msgspec.ValidationError as error:
        what, inner = _parsed(str(error))
        _explain(source, [*keys, *inner], what, _value(given, inner), kind)


def mapping(source: Source, given: Any, keys: Sequence[Key]) -> dict[str, Any]:
    """A table whose keys are names."""
    if isinstance(given, dict):
        return given
    refuse(source, keys, f"is {shown(given)}, not a table", f"write [{dotted(keys)}.NAME]")


def tables(source: Source, given: Any, name: str) -> list[Any]:
    """The tables of a `[[name]]`."""
    if isinstance(given, list):
        return given
    refuse(source, [name], f"is {shown(given)}, not a list of tables", f"write [[{name}]]")


def unknown(
    source: Source,
    keys: Sequence[Key],
    allowed: Iterable[str],
    what: str = "unknown key",
    given: str | None = None,
) -> NoReturn:
    """Refuses what was given, by default the last of the keys, and says what is allowed."""
    known = list(allowed)
    close = difflib.get_close_matches(given or str(keys[-1]), known, n=1)
    refuse(
        source,
        keys,
        f"{what}; allowed: {', '.join(known) or 'none'}",
        f"did you mean {close[0]}?" if close else "correct it, or take it out",
    )


def check_name(source: Source, keys: Sequence[Key]) -> None:
    """Refuses a name that could not be part of a path, or would lead elsewhere."""
    if not _NAME.fullmatch(str(keys[-1])):
        refuse(
            source,
            keys,
            "is no name: letters, digits, '.', '_' and '-' are allowed, a letter or digit first,"
            " at most 80",
            "rename it",
        )


def dotted(keys: Sequence[Key]) -> str:
    """Keys as messages show them: build[0].target."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(parts).lstrip(".")


def steps(text: str) -> list[Key]:
    """The inverse of `dotted`, for keys without dots."""
    return [name or int(at) for name, at in _STEP.findall(text)]


def shown(value: Any) -> str:
    """A value as it came, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parsed(message: str) -> tuple[str, list[Key]]:
    """What msgspec says is wrong, and where."""
    what, where = struct_errors.parted(message)
    return what, steps(where)


def _explain(
    source: Source, keys: list[Key], what: str, value: Any, kind: type[msgspec.Struct]
) -> NoReturn:
    field = struct_errors.FIELD.fullmatch(what)
    names = [one.name for one in msgspec.structs.fields(kind)]
    if field and field[1] == "contains unknown":
        unknown(source, [*keys, field[2]], names)
    if field:
        refuse(source, keys, f"lacks the key {field[2]}", f"add {field[2]}")
    words = _words(kind, keys)
    if words and isinstance(value, str):
        unknown(source, keys, words, f"is {shown(value)}", value)
    refuse(source, keys, f"is {shown(value)}: {what.replace('`', '')}", "correct that key")


def _words(kind: type[msgspec.Struct], keys: Sequence[Key]) -> list[str]:
    """The words that a key may have, where it has only some."""
    named = [key for key in keys if isinstance(key, str)]
    hint = typing.get_type_hints(kind).get(named[-1]) if named else None
    options = [hint, *get_args(hint)]
    return [word for one in options if get_origin(one) is Literal for word in get_args(one)]


def _value(given: Any, keys: Sequence[Key]) -> Any:
    for key in keys:
        given = given[key]
    return given
