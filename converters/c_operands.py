"""What an operator's options and operands say, and the one line for what C cannot be made of."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgekit.converters.c_types import Operation
from edgekit.errors import ConversionError
from edgekit.flatbuffer import Malformed
from edgekit.tflite_file import Tensor

MAX_HELD = float(1 << 30)
"""Half of what an int32_t holds: what is added to a bounded number still fits."""


def refuse(op: Operation, what: str, fix: str = "") -> NoReturn:
    """Ends in one line that names the layer, its operator, and what to do instead."""
    raise ConversionError(
        f"layer '{op.layer}' ({op.operator.name}) {what}, of which --emit c cannot make C",
        fix or "change that layer, or use --emit c-array, which runs in TensorFlow Lite Micro",
    )


def option(op: Operation, number: int, code: str = "b", default: int = 0) -> int:
    """An integer of the operator's options, by its number in the schema."""
    found = op.operator.options
    if found is None:
        return default
    try:
        return found.scalar(number, code, default)
    except Malformed as error:
        refuse(op, f"has damaged options ({error})", "get the file again")


def real_option(op: Operation, number: int) -> float:
    """A float of the operator's options."""
    bits = option(op, number, "I")
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def shape(tensor: Tensor) -> tuple[int, ...]:
    """A tensor's shape; a size that may vary is 1, one sample at a time."""
    return tuple(1 if size is None else size for size in tensor.shape)


def constant(op: Operation, tensor: Tensor | None, kind: type[np.generic]) -> NDArray[Any]:
    """The values of a constant operand.

    Raises:
        ConversionError: They do not stand in the file.
    """
    if tensor is None or not tensor.data.size:
        refuse(op, "has an operand that is not a constant of this file")
    if tensor.data.size != tensor.elements * np.dtype(kind).itemsize:
        refuse(op, f"has a sparse or packed operand of {tensor.data.size} bytes")
    return np.frombuffer(tensor.data.tobytes(), np.dtype(kind).newbyteorder("<"))


def check_32_bits(op: Operation, largest: float) -> None:
    """Refuses what could leave 32-bit integers, where C and LiteRT alike would be undefined.

    Args:
        op: The operation.
        largest: A bound for what it may have to hold.
    """
    if not largest < MAX_HELD:
        refuse(op, f"may compute numbers up to {largest:.3g}, beyond 32 bits", "quantize it again")


def four_axes(op: Operation, sizes: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A shape with axes of 1 in front, so that there are four."""
    if len(sizes) > 4:
        refuse(op, f"has {len(sizes)} axes where at most 4 are possible")
    first, second, third, last = (*(1,) * (4 - len(sizes)), *sizes)
    return first, second, third, last
