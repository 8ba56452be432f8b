"""What a model's outputs are: probabilities, independent probabilities, or plain values."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["probabilities", "independent", "values"]
"""Rows that sum to 1; numbers between 0 and 1 each by itself; anything, logits among them."""

_BY_ACTIVATION: dict[str, Kind] = {
    "softmax": "probabilities", "sigmoid": "independent", "hard_sigmoid": "independent",
}  # fmt: skip
_TRANSPARENT = frozenset({
    "Reshape", "Flatten", "Dropout", "Permute", "RepeatVector", "Identity", "ZeroPadding2D",
    "Cropping2D",
})  # fmt: skip
"""Layers behind which the numbers are the same ones, in another shape."""

_LINEAR = frozenset({
    "Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose",
    "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D",
    "LSTM", "GRU", "SimpleRNN",
})  # fmt: skip
_SUM_TOLERANCE = 1e-3


def from_layers(model: Any, number: int = 0) -> tuple[Kind, str] | None:
    """The kind of an output by the layer that it comes from, and that layer in words.

    Args:
        model: A Keras model with fixed inputs.
        number: Of the output.

    Returns:
        None where the layers do not tell.
    """
    tensor = model.outputs[number]
    while True:
        operation = tensor._keras_history.operation
        kind = type(operation).__name__
        if isinstance(getattr(operation, "outputs", None), list) and hasattr(operation, "layers"):
            return from_layers(operation, tensor._keras_history.tensor_index)
        name = _activation(operation, kind)
        if name in _BY_ACTIVATION:
            return _BY_ACTIVATION[name], f"'{operation.name}' ends in {name}"
        if kind in _LINEAR and name == "linear":
            return "values", f"'{operation.name}' ends in no activation"
        passes = kind in _TRANSPARENT or (kind == "Activation" and name == "linear")
        before = operation._inbound_nodes[tensor._keras_history.node_index].input_tensors
        if not passes or len(before) != 1:
            return None
        tensor = before[0]


def from_numbers(output: NDArray[Any]) -> tuple[Kind, str]:
    """The kind of an output by its values on real samples, [n, …]."""
    rows = np.asarray(output, dtype=np.float64)
    where = f"on {len(rows)} samples"
    inside = bool((rows >= 0).all() and (rows <= 1 + _SUM_TOLERANCE).all())
    vectors = rows.ndim > 1 and rows.shape[-1] > 1
    if inside and vectors and np.abs(rows.sum(axis=-1) - 1).max() < _SUM_TOLERANCE:
        return "probabilities", f"its rows sum to 1 {where}"
    if inside and np.ptp(rows) > 0:
        return "independent", f"it stays between 0 and 1 {where}"
    return "values", f"it leaves 0…1 {where}"


def _activation(operation: Any, kind: str) -> str | None:
    if kind == "Softmax":
        axis = getattr(operation, "axis", -1)
        return "softmax" if axis in (-1, None) else None
    if kind == "Sigmoid":
        return "sigmoid"
    if kind in {"LSTM", "GRU", "SimpleRNN"}:
        return "linear"  # its activation bounds the state; it makes no probabilities
    if kind == "Activation" or kind in _LINEAR:
        return str(getattr(operation.activation, "__name__", ""))
    return None
