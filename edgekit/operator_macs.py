"""Multiply-accumulates of TFLite operators, by the convention of `layer_macs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.tflite_file import Graph, Model, Operator, Tensor

Counts = tuple[int | None, ...]

UNCOUNTED_OPS = frozenset({
    "BIDIRECTIONAL_SEQUENCE_RNN", "CALL", "CALL_ONCE", "CONV_3D_TRANSPOSE", "IF", "LSTM", "RNN",
    "IRFFT2D", "RFFT2D", "SVDF", "UNIDIRECTIONAL_SEQUENCE_RNN",
})  # fmt: skip


def graph_macs(model: Model, index: int = 0, seen: dict[int, int | None] | None = None) -> Counts:
    """MACs of each TFLite operator of a graph, over the whole batch; None where there is no rule.

    A WHILE counts its body as often as its condition allows, where that is a constant (as in the
    loops that recurrent layers become).

    Args:
        model: The file.
        index: Which of its graphs.
        seen: The sums of graphs that were counted before; a graph that calls itself has none.
    """
    sums: dict[int, int | None] = {} if seen is None else seen
    sums[index] = None
    graph = model.graphs[index]
    counts = tuple(_operator_macs(model, graph, entry, sums) for entry in graph.operators)
    sums[index] = None if None in counts else sum(count or 0 for count in counts)
    return counts


def _operator_macs(
    model: Model, graph: Graph, operator: Operator, sums: dict[int, int | None]
) -> int | None:
    if operator.custom or operator.name.startswith("STABLEHLO") or operator.name in UNCOUNTED_OPS:
        return None
    if operator.name == "WHILE":
        return _while_macs(model, operator, sums)
    rule = _OPERATOR_RULES.get(operator.name)
    if rule is None:
        return 0
    if any(None in graph.tensors[index].shape[1:] for index in operator.outputs[:1]):
        return None  # more than the batch may vary
    tensors = [graph.tensors[index] if index >= 0 else None for index in operator.inputs]
    output = graph.tensors[operator.outputs[0]]
    try:
        return rule(operator, tensors, output)
    except (AttributeError, IndexError):  # an operator without the operands it must have
        return None


_OperatorRule = Callable[[Operator, Sequence[Tensor | None], Tensor], int | None]


def _weights(tensor: Tensor | None) -> int:
    return tensor.elements if tensor else 0


def _axis(tensor: Tensor | None, axis: int) -> int:
    return (tensor.shape[axis] or 1) if tensor else 0


def _positions(tensor: Tensor | None) -> int:
    """How many places a channels-last tensor has, its batch included."""
    return tensor.elements // _axis(tensor, -1) if tensor else 0


def _op_convolution(operator: Operator, tensors: Sequence[Tensor | None], output: Tensor) -> int:
    """CONV_2D [out, h, w, in] and DEPTHWISE_CONV_2D [1, h, w, out]: each position, each weight."""
    del operator
    return _positions(output) * _weights(tensors[1])


def _op_transposed(operator: Operator, tensors: Sequence[Tensor | None], output: Tensor) -> int:
    del operator, output
    return _positions(tensors[2]) * _weights(tensors[1])


def _op_fully_connected(
    operator: Operator, tensors: Sequence[Tensor | None], output: Tensor
) -> int:
    del operator
    return output.elements * _axis(tensors[1], -1)


def _op_batch_product(operator: Operator, tensors: Sequence[Tensor | None], output: Tensor) -> int:
    transposed = operator.options is not None and operator.options.scalar(0, "b") != 0
    return output.elements * _axis(tensors[0], -2 if transposed else -1)


def _op_lstm(operator: Operator, tensors: Sequence[Tensor | None], output: Tensor) -> int:
    """Weights are inputs 1 to 8 (four gates, input and recurrent) and 16 (projection)."""
    del output
    directions = (1, 18) if operator.name.startswith("BIDIRECTIONAL") else (1,)
    used = [tensors[start : start + 8] for start in directions]
    projections = [tensors[start + 15 : start + 16] for start in directions]
    return _positions(tensors[0]) * sum(
        _weights(tensor) for group in (*used, *projections) for tensor in group
    )


def _while_macs(model: Model, operator: Operator, sums: dict[int, int | None]) -> int | None:
    if operator.options is None:
        return None
    condition, body = operator.options.scalar(0, "i"), operator.options.scalar(1, "i")
    if not (0 < condition < len(model.graphs) and 0 < body < len(model.graphs)):
        return None
    if body not in sums:
        graph_macs(model, body, sums)
    trips, once = _trips(model.graphs[condition]), sums[body]
    return None if trips is None or once is None else trips * once


def _trips(condition: Graph) -> int | None:
    bounds = [
        int(condition.tensors[index].data.view("<i4")[0])
        for operator in condition.operators
        if operator.name == "LESS"
        for index in operator.inputs[1:]
        if condition.tensors[index].dtype == "int32" and condition.tensors[index].data.size == 4
    ]
    return min(bounds, default=None)


_OPERATOR_RULES: dict[str, _OperatorRule] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"), _op_convolution),
    "TRANSPOSE_CONV": _op_transposed,
    "FULLY_CONNECTED": _op_fully_connected,
    "BATCH_MATMUL": _op_batch_product,
    **dict.fromkeys(("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"), _op_lstm),
}
