"""What is known of the activations that act on each value alone: their ranges over an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Activation:
    """A function that falls until `lowest` and rises after it; -inf: it rises everywhere."""

    function: Function
    lowest: float = -math.inf


def relu(max_value: float | None, negative_slope: float, threshold: float) -> Activation | None:
    """Keras' ReLU layer; None where it neither rises everywhere nor has one low point."""
    if negative_slope < 0 or threshold < 0 or (max_value is not None and max_value < threshold):
        return None

    def function(x: Array) -> Array:
        below = negative_slope * (x - threshold) if negative_slope else np.zeros_like(x)
        y = np.where(x >= threshold, x, below)
        return y if max_value is None else np.minimum(y, max_value)

    return Activation(function)


def elu(alpha: float) -> Activation | None:
    """Alpha · (eˣ - 1) below zero, x above."""
    if alpha < 0:
        return None
    return Activation(lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


def named(value: Any) -> Activation | None:
    """The activation of a layer's config by its name; None if it is not known to be elementwise."""
    return _TABLE.get(value) if value is None or isinstance(value, str) else None


def over(activation: Activation, low: Array, high: Array) -> tuple[Array, Array]:
    """The range of the function over intervals, end points included."""
    ends = activation.function(low), activation.function(high)
    least, most = np.minimum(*ends), np.maximum(*ends)
    inside = (low < activation.lowest) & (activation.lowest < high)
    if inside.any():
        bottom = activation.function(np.asarray([activation.lowest]))
        least = np.where(inside, bottom, least)
    return least, most


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gated(gate: Function) -> Function:
    """X · gate(x), with the gate's limit of zero at -inf."""

    def function(x: Array) -> Array:
        finite = np.where(np.isneginf(x), 0.0, x)
        return np.where(np.isneginf(x), 0.0, finite * gate(x))

    return function


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


_normal = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0)), otypes=[float])
_relu, _elu = relu(None, 0.0, 0.0), elu(1.0)
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_TABLE: dict[Any, Activation | None] = {
    None: Activation(lambda x: x),
    "linear": Activation(lambda x: x),
    "relu": _relu,
    "relu6": relu(6.0, 0.0, 0.0),
    "leaky_relu": relu(None, 0.2, 0.0),
    "elu": _elu,
    "selu": Activation(
        lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))
    ),
    "sigmoid": Activation(_sigmoid),
    "tanh": Activation(np.tanh),
    "softplus": Activation(_softplus),
    "softsign": Activation(lambda x: np.where(np.isinf(x), np.sign(x), _softsign(x))),
    "exponential": Activation(lambda x: np.exp(np.minimum(x, 700.0))),
    "hard_sigmoid": Activation(lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0)),
    "hard_tanh": Activation(lambda x: np.clip(x, -1.0, 1.0)),
    "silu": Activation(_gated(_sigmoid), -1.2784645427610738),
    "swish": Activation(_gated(_sigmoid), -1.2784645427610738),
    "hard_silu": Activation(_gated(lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0)), -1.5),
    "hard_swish": Activation(_gated(lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0)), -1.5),
    "gelu": Activation(_gated(_normal), -0.7517915246935645),
    "mish": Activation(_gated(lambda x: np.tanh(_softplus(x))), -1.1924312145154512),
}
"""By the names in Keras 3's configs."""


def _softsign(x: Array) -> Array:
    finite = np.where(np.isinf(x), 0.0, x)
    return finite / (1.0 + np.abs(finite))
