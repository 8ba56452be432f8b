"""TOML text, bounded: no key of edgekit is nested deep, and the parser's time grows with depth."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MAX_DEPTH = 32

_QUOTED = r""""[^"\n]*+"|'[^'\n]*+'"""
_KEY = rf"(?:[\w-]++|{_QUOTED})"
_DOTTED = re.compile(rf"{_KEY}(?:[ \t]*+\.[ \t]*+{_KEY})*+")


def decode(content: bytes) -> str:
    """A file's text; a byte order mark, which some editors write, is left out.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return content.decode("utf-8-sig")


def loads(text: str) -> dict[str, Any]:
    """The document.

    Raises:
        ValueError: It is no TOML, or a key is nested too deep; the line is named.
        RecursionError: Values are nested too deep.
    """
    for found in _DOTTED.finditer(text):
        depth = re.sub(_QUOTED, "", found[0]).count(".") + 1
        if depth > MAX_DEPTH:
            line = text.count("\n", 0, found.start()) + 1
            raise ValueError(
                f"a key of {depth} parts, and {MAX_DEPTH} are allowed (at line {line})"
            )
    return tomllib.loads(text)
