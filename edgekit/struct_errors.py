"""What msgspec says of a value that is not of a Struct's type, taken apart for messages."""

from __future__ import annotations

import re

FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`")
"""What it says of a key that is too much, or lacks."""

_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$")


def parted(message: str) -> tuple[str, str]:
    """What is wrong, and where: keys with dots and numbers in brackets; empty for the whole."""
    found = _MESSAGE.match(message)
    assert found, f"msgspec changed its messages: {message}"
    return found["what"], found["where"] or ""
