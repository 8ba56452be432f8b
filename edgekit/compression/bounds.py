"""Per-channel bounds of every tensor, from the weights alone: sound interval arithmetic.

A channel whose two bounds are equal is constant at every position for every input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import activations, kernels
from edgekit.compression.graph import Call, Graph, Layer, Tensor, inputs_of, is_plain
from edgekit.compression.layer_kinds import (
    ACTIVATIONS,
    CROPPING,
    MERGING,
    NOISE,
    PADDING,
    POOLING,
    UPSAMPLING,
)
from edgekit.compression.ranges import ROUNDING, Bounds, everything, sum_bounds, times, with_zero

Array = NDArray[Any]

BLOCK = 1 << 18
"""Weights looked at together: what is computed beside them takes 64 bytes each."""


class Use(NamedTuple):
    """A call, its layer, and the bounds of what it reads."""

    layer: Layer
    call: Call
    given: Sequence[Bounds]


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
            result: Bounds | None = everything(sizes[0], input_limit)
        elif len(sizes) == 1 and is_plain(call) and layer.kind in _RULES:
            given = [found[tensor] for tensor in inputs_of(call)]
            result = _RULES[layer.kind](Use(layer, call, given))
        else:
            result = None
        for index, size in enumerate(sizes):
            fits = result is not None and result.low.shape == (size,)
            known = result if fits and result is not None else everything(size)
            found[Tensor(number, index)] = known
    return found


def channels(shape: Sequence[int | None]) -> int:
    """Size of the last axis where it is a channel axis of known size, else 0."""
    last = shape[-1] if len(shape) >= 2 else None
    return int(last) if last is not None else 0


def _activated(value: Any, given: Bounds) -> Bounds | None:
    activation = activations.named(value)
    if activation is None:
        return _softmax_like(value, given)
    return Bounds(*activations.over(activation, given.low, given.high))


def _softmax_like(value: Any, given: Bounds) -> Bounds | None:
    if value != "softmax":
        return None
    return Bounds(np.zeros_like(given.low), np.ones_like(given.high))


def _linear(use: Use) -> Bounds | None:
    if not kernels.is_plain(use.layer) or len(use.given) != 1:
        return None
    source = with_zero(use.given[0]) if kernels.sees_borders(use.layer) else use.given[0]
    mapped = kernels.linear(use.layer)
    outputs = mapped.taps.shape[-1]
    step = max(1, BLOCK * outputs // max(1, mapped.taps.size))
    parts = []
    for start in range(0, outputs, step):
        block = slice(start, start + step)
        rows = mapped.taps[..., block].astype(np.float64)
        parts.append(
            sum_bounds(rows, mapped.bias[block], source.low[:, None], source.high[:, None])
        )
    low, high = (np.concatenate(side) for side in zip(*parts, strict=True))
    return _activated(use.layer.config["activation"], Bounds(low, high))


def _depthwise(use: Use) -> Bounds | None:
    if not kernels.is_plain(use.layer):
        return None
    source = with_zero(use.given[0]) if kernels.sees_borders(use.layer) else use.given[0]
    kernel = use.layer.weights[0].astype(np.float64)
    outputs, multiplier = math.prod(kernel.shape[-2:]), kernel.shape[-1]
    bias = (
        use.layer.weights[1].astype(np.float64)
        if use.layer.config["use_bias"]
        else np.zeros(outputs)
    )
    ends = [np.repeat(end, multiplier)[None, :] for end in (source.low, source.high)]
    low, high = sum_bounds(kernel.reshape(-1, 1, outputs), bias, *ends)
    return _activated(use.layer.config["activation"], Bounds(low, high))


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
    return axis in (-1, rank - 1) and len(layer.weights) == 2 + bool(layer.config["scale"]) + bool(
        layer.config["center"]
    )


def _batch_norm(use: Use) -> Bounds | None:
    if not normalizes_channels(use.layer, len(use.call.shapes[0])):
        return None
    scale, offset = scale_and_offset(use.layer)
    mean = use.layer.weights[-2].astype(np.float64)
    low, high = use.given[0].low, use.given[0].high
    ends = np.stack([times(scale, low), times(scale, high)])
    still = (scale == 0) | (low == high)
    # float32 has the offset as beta - mean · scale, rounded at the size of its larger part
    slack = 4 * ROUNDING * (np.abs(offset) + 2 * np.abs(mean * scale))
    exact = offset + np.where(np.isfinite(low), times(scale, np.where(still, low, 0.0)), 0.0)
    least = ends.min(axis=0) + offset
    most = ends.max(axis=0) + offset
    slack = np.where((mean == 0) & ((ends.max(axis=0) <= 0) | (offset == 0)), 0.0, slack)
    return Bounds(np.where(still, exact, least - slack), np.where(still, exact, most + slack))


def _same(use: Use) -> Bounds:
    return use.given[0]


def _padded(use: Use) -> Bounds:
    return with_zero(use.given[0])


def _activation(use: Use) -> Bounds | None:
    return _activated(use.layer.config["activation"], use.given[0])


def _relu(use: Use) -> Bounds | None:
    return _by(layer_activation(use.layer), use.given)


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


def _prelu(use: Use) -> Bounds:
    positive = use.given[0].low >= 0
    return Bounds(
        np.where(positive, use.given[0].low, -np.inf), np.where(positive, use.given[0].high, np.inf)
    )


def _upsampling(use: Use) -> Bounds | None:
    overshoots = use.layer.config.get("interpolation", "nearest") not in ("nearest", "bilinear")
    return None if overshoots else use.given[0]


def _rescaling(use: Use) -> Bounds | None:
    scale, offset = use.layer.config["scale"], use.layer.config["offset"]
    if not all(isinstance(value, (int, float)) for value in (scale, offset)) or scale == 0:
        return None
    ends = np.stack([use.given[0].low * scale, use.given[0].high * scale])
    slack = np.nan_to_num(4 * ROUNDING * (np.abs(ends).max(axis=0) + abs(offset)), posinf=0.0)
    return Bounds(ends.min(axis=0) + offset - slack, ends.max(axis=0) + offset + slack)


def _concatenate(use: Use) -> Bounds | None:
    lows, highs = [one.low for one in use.given], [one.high for one in use.given]
    if use.layer.config["axis"] in (-1, len(use.call.shapes[0]) - 1):
        return Bounds(np.concatenate(lows), np.concatenate(highs))
    if len({len(low) for low in lows}) > 1:
        return None
    return Bounds(np.min(lows, axis=0), np.max(highs, axis=0))


def _merge(use: Use) -> Bounds | None:
    if len({len(one.low) for one in use.given} - {1}) > 1:
        return None
    low, high = use.given[0].low, use.given[0].high
    for other in use.given[1:]:
        low, high = _PAIRS[use.layer.kind](low, high, other.low, other.high)
    if use.layer.kind == "Average":
        low, high = low / len(use.given), high / len(use.given)
    return Bounds(low, high)


def _sum(low: Array, high: Array, other_low: Array, other_high: Array) -> tuple[Array, Array]:
    return low + other_low, high + other_high


def _product(low: Array, high: Array, other_low: Array, other_high: Array) -> tuple[Array, Array]:
    shape = np.broadcast_shapes(low.shape, other_low.shape)
    corners = [
        times(np.broadcast_to(np.where(b == 0, 0.0, a), shape),
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


def _flatten(use: Use) -> Bounds | None:
    size, known = channels(use.call.shapes[0]), len(use.given[0].low)
    if (
        not size
        or not known
        or size % known
        or use.layer.config.get("data_format") == "channels_first"
    ):
        return None
    return Bounds(
        np.tile(use.given[0].low, size // known), np.tile(use.given[0].high, size // known)
    )


def _softmax(use: Use) -> Bounds | None:
    return _softmax_like("softmax", use.given[0])


Rule = Callable[[Use], Bounds | None]

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
