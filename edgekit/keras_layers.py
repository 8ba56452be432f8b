"""Lists what a model is made of: Keras layers, or the operations of a frozen graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras

from edgekit.layer_macs import layer_macs
from edgekit.types import Dimension, LayerInfo

_PLUMBING = frozenset({
    "Const", "Identity", "IdentityN", "NoOp", "Placeholder", "ReadVariableOp", "StopGradient",
})  # fmt: skip
_NO_RULE = frozenset({
    "BatchFunction", "Case", "Einsum", "FFT", "FFT2D", "If", "IRFFT", "PartitionedCall", "RFFT",
    "StatefulPartitionedCall", "StatelessIf", "StatelessWhile", "While",
})  # fmt: skip


def of_model(model: Any, prefix: str = "", seen: set[int] | None = None) -> Iterator[LayerInfo]:
    """The layers of a model in the order of computation, those of nested models as `outer/inner`.

    A layer that is called twice appears twice, with its parameters counted once.
    """
    known = set() if seen is None else seen
    graph = getattr(model, "_functional", None) or model
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            layer = node.operation
            if isinstance(layer, keras.Model) and _is_graph(layer):
                yield from of_model(layer, f"{prefix}{layer.name}/", known)
            elif not node.is_input:
                yield _layer(node, prefix, known)


def of_graph(graph: Any) -> Iterator[LayerInfo]:
    """The operations of a frozen TensorFlow graph that compute something."""
    for operation in graph.get_operations():
        if operation.type not in _PLUMBING:
            constants = [
                tensor for tensor in operation.inputs
                if tensor.op.type in ("Const", "Identity") and tensor.dtype.is_floating
                and _constant(tensor)
            ]  # fmt: skip
            yield LayerInfo(
                name=operation.name,
                kind=operation.type,
                output_shape=_shape(operation.outputs[0].shape) if operation.outputs else None,
                parameters=sum(_elements(tensor) or 0 for tensor in constants),
                macs=_operation_macs(operation),
                dtype=next(
                    (tensor.dtype.name for tensor in (*constants, *operation.outputs)), None
                ),
            )


def _is_graph(model: Any) -> bool:
    return hasattr(getattr(model, "_functional", None) or model, "_nodes_by_depth")


def _layer(node: Any, prefix: str, known: set[int]) -> LayerInfo:
    layer, outputs = node.operation, node.output_tensors
    weights = getattr(layer, "weights", [])
    largest = max(weights, key=lambda weight: math.prod(weight.shape), default=outputs[0])
    first = id(layer) not in known
    known.add(id(layer))
    return LayerInfo(
        name=prefix + layer.name,
        kind=type(layer).__name__,
        output_shape=_shape(outputs[0].shape),
        parameters=sum(math.prod(weight.shape) for weight in weights) if first else 0,
        macs=layer_macs(
            layer,
            [_shape(tensor.shape)[1:] for tensor in node.input_tensors],
            [_shape(tensor.shape)[1:] for tensor in outputs],
        ),
        dtype=str(largest.dtype),
    )


def _shape(shape: Any) -> tuple[Dimension, ...]:
    if getattr(shape, "rank", 0) is None:
        return ()
    return tuple(None if size is None else int(size) for size in shape)


def _constant(tensor: Any) -> bool:
    operation = tensor.op
    while operation.type == "Identity":
        operation = operation.inputs[0].op
    return bool(operation.type == "Const")


def _elements(tensor: Any) -> int | None:
    return None if tensor.shape.num_elements() is None else int(tensor.shape.num_elements())


def _operation_macs(operation: Any) -> int | None:
    """MACs of one operation over its batch, by the convention of `layer_macs`."""
    kind = operation.type
    if kind in _NO_RULE:
        return None
    if kind in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        return _convolution(operation, operation.outputs[0], operation.inputs[1])
    if kind in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):
        return _convolution(operation, operation.inputs[2], operation.inputs[1])
    if kind in ("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"):
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        left, outputs = operation.inputs[0].shape, _elements(operation.outputs[0])
        inner = left[-2 if transposed else -1] if left.rank else None
        return None if outputs is None or inner is None else outputs * int(inner)
    return 0


def _convolution(operation: Any, positions: Any, kernel: Any) -> int | None:
    channels = positions.shape[1 if operation.get_attr("data_format")[:2] == b"NC" else -1]
    places, weights = _elements(positions), _elements(kernel)
    return (
        None if not channels or places is None or weights is None else places // channels * weights
    )
