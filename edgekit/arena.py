"""Plans one block of memory for all tensors that a model computes: greedy, the largest first.

`plan` is the algorithm of TensorFlow Lite Micro's GreedyMemoryPlanner, and `tflm` applies it to the
tensors of a `.tflite` as its MicroAllocator does, so that the planned part ("head") is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.arena_types import ArenaBuffer, ArenaPlan, PlacedBuffer, TflmArena
from edgekit.tflite_file import Graph, Operator, Tensor

ALIGNMENT_BYTES = 16
LARGEST_NAMED = 5

_ITEM_BYTES = {
    "float32": 4, "float16": 2, "float64": 8, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2,
    "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "bool": 1,
}  # fmt: skip
_SCRATCH_UNKNOWN = frozenset({
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "SVDF", "WHILE", "IF",
    "CALL_ONCE",
})  # fmt: skip
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
TAIL_BYTES, TAIL_PER_CHANNEL_BYTES, TAIL_PER_TENSOR_BYTES, TAIL_PER_OPERATOR_BYTES = 600, 8, 13, 180
"""An estimate, fitted to recordings of TFLM's persistent memory on a 64-bit host."""


def plan(buffers: Sequence[ArenaBuffer]) -> ArenaPlan:
    """Gives each buffer a place where no other lies while both are needed.

    Buffers are placed by size, the largest first and equal ones in their order, each in the lowest
    gap that is large enough; places are multiples of ALIGNMENT_BYTES.

    Source: GreedyMemoryPlanner of TensorFlow Lite Micro; "Efficient Memory Management for Deep
    Neural Net Inference", https://arxiv.org/abs/2001.03288, greedy by size.
    """
    order = sorted(range(len(buffers)), key=lambda index: -aligned(buffers[index].size_bytes))
    offsets: dict[int, int] = {}
    for index in order:
        offsets[index] = _lowest_gap(buffers, offsets, index)
    placed = tuple(PlacedBuffer(entry, offsets[index]) for index, entry in enumerate(buffers))
    ends = (entry.offset_bytes + aligned(entry.buffer.size_bytes) for entry in placed)
    return ArenaPlan(max(ends, default=0), placed)


def aligned(size_bytes: int) -> int:
    """A size, rounded up to the alignment."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def tensor_bytes(tensor: Tensor) -> int:
    """What the values of a tensor take, in bytes; a size that may vary counts as 1."""
    return tensor.elements * _ITEM_BYTES.get(tensor.dtype, 1)


def lifetimes(graph: Graph) -> dict[int, tuple[int, int]]:
    """For each computed tensor of a graph its first and last step, where step n is operator n.

    An input is there from the first step, an output to the last; a result that nothing reads lives
    in its own step.
    """
    end = max(len(graph.operators) - 1, 0)
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    for step, operator in enumerate(graph.operators):
        for index in _present(operator.outputs):
            first.setdefault(index, step)
            last[index] = step
        for index in _present(operator.inputs):
            last[index] = step
    last.update(dict.fromkeys(graph.outputs, end))
    return {
        index: (start, last[index])
        for index, start in sorted(first.items())
        if not graph.tensors[index].constant
    }


def tflm(graph: Graph, *, float_bytes: int | None = None, kept: float = 1.0) -> TflmArena:
    """What TensorFlow Lite Micro's arena needs for a graph, its reference kernels assumed.

    Args:
        graph: The graph.
        float_bytes: What a float value will take once the graph is quantized; None leaves it.
        kept: The share that is left of every tensor but the graph's inputs and outputs, to see what
            removing channels would do.
    """
    fixed = {*graph.inputs, *graph.outputs}
    buffers = [
        ArenaBuffer(
            graph.tensors[index].name,
            math.ceil(_size(graph.tensors[index], float_bytes) * (1 if index in fixed else kept)),
            first,
            last,
        )
        for index, (first, last) in lifetimes(graph).items()
    ]
    unknown = sorted({entry.name for entry in graph.operators} & _SCRATCH_UNKNOWN)
    largest = sorted(buffers, key=lambda entry: -entry.size_bytes)[:LARGEST_NAMED]
    return TflmArena(
        head_bytes=plan(buffers).size_bytes,
        tail_estimate_bytes=_tail_estimate_bytes(graph),
        incomplete=tuple(f"scratch memory of {name} is not in the file" for name in unknown),
        largest=tuple(largest),
    )


def _size(tensor: Tensor, float_bytes: int | None) -> int:
    if float_bytes is not None and tensor.dtype == "float32":
        return tensor.elements * float_bytes
    return tensor_bytes(tensor)


def _lowest_gap(buffers: Sequence[ArenaBuffer], offsets: dict[int, int], index: int) -> int:
    own = buffers[index]
    occupied = sorted(
        (offset, offset + aligned(buffers[other].size_bytes))
        for other, offset in offsets.items()
        if _meet(own, buffers[other])
    )
    candidate = 0
    for start, end in occupied:
        if start - candidate >= aligned(own.size_bytes):
            break
        candidate = max(candidate, end)
    return candidate


def _meet(one: ArenaBuffer, other: ArenaBuffer) -> bool:
    return one.first_step <= other.last_step and other.first_step <= one.last_step


def _present(indices: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(index for index in indices if index >= 0)


def _tail_estimate_bytes(graph: Graph) -> int:
    channels = sum(_channels(graph, entry) for entry in graph.operators)
    return (
        TAIL_BYTES
        + TAIL_PER_CHANNEL_BYTES * channels
        + TAIL_PER_TENSOR_BYTES * len(graph.tensors)
        + TAIL_PER_OPERATOR_BYTES * len(graph.operators)
    )


def _channels(graph: Graph, operator: Operator) -> int:
    """How many channels have a multiplier of their own, which TFLM keeps."""
    if operator.name in _CONVOLUTIONS and operator.outputs:
        return graph.tensors[operator.outputs[0]].shape[-1] or 0
    if operator.name == "FULLY_CONNECTED" and len(operator.inputs) > 1:
        scales = graph.tensors[operator.inputs[1]].scales.size
        return scales if scales > 1 else 0
    return 0
