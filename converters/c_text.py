"""Writes C text: names, numbers, arrays, and comments that nothing in a model can break out of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 96
_KEYWORDS = frozenset({
    "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case", "catch", "char",
    "class", "const", "continue", "default", "delete", "do", "double", "else", "enum",
    "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if", "inline",
    "int", "long", "main", "namespace", "new", "not", "operator", "or", "private", "protected",
    "public", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct",
    "switch", "template", "this", "throw", "true", "try", "typedef", "typename", "union",
    "unsigned", "using", "virtual", "void", "volatile", "while", "xor",
})  # fmt: skip
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t",
            "float32": "float"}  # fmt: skip


def identifier(text: str) -> str:
    """A C identifier near a text: `my-model.v2` → `my_model_v2`."""
    name = re.sub(r"[^0-9a-zA-Z]+", "_", text).strip("_") or "model"
    if name[0].isdigit() or name in _KEYWORDS:
        name = f"m_{name}"
    return name


def comment(text: str, limit: int = 120) -> str:
    """A text that is safe inside a C comment: printable ASCII, with nothing that could end it."""
    shown = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:limit])
    return shown.replace("*", "+").replace("\\", "|").replace("??", "?.").replace("//", "/ /")


def c_type(dtype: str) -> str:
    """The C type of a tensor's values."""
    return C_TYPES[dtype]


def number(value: object) -> str:
    """A number as C reads it back exactly: an integer, or a float constant with its suffix."""
    if isinstance(value, float | np.floating):
        text = str(np.float32(value))
        if text in ("nan", "inf", "-inf"):
            raise ValueError(f"{text} has no C constant")
        return f"{text}f"
    assert isinstance(value, int | np.integer), "constants are numbers"
    whole = int(value)
    return "(-2147483647 - 1)" if whole == -(1 << 31) else str(whole)


def signed(value: int) -> str:
    """An integer for a macro, in brackets where it is negative."""
    return f"({value})" if value < 0 else str(value)


def listing(values: Iterable[object], indent: str = "    ") -> str:
    """Numbers, separated by commas, in lines."""
    lines, line = [], indent
    for text in map(number, values):
        if len(line) + len(text) + 2 > LINE:
            lines.append(line.rstrip())
            line = indent
        line += f"{text}, "
    return "\n".join([*lines, line.rstrip().rstrip(",")])


def array(name: str, values: NDArray[np.generic], dtype: str) -> str:
    """A constant of one dimension."""
    flat = values.ravel().tolist()
    return f"static const {c_type(dtype)} {name}[{len(flat)}] = {{\n{listing(flat)}\n}};"


def structure(kind: str, name: str, members: Mapping[str, Any]) -> str:
    """A constant structure, its members named."""
    lines = ", ".join(f".{key} = {_member(value)}" for key, value in members.items())
    return f"static const {kind} {name} = {{\n{_wrapped(lines)}\n}};"


def _member(value: int | str | Sequence[int]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return "{" + ",\0".join(map(number, value)) + "}"  # \0: no line break here
    return number(value)


def _wrapped(text: str, indent: str = "    ") -> str:
    lines, line = [], indent
    for part in text.split(", "):
        shown = part.replace("\0", " ")
        if len(line) + len(shown) + 2 > LINE:
            lines.append(line.rstrip())
            line = indent
        line += f"{shown}, "
    return "\n".join([*lines, line.rstrip().rstrip(",")])


def place(start: str, offset: int) -> str:
    """The address so many values behind another."""
    if not offset:
        return start
    inside = re.fullmatch(r"&(\w+)\[(\d+)\]", start)
    return f"&{inside[1]}[{int(inside[2]) + offset}]" if inside else f"&{start}[{offset}]"
