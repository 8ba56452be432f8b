"""Stores constant weights that are mostly zeros sparsely, in a form that LiteRT's default runs.

TFLite's sparse tensors (schema.fbs, SparsityParameters; the last axis compressed, CSR) with a
DENSIFY operator behind each, which XNNPACK unpacks once, while it loads: the same kernels, the same
bits, a smaller file. Tried with LiteRT 2.3: float32, float16 and 8-bit weights behind a DEQUANTIZE
run everywhere, int8 kernels only in convolutions; dense int8 layers and dynamic int8 kernels are
refused ("failed to delegate FULLY_CONNECTED"), and the converter's own EXPERIMENTAL_SPARSITY with
quantization makes just that.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit.converters import tflite_graph
from edgekit.converters.tflite_graph import Graph, Model, Tensor

Array = NDArray[Any]

READERS = {
    "fp32": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "fp16": ("DEQUANTIZE",),
    "int8-weight": ("DEQUANTIZE",),
    "int8": ("CONV_2D", "DEPTHWISE_CONV_2D"),
}
"""For each precision the operators that take what a DENSIFY gives."""

OVERHEAD_BYTES = 512
"""What a sparse tensor takes beside its numbers: its tables, a dense twin, an operator."""

WORTH = 0.8
"""What raw and zipped size, each over that of the dense file, may be multiplied at most.

Places of weights zip badly: at 80 % zeros a float file is a third raw and 1.09 × zipped (taken), an
int8 one 0.83 × raw and 1.2 × zipped (left dense).
"""

_DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32}
_VECTORS = (
    (np.uint8, "Uint8Vector", schema.Uint8VectorT),
    (np.uint16, "Uint16Vector", schema.Uint16VectorT),
    (np.int32, "Int32Vector", schema.Int32VectorT),
)


def encode(content: bytes, precision: str) -> tuple[bytes, list[str]] | None:
    """A model with sparse weights where that makes the file clearly smaller.

    Args:
        content: A .tflite with dense weights.
        precision: What it was made at.

    Returns:
        The smaller file and the names of its sparse tensors; None where that does not pay, or
        where LiteRT does not run it with the same answers in the same delegated parts.
    """
    model = tflite_graph.read(content)
    graph = model.subgraphs[0]
    found = list(_worthwhile(model, graph, READERS.get(precision, ())))
    if not found:
        return None
    for index, values in found:
        _store(model, graph, index, values)
    _drop_unused(model)
    made = tflite_graph.write(model)
    raw, zipped = len(made) / len(content), _zipped_bytes(made) / _zipped_bytes(content)
    if raw * zipped > WORTH or not _runs_alike(content, made):
        return None
    return made, [graph.tensors[index].name.decode() for index, _ in found]


def is_sparse(model: Model) -> bool:
    """Whether any constant is stored sparsely."""
    return any(one.sparsity is not None for graph in model.subgraphs for one in graph.tensors)


def _worthwhile(
    model: Model, graph: Graph, readers: tuple[str, ...]
) -> Iterator[tuple[int, Array]]:
    """Constants that are smaller in sparse form, by number."""
    for index, tensor in enumerate(graph.tensors):
        name = tflite_graph.type_name(tensor)
        if name not in _DTYPES or tensor.shape is None or len(tensor.shape) < 2:
            continue
        if not tflite_graph.is_constant(model, tensor) or tensor.sparsity is not None:
            continue
        data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
        values = data.view(_DTYPES[name]).reshape(tensor.shape)
        reading = [op for op in graph.operators if index in op.inputs.tolist()]
        kinds = {tflite_graph.op_name(model, operator) for operator in reading}
        if kinds and kinds <= set(readers) and _saved_bytes(values) > 0:
            yield index, values


def _saved_bytes(values: Array) -> int:
    segments, places, kept = _compressed(values)
    numbers = (kept, _vector(segments)[1].values, _vector(places)[1].values)
    return int(values.nbytes - sum(one.nbytes for one in numbers) - OVERHEAD_BYTES)


def _compressed(values: Array) -> tuple[Array, Array, Array]:
    """Where each row of the last axis ends, the places of what is not zero, and the values."""
    rows = values.reshape(-1, values.shape[-1])
    stays = rows.view(_BITS[rows.dtype.itemsize]) != 0  # −0.0 stays, so that bits are the same
    segments = np.concatenate([[0], np.cumsum(stays.sum(1))])
    return segments, np.nonzero(stays)[1], rows[stays]


def _vector(numbers: Array) -> tuple[int, Any]:
    """Numbers in the smallest type that holds them, and the type's own."""
    largest = int(numbers.max(initial=0))
    dtype, name, kind = next(one for one in _VECTORS if largest <= np.iinfo(one[0]).max)
    made = kind()
    made.values = numbers.astype(dtype)
    return int(getattr(schema.SparseIndexVector, name)), made


def _store(model: Model, graph: Graph, index: int, values: Array) -> None:
    """Makes a constant sparse, and has a dense twin of it read instead."""
    tensor = graph.tensors[index]
    segments, places, kept = _compressed(values)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(kept.tobytes(), np.uint8)
    model.buffers.append(buffer)
    twin = _twin(tensor)
    tensor.buffer = len(model.buffers) - 1
    tensor.sparsity = schema.SparsityParametersT()
    tensor.sparsity.traversalOrder = np.arange(values.ndim, dtype=np.int32)
    tensor.sparsity.dimMetadata = [_dense_axis(size) for size in values.shape[:-1]]
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegmentsType, last.arraySegments = _vector(segments)
    last.arrayIndicesType, last.arrayIndices = _vector(places)
    tensor.sparsity.dimMetadata.append(last)
    graph.tensors.append(twin)
    number = len(graph.tensors) - 1
    for operator in graph.operators:
        operator.inputs = np.where(operator.inputs == index, number, operator.inputs)
    graph.operators.insert(0, tflite_graph.convert_op(model, "DENSIFY", index, number))


def _twin(tensor: Tensor) -> Tensor:
    twin = schema.TensorT()
    twin.shape, twin.type, twin.hasRank = tensor.shape, tensor.type, tensor.hasRank
    twin.quantization, twin.buffer = tensor.quantization, 0
    twin.name = tensor.name + b"_dense"
    return twin


def _dense_axis(size: int) -> Any:
    axis = schema.DimensionMetadataT()
    axis.format, axis.denseSize = schema.DimensionType.DENSE, int(size)
    return axis


def _drop_unused(model: Model) -> None:
    """Empties buffers that nothing refers to any more."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None


def _zipped_bytes(content: bytes) -> int:
    return len(zlib.compress(content, 6))


def _runs_alike(dense: bytes, sparse: bytes) -> bool:
    """Whether LiteRT loads both, gives XNNPACK the same parts, and answers with the same bits."""
    answers = []
    for content in (dense, sparse):
        try:
            answers.append(_answer(content))
        except (RuntimeError, ValueError):
            return False
    (parts, outputs), (sparse_parts, sparse_outputs) = answers
    return parts == sparse_parts and all(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        for one, other in zip(outputs, sparse_outputs, strict=True)
    )


def _answer(content: bytes) -> tuple[int, list[Array]]:
    """How many parts were delegated, and the outputs for some numbers."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        shape, dtype = detail["shape"], detail["dtype"]
        floating = np.issubdtype(dtype, np.floating)
        numbers = random.standard_normal(shape) if floating else np.zeros(shape)
        if dtype in (np.int8, np.uint8):
            numbers = random.integers(0, 100, shape)
        interpreter.set_tensor(detail["index"], numbers.astype(dtype))
    interpreter.invoke()
    operators = [one["op_name"] for one in interpreter._get_ops_details()]
    outputs = [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]
    return operators.count("DELEGATE"), outputs
