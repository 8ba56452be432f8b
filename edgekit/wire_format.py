"""Reads protobuf messages field by field, without their schema or a protobuf library.

Just enough to look into SavedModel and ONNX files before any framework opens them: every length
is checked against the bytes that are there, so a damaged file ends in `Malformed` and no later.
Source: the protobuf encoding specification (wire types 0, 1, 2 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator

_MAX_VARINT_BYTES = 10

Field = tuple[int, int | memoryview]
"""A field's number and value: an integer, or the bytes of a string or message."""


class Malformed(ValueError):
    """Bytes that are not a protobuf message."""


def fields(message: memoryview) -> Iterator[Field]:
    """Yields each field of a message as (number, value), in file order.

    Raises:
        Malformed: A tag, length or value does not fit into the message.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        length, position = _length(message, position, wire_type)
        if position + length > len(message):
            raise Malformed(f"field {number} ends {position + length - len(message)} bytes outside")
        yield number, message[position : position + length]
        position += length


def messages(message: memoryview, number: int) -> Iterator[memoryview]:
    """The embedded messages (or strings) with one field number."""
    for found, value in fields(message):
        if found == number:
            if isinstance(value, int):
                raise Malformed(f"field {number} is a number where a message was expected")
            yield value


def text(message: memoryview, number: int) -> str:
    """The string with a field number; empty where there is none. The last one counts."""
    value = ""
    for found in messages(message, number):
        value = decode(found)
    return value


def decode(value: memoryview) -> str:
    """A string field's text."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def _length(message: memoryview, position: int, wire_type: int) -> tuple[int, int]:
    if wire_type == 2:
        return _varint(message, position)
    if wire_type in (1, 5):
        return (8 if wire_type == 1 else 4), position
    raise Malformed(f"wire type {wire_type}")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if position >= len(message):
            raise Malformed("it ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed("a number has more than ten bytes")
