"""What the modules that write C hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.tflite_file import Operator, Tensor


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator, with the names that it has in C.

    `label` is unique ("conv_2d_3"), `layer` the model's own name for it. `sources` and `target` are
    C expressions of where inputs lie and the output goes; a constant input has none ("").
    """

    label: str
    layer: str
    operator: Operator
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, slots=True)
class Emitted:
    """The C of one operation: the kernels that it needs, its constants, and its statements."""

    kernels: tuple[str, ...]
    constants: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the generated function: its parameter, and the tensor behind it."""

    parameter: str
    macro: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Where tensors lie: C expressions by tensor number, and the arena's size in bytes."""

    places: dict[int, str]
    arena_bytes: int
