"""Per-channel bounds of every tensor, from the weights alone: sound interval arithmetic.

A channel whose two bounds are equal is constant at every position for every input. Bounds hold
for the float32 computation, not only for the exact one: a rounding term is added wherever terms of
both signs meet (Higham, Accuracy and Stability of Numerical Algorithms, §3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import activations, kernels
from edgekit.compression.graph import Call, Graph, Layer, Tensor, inputs_of

Array = NDArray[Any]

ROUNDING = 2.0**-23
"""Twice float32's unit roundoff, for each operation of a sum."""
BLOCK = 1 << 22
"""Weights looked at together: what is computed beside them takes 64 bytes each."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`low` and `high` per channel (last axis), float64; NaN never occurs."""

    low: Array
    high: Array

    @property
    def constant(self) -> Array:
        """Which channels have one value only."""
        return np.asarray(self.low == self.high)


def of_graph(graph: Graph, input_limit: float) -> dict[Tensor, Bounds]:
    """Bounds of every tensor that has a channel axis of known size.

    Args:
        graph: The model.
        input_limit: Largest magnitude an input value can have; `math.inf` assumes nothing.
    """
    found: dict[Tensor, Bounds] = {}
    for number, call in graph.calls.items():
        layer = graph.layers[call.layer]
        sizes = [channels(shape) for shape in call.shapes]
        if layer.kind == "InputLayer":
            result: Bounds | None = _everything(sizes[0], input_limit)
        elif len(sizes) == 1:
            given = [found[tensor] for tensor in inputs_of(call)]
            result = _RULES.get(layer.kind, _unknown)(layer, call, given)
        else:
            result = None
        for index, size in enumerate(sizes):
            fits = result is not None and result.low.shape == (size,)
            known = result if fits and result is not None else _everything(size)
            found[Tensor(number, index)] = known
    return found


def channels(shape: Sequence[int | None]) -> int:
    """Size of the last axis where it is a channel axis of known size, else 0."""
    last = shape[-1] if len(shape) >= 2 else None
    return int(last) if last is not None else 0


def _everything(size: int, limit: float = math.inf) -> Bounds:
    return Bounds(np.full(size, -limit), np.full(size, limit))


def _unknown(layer: Layer, call: Call, given: Sequence[Bounds]) -> None:
    return None


def _with_zero(given: Bounds) -> Bounds:
    return Bounds(np.minimum(given.low, 0.0), np.maximum(given.high, 0.0))


def _activated(value: Any, given: Bounds) -> Bounds | None:
    activation = activations.named(value)
    if activation is None:
        return _softmax_like(value, given)
    return Bounds(*activations.over(activation, given.low, given.high))


def _softmax_like(value: Any, given: Bounds) -> Bounds | None:
    if value != "softmax":
        return None
    return Bounds(np.zeros_like(given.low), np.ones_like(given.high))


def _times(weights: Array, ends: Array) -> Array:
    """Products where zero times infinity is zero."""
    return np.multiply(weights, ends, out=np.zeros(weights.shape), where=weights != 0)


def _upper(terms: Array, bias: Array, count: int) -> Array:
    """Largest float32 sum over axis 0 of at most these terms, plus the bias."""
    positive = np.maximum(terms, 0.0).sum(axis=0) + np.maximum(bias, 0.0)
    negative = np.minimum(terms, 0.0).sum(axis=0) + np.minimum(bias, 0.0)
    both = (positive > 0) & (negative < 0)
    slack = np.where(both, count * ROUNDING * (positive - negative), 0.0)
    total = np.where(np.isposinf(positive), np.inf, positive + negative + slack)
    return np.asarray(total)


def _linear(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    if not kernels.is_plain(layer) or len(given) != 1:
        return None
    source = _with_zero(given[0]) if kernels.sees_borders(layer) else given[0]
    mapped = kernels.linear(layer)
    outputs = mapped.taps.shape[-1]
    step = max(1, BLOCK * outputs // max(1, mapped.taps.size))
    parts = []
    for start in range(0, outputs, step):
        block = slice(start, start + step)
        rows = mapped.taps[..., block].astype(np.float64)
        parts.append(_sum_bounds(rows, mapped.bias[block], source.low[:, None], source.high[:, None]))
    low, high = (np.concatenate(side) for side in zip(*parts, strict=True))
    return _activated(layer.config["activation"], Bounds(low, high))


def _depthwise(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    if not kernels.is_plain(layer):
        return None
    source = _with_zero(given[0]) if kernels.sees_borders(layer) else given[0]
    kernel = layer.weights[0].astype(np.float64)
    outputs, multiplier = math.prod(kernel.shape[-2:]), kernel.shape[-1]
    bias = layer.weights[1].astype(np.float64) if layer.config["use_bias"] else np.zeros(outputs)
    ends = [np.repeat(end, multiplier)[None, :] for end in (source.low, source.high)]
    low, high = _sum_bounds(kernel.reshape(-1, 1, outputs), bias, *ends)
    return _activated(layer.config["activation"], Bounds(low, high))


def _sum_bounds(rows: Array, bias: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds of bias + Σ rows · x, exact where x is constant wherever a weight is not zero.

    Args:
        rows: (taps, inputs, outputs).
        bias: (outputs,).
        low: Lower ends of the inputs, broadcast to (inputs, outputs).
        high: Upper ends.
    """
    above, below = np.maximum(rows, 0.0).sum(axis=0), np.minimum(rows, 0.0).sum(axis=0)
    count = rows.shape[0] * rows.shape[1] + 2
    low, high = np.broadcast_to(low, above.shape), np.broadcast_to(high, above.shape)
    upper = _upper(np.concatenate([_times(above, high), _times(below, low)]), bias, count)
    lower = -_upper(-np.concatenate([_times(above, low), _times(below, high)]), -bias, count)
    still = ~((above - below > 0) & (low != high)).any(axis=0)
    exact = bias + _times(above + below, np.where(low == high, low, 0.0)).sum(axis=0)
    return np.where(still, exact, lower), np.where(still, exact, upper)


def scale_and_offset(layer: Layer) -> tuple[Array, Array]:
    """BatchNormalization at inference as y = x · scale + offset, in float64."""
    values = iter(weight.astype(np.float64) for weight in layer.weights)
    gamma = next(values) if layer.config["scale"] else 1.0
    beta = next(values) if layer.config["center"] else 0.0
    mean, variance = values
    scale = gamma / np.sqrt(variance + layer.config["epsilon"])
    return scale, beta - mean * scale


def normalizes_channels(layer: Layer, rank: int) -> bool:
    """Whether a BatchNormalization works on the last axis, with plain float weights."""
    axis = layer.config["axis"]
    axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    return axis in (-1, rank - 1) and len(layer.weights) == 2 + bool(
        layer.config["scale"]
    ) + bool(layer.config["center"])


def _batch_norm(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    if not normalizes_channels(layer, len(call.shapes[0])):
        return None
    scale, offset = scale_and_offset(layer)
    mean = layer.weights[-2].astype(np.float64)
    low, high = given[0].low, given[0].high
    ends = np.stack([_times(scale, low), _times(scale, high)])
    still = (scale == 0) | (low == high)
    # float32 has the offset as beta - mean · scale, rounded at the size of its larger part
    slack = 4 * ROUNDING * (np.abs(offset) + 2 * np.abs(mean * scale))
    exact = offset + np.where(np.isfinite(low), _times(scale, np.where(still, low, 0.0)), 0.0)
    least = ends.min(axis=0) + offset
    most = ends.max(axis=0) + offset
    slack = np.where((mean == 0) & ((ends.max(axis=0) <= 0) | (offset == 0)), 0.0, slack)
    return Bounds(np.where(still, exact, least - slack), np.where(still, exact, most + slack))


def _same(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds:
    return given[0]


def _padded(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds:
    return _with_zero(given[0])


def _activation(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    return _activated(layer.config["activation"], given[0])


def _relu(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    return _by(layer_activation(layer), given)


def _by(activation: activations.Activation | None, given: Sequence[Bounds]) -> Bounds | None:
    if activation is None:
        return None
    return Bounds(*activations.over(activation, given[0].low, given[0].high))


def layer_activation(layer: Layer) -> activations.Activation | None:
    """The function of an activation layer; None if it is not known to act on each value alone."""
    config = layer.config
    if layer.kind == "Activation":
        return activations.named(config["activation"])
    if layer.kind == "ReLU":
        return activations.relu(config["max_value"], config["negative_slope"], config["threshold"])
    if layer.kind == "LeakyReLU":
        return activations.relu(None, config["negative_slope"], 0.0)
    return activations.elu(config["alpha"]) if layer.kind == "ELU" else None


def _prelu(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds:
    positive = given[0].low >= 0
    return Bounds(
        np.where(positive, given[0].low, -np.inf), np.where(positive, given[0].high, np.inf)
    )


def _upsampling(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    overshoots = layer.config.get("interpolation", "nearest") not in ("nearest", "bilinear")
    return None if overshoots else given[0]


def _rescaling(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    scale, offset = layer.config["scale"], layer.config["offset"]
    if not all(isinstance(value, (int, float)) for value in (scale, offset)) or scale == 0:
        return None
    ends = np.stack([given[0].low * scale, given[0].high * scale])
    slack = np.nan_to_num(4 * ROUNDING * (np.abs(ends).max(axis=0) + abs(offset)), posinf=0.0)
    return Bounds(ends.min(axis=0) + offset - slack, ends.max(axis=0) + offset + slack)


def _concatenate(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds:
    if layer.config["axis"] in (-1, len(call.shapes[0]) - 1):
        return Bounds(*(np.concatenate([getattr(one, side) for one in given])
                        for side in ("low", "high")))  # fmt: skip
    return Bounds(
        np.min([one.low for one in given], axis=0), np.max([one.high for one in given], axis=0)
    )


def _merge(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    if len({len(one.low) for one in given} - {1}) > 1:
        return None
    low, high = given[0].low, given[0].high
    for other in given[1:]:
        low, high = _PAIRS[layer.kind](low, high, other.low, other.high)
    if layer.kind == "Average":
        low, high = low / len(given), high / len(given)
    return Bounds(low, high)


def _sum(low: Array, high: Array, other_low: Array, other_high: Array) -> tuple[Array, Array]:
    return low + other_low, high + other_high


def _product(low: Array, high: Array, other_low: Array, other_high: Array) -> tuple[Array, Array]:
    shape = np.broadcast_shapes(low.shape, other_low.shape)
    corners = [
        _times(np.broadcast_to(np.where(b == 0, 0.0, a), shape),
               np.broadcast_to(b, shape))
        for a in (low, high) for b in (other_low, other_high)
    ]  # fmt: skip
    return np.min(corners, axis=0), np.max(corners, axis=0)


_PAIRS: dict[str, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = {
    "Add": _sum,
    "Average": _sum,
    "Subtract": lambda a, b, c, d: (a - d, b - c),
    "Multiply": _product,
    "Maximum": lambda a, b, c, d: (np.maximum(a, c), np.maximum(b, d)),
    "Minimum": lambda a, b, c, d: (np.minimum(a, c), np.minimum(b, d)),
}


def _flatten(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    size, known = channels(call.shapes[0]), len(given[0].low)
    if not size or not known or size % known or layer.config.get("data_format") == "channels_first":
        return None
    return Bounds(np.tile(given[0].low, size // known), np.tile(given[0].high, size // known))


def _softmax(layer: Layer, call: Call, given: Sequence[Bounds]) -> Bounds | None:
    return _softmax_like("softmax", given[0])


Rule = Callable[[Layer, Call, Sequence[Bounds]], Bounds | None]

POOLING = frozenset(
    f"{scope}{what}Pooling{axes}D"
    for scope in ("", "Global") for what in ("Max", "Average") for axes in (1, 2, 3)
)  # fmt: skip
NOISE = frozenset({
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
})  # fmt: skip
"""Layers that do something in training only."""
CROPPING = frozenset({"Cropping1D", "Cropping2D", "Cropping3D"})
PADDING = frozenset({"ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"})
UPSAMPLING = frozenset({"UpSampling1D", "UpSampling2D", "UpSampling3D"})
MERGING = frozenset(_PAIRS)
ACTIVATIONS = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU"})

_RULES: dict[str, Rule] = {
    **dict.fromkeys(kernels.MIXING, _linear),
    **dict.fromkeys(kernels.DEPTHWISE, _depthwise),
    **dict.fromkeys(POOLING | NOISE | CROPPING | {"Identity"}, _same),
    **dict.fromkeys(PADDING, _padded),
    **dict.fromkeys(UPSAMPLING, _upsampling),
    **dict.fromkeys(ACTIVATIONS, _relu),
    **dict.fromkeys(MERGING, _merge),
    "Activation": _activation,
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Flatten": _flatten,
    "PReLU": _prelu,
    "Rescaling": _rescaling,
    "Reshape": _flatten,
    "Softmax": _softmax,
}
