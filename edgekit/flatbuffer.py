"""Reads FlatBuffers with every offset checked, for files that nobody has vouched for.

The reader generated from TFLite's schema follows whatever offsets it finds; this one ends in
`Malformed` instead, and stops after `max_visits` tables, since a small file can point at one table
a million times. Source: FlatBuffers' binary format ("FlatBuffer Internals").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Buffer = bytes | memoryview


class Malformed(ValueError):
    """Bytes that are not the FlatBuffer they should be."""


@dataclass(slots=True)
class Reader:
    """The bytes of one file, and how many more tables may be visited in it."""

    data: Buffer
    max_visits: int = 5_000_000
    _formats: dict[str, struct.Struct] = field(default_factory=dict)

    def root(self) -> Table:
        """The root table."""
        return self.table(self.number(0, "I"))

    def number(self, position: int, code: str) -> int:
        """One little-endian integer; `code` is struct's."""
        packing = self._formats.setdefault(code, struct.Struct("<" + code))
        try:
            return int(packing.unpack_from(self.data, position)[0])
        except struct.error:
            raise Malformed(f"offset {position} is outside the file") from None

    def table(self, position: int) -> Table:
        """The table at a position, with its vtable checked."""
        self.max_visits -= 1
        if self.max_visits < 0:
            raise Malformed("it points at more tables than any model has")
        vtable = position - self.number(position, "i")
        if vtable < 0:
            raise Malformed(f"the vtable of the table at {position} is outside the file")
        size, table_size = self.number(vtable, "H"), self.number(vtable + 2, "H")
        if size < 4 or size % 2 or vtable + size > len(self.data):
            raise Malformed(f"the table at {position} has a vtable of {size} bytes")
        if position + table_size > len(self.data):
            raise Malformed(f"the table at {position} ends outside the file")
        return Table(self, position, vtable, size, table_size)

    def span(self, position: int, item_bytes: int) -> tuple[int, int]:
        """Start and length of the vector that the offset at `position` points to."""
        start = position + self.number(position, "I")
        length = self.number(start, "I")
        if start + 4 + length * item_bytes > len(self.data):
            raise Malformed(f"the vector at {start} has {length} items and ends outside the file")
        return start + 4, length


@dataclass(frozen=True, slots=True)
class Table:
    """One table; its fields are asked for by their number in the schema, from 0."""

    reader: Reader
    position: int
    vtable: int
    vtable_size: int
    size: int

    def scalar(self, number: int, code: str, default: int = 0) -> int:
        """An integer field; `code` is struct's ("i", "I", "b", …)."""
        at = self._field(number)
        return default if at is None else self.reader.number(at, code)

    def string(self, number: int) -> str:
        """A string field; empty where it is absent."""
        at = self._field(number)
        if at is None:
            return ""
        start, length = self.reader.span(at, 1)
        try:
            return str(self.reader.data[start : start + length], "utf-8")
        except UnicodeDecodeError:
            raise Malformed(f"the string at {start} is not UTF-8") from None

    def numbers(self, number: int, dtype: str) -> NDArray[np.generic]:
        """A vector of numbers, not copied; empty where it is absent."""
        at = self._field(number)
        if at is None:
            return np.empty(0, dtype)
        start, length = self.reader.span(at, np.dtype(dtype).itemsize)
        return np.frombuffer(self.reader.data, dtype, count=length, offset=start)

    def child(self, number: int) -> Table | None:
        """A table field (or the table of a union field)."""
        at = self._field(number)
        return None if at is None else self.reader.table(at + self.reader.number(at, "I"))

    def children(self, number: int) -> Iterator[Table]:
        """A vector of tables."""
        at = self._field(number)
        if at is None:
            return
        start, length = self.reader.span(at, 4)
        for item in range(start, start + 4 * length, 4):
            yield self.reader.table(item + self.reader.number(item, "I"))

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self.vtable_size:
            return None
        offset = self.reader.number(self.vtable + entry, "H")
        if offset >= self.size and offset:
            raise Malformed(f"field {number} of the table at {self.position} is outside it")
        return self.position + offset if offset else None
