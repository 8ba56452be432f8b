"""The data of an arena plan: what lies in one block of memory, when, and where."""

from __future__ import annotations

from msgspec import Struct


class ArenaBuffer(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that have to be kept from one step of a computation to another, both included."""

    name: str
    size_bytes: int
    first_step: int
    last_step: int


class PlacedBuffer(Struct, frozen=True, forbid_unknown_fields=True):
    """A buffer, and where in the arena it lies."""

    buffer: ArenaBuffer
    offset_bytes: int


class ArenaPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Where every buffer lies, in the order in which the buffers came.

    `size_bytes` is what the arena needs: the end of the buffer that reaches furthest.
    """

    size_bytes: int
    placed: tuple[PlacedBuffer, ...]


class Examined(Struct, frozen=True, forbid_unknown_fields=True):
    """What a `.tflite` asks of a microcontroller.

    `kept_heads` gives the head that would be left, by estimate, for shares of the channels that
    stay. `dense_per_channel` names dense layers whose weights have several scales. `operators` are
    each operator's output, name and version.
    """

    arena: TflmArena
    kept_heads: dict[str, int]
    dense_per_channel: tuple[str, ...]
    operators: tuple[tuple[str, str, int], ...]


class TflmArena(Struct, frozen=True, forbid_unknown_fields=True):
    """What TensorFlow Lite Micro allocates for a model.

    `head_bytes` is planned from the file and exact, unless `incomplete` says what the file does not
    tell (scratch memory of recurrent layers). `tail_estimate_bytes` is an estimate, for 64-bit
    pointers; a 32-bit device needs less.
    """

    head_bytes: int
    tail_estimate_bytes: int
    incomplete: tuple[str, ...]
    largest: tuple[ArenaBuffer, ...]
