"""Finds the line of a key in TOML text, for messages: the standard library's parser keeps none."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

Key = str | int
"""A step into a document: a table's key, or the number of a `[[table]]`."""

_HEADER = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"""\s*((?:[\w.\s-]|"[^"]*"|'[^']*')+?)\s*=""")


def line_of(text: str, keys: Sequence[Key]) -> int | None:
    """The line, from 1, that sets a key or else opens the nearest table around it.

    None where the text writes it in a way that a look at single lines does not find.
    """
    places = dict[tuple[Key, ...], int]()
    for number, place in _places(text):
        places.setdefault(place, number)
    for length in range(len(keys), 0, -1):
        if tuple(keys[:length]) in places:
            return places[tuple(keys[:length])]
    return None


def _places(text: str) -> Iterator[tuple[int, tuple[Key, ...]]]:
    table: tuple[Key, ...] = ()
    counts: dict[tuple[Key, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _dotted(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield number, table
        elif assignment := _ASSIGNMENT.match(line):
            yield number, (*table, *_dotted(assignment[1]))


def _dotted(text: str) -> tuple[Key, ...]:
    try:
        node: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return (text,)
    keys: list[Key] = []
    while isinstance(node, dict):
        ((key, node),) = node.items()
        keys.append(key)
    return tuple(keys)
