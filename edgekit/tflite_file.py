"""What stands in a `.tflite` file: graphs, tensors, operators, signatures; nothing is executed.

Every index and size is checked while reading, so that a truncated or damaged file is found before
a runtime maps it. Source: TFLite's schema.fbs, version 3.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.flatbuffer import Malformed, Reader, Table
from edgekit.types import Dimension

IDENTIFIER = b"TFL3"
MAX_TENSOR_BYTES = 1 << 31
"""The runtime allocates whatever a shape says. No model for a device holds 2 GiB at once."""
SHOWN_LETTERS, SHOWN_AXES = 60, 8
"""How much of a damaged file's names and shapes a message repeats."""

OP_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_ITEM_BITS = {
    "float32": 32, "float16": 16, "float64": 64, "bfloat16": 16, "int4": 4, "uint4": 4, "int8": 8,
    "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64,
    "bool": 8, "complex64": 64, "complex128": 128,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor. `data` holds a constant's bytes and is empty for computed tensors.

    `shape` has None where the size may vary; `scales` and `zero_points` are empty unless quantized.
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str
    data: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    external: bool

    @property
    def constant(self) -> bool:
        """Whether the values stand in the file (or in a file beside it)."""
        return self.data.size > 0 or self.external

    @property
    def elements(self) -> int:
        """How many values it holds, taking a size that may vary as 1."""
        return math.prod(1 if size is None else size for size in self.shape)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator. `name` is TFLite's (CONV_2D), or the custom code of a custom operator.

    `inputs` holds −1 for an optional input that is left out; `options` is the builtin options.
    """

    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None

    @property
    def flex(self) -> bool:
        """Whether it needs TensorFlow's own kernels, which LiteRT does not have."""
        return self.custom and self.name.startswith("Flex")


@dataclass(frozen=True, slots=True)
class Graph:
    """One subgraph."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A named interface: the names of inputs and outputs, with the tensors they stand for."""

    key: str
    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """A whole file. The first graph is the one that runs; others are bodies of control flow."""

    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]

    @property
    def main(self) -> Graph:
        """The graph that runs."""
        return self.graphs[0]

    def operators(self) -> Iterator[Operator]:
        """Every operator of every graph."""
        for graph in self.graphs:
            yield from graph.operators


def read(path: Path) -> Model:
    """Reads and checks a file; constants stay in the file until they are looked at.

    Raises:
        Malformed: It is not a whole TFLite model.
    """
    with path.open("rb") as handle:
        mapped = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    if len(mapped) < 8 or mapped[4:8] != IDENTIFIER:
        raise Malformed("it has no TFL3 identifier")
    return _Parser(Reader(mapped)).model()


class _Parser:
    """Holds what the tables of one file refer to."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        root = reader.root()
        if root.scalar(0, "I") != 3:
            raise Malformed(f"its schema version is {root.scalar(0, 'I')}, supported is 3")
        self._root = root
        self._buffers = list(root.children(4))
        self._codes = [_operator_code(table) for table in root.children(1)]

    def model(self) -> Model:
        graphs = tuple(self._graph(table) for table in self._root.children(2))
        if not graphs:
            raise Malformed("it holds no graph")
        signatures = tuple(_signature(table, graphs) for table in self._root.children(7))
        return Model(graphs, signatures)

    def _graph(self, table: Table) -> Graph:
        tensors = tuple(self._tensor(entry) for entry in table.children(0))
        operators = tuple(self._operator(entry, len(tensors)) for entry in table.children(3))
        inputs = _indices(table.numbers(1, "<i4"), len(tensors))
        return Graph(tensors, inputs, _indices(table.numbers(2, "<i4"), len(tensors)), operators)

    def _tensor(self, table: Table) -> Tensor:
        number = table.scalar(1, "b")
        if number not in _TYPE_NAMES:
            raise Malformed(f"a tensor has the unknown type {number}")
        dtype, name = _TYPE_NAMES[number], table.string(3)
        shown = repr(name[:SHOWN_LETTERS])
        sizes = [int(size) for size in table.numbers(0, "<i4")]
        data = self._data(table.scalar(2, "I"), shown)
        if min(sizes, default=0) < 0:
            raise Malformed(f"tensor {shown} has the shape {sizes[:SHOWN_AXES]}")
        if math.prod(sizes) * _ITEM_BITS.get(dtype, 8) // 8 > MAX_TENSOR_BYTES:
            raise Malformed(f"tensor {shown} ({dtype}, {sizes[:SHOWN_AXES]}) needs over 2 GiB")
        if data.size and table.child(6) is None:
            _check_size(shown, dtype, sizes, data.size)
        scales, zero_points = _quantization(table.child(4), shown)
        shape = _shape(sizes, [int(size) for size in table.numbers(7, "<i4")])
        return Tensor(name, shape, dtype, data, scales, zero_points, table.scalar(10, "I") > 0)

    def _data(self, index: int, shown: str) -> NDArray[np.uint8]:
        if index >= len(self._buffers):
            raise Malformed(f"tensor {shown} names buffer {index} of {len(self._buffers)}")
        table = self._buffers[index]
        offset, size = table.scalar(1, "Q"), table.scalar(2, "Q")
        if offset + size > len(self._reader.data):
            raise Malformed(f"the data of tensor {shown} end outside the file")
        if size:
            return np.frombuffer(self._reader.data, np.uint8, count=size, offset=offset)
        return cast("NDArray[np.uint8]", table.numbers(0, "u1"))

    def _operator(self, table: Table, tensors: int) -> Operator:
        index = table.scalar(0, "I")
        if index >= len(self._codes):
            raise Malformed(f"an operator names code {index} of {len(self._codes)}")
        name, custom, version = self._codes[index]
        inputs = _indices(table.numbers(1, "<i4"), tensors, optional=True)
        outputs = _indices(table.numbers(2, "<i4"), tensors, optional=True)
        return Operator(name, custom, version, inputs, outputs, table.child(4))


def _operator_code(table: Table) -> tuple[str, bool, int]:
    number = max(table.scalar(3, "i"), table.scalar(0, "b"))
    if number not in OP_NAMES:
        raise Malformed(f"it has the unknown operator {number}")
    custom = OP_NAMES[number] == "CUSTOM"
    name = table.string(1) if custom else OP_NAMES[number]
    return name, custom, table.scalar(2, "i", 1)


def _signature(table: Table, graphs: tuple[Graph, ...]) -> Signature:
    index = table.scalar(4, "I")
    if index >= len(graphs):
        raise Malformed(f"a signature names graph {index} of {len(graphs)}")
    sides = []
    for number in (0, 1):
        named = {entry.string(0): entry.scalar(1, "I") for entry in table.children(number)}
        if max(named.values(), default=0) >= len(graphs[index].tensors):
            raise Malformed("a signature names a tensor that its graph does not have")
        sides.append(named)
    return Signature(table.string(2), index, *sides)


def _quantization(table: Table | None, shown: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if table is None:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    scales = cast("NDArray[np.float32]", table.numbers(2, "<f4"))
    if not np.isfinite(scales).all():
        raise Malformed(f"tensor {shown} has a quantization scale that is not finite")
    return scales, cast("NDArray[np.int64]", table.numbers(3, "<i8"))


def _check_size(shown: str, dtype: str, sizes: list[int], found_bytes: int) -> None:
    bits = _ITEM_BITS.get(dtype)
    if bits is None:
        return
    expected = (math.prod(sizes) * bits + 7) // 8
    if expected != found_bytes:
        raise Malformed(
            f"tensor {shown} ({dtype}, {sizes[:SHOWN_AXES]}) needs {expected} bytes and has"
            f" {found_bytes}"
        )


def _shape(sizes: list[int], signature: list[int]) -> tuple[Dimension, ...]:
    if len(signature) != len(sizes):
        return tuple(sizes)
    return tuple(None if free == -1 else size for size, free in zip(sizes, signature, strict=True))


def _indices(
    found: NDArray[np.generic], tensors: int, *, optional: bool = False
) -> tuple[int, ...]:
    indices = tuple(int(index) for index in found.tolist())
    for index in indices:
        if not (-1 if optional else 0) <= index < tensors:
            raise Malformed(f"tensor {index} is named where there are {tensors}")
    return indices
