"""The integers that stand for real factors and ranges in TFLite's quantized arithmetic.

Source: TFLite's 8-bit quantization specification and the results of its reference kernels, with
which every operator here is compared bit by bit.
"""

from __future__ import annotations

import math

import numpy as np

from edgekit.converters.c_types import Operation
from edgekit.errors import ConversionError
from edgekit.tflite_file import Tensor

INT8_LOW, INT8_HIGH = -128, 127
MAX_SHIFT = 30
NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
"""Fused activations, as the file numbers them."""


def multiplier(real: float) -> tuple[int, int]:
    """A factor as m · 2^(shift − 31), m in [2^30, 2^31); (0, 0) for one that is next to none.

    Raises:
        ConversionError: It is too large, or negative.
    """
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = round_half_away(fraction * (1 << 31))
    if fixed == 1 << 31:
        fixed, shift = fixed // 2, shift + 1
    if shift > MAX_SHIFT or fixed < 0:
        raise ConversionError(
            f"the model's scales ask for a factor of {real:g}, which int8 arithmetic does not have",
            "quantize the model again",
        )
    return (0, 0) if shift < -31 else (fixed, shift)


def round_half_away(value: float) -> int:
    """To the nearest integer, ties away from zero, as C's `round`."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def scale(tensor: Tensor) -> float:
    """The one scale of a tensor."""
    return float(tensor.scales[0])


def zero_point(tensor: Tensor) -> int:
    """The zero point of a tensor with one scale."""
    return int(tensor.zero_points[0]) if tensor.zero_points.size else 0


def same_quantization(one: Tensor, other: Tensor) -> bool:
    """Whether equal integers mean equal numbers."""
    return scale(one) == scale(other) and zero_point(one) == zero_point(other)


def limits(activation: int, output: Tensor, operation: Operation) -> tuple[int, int]:
    """The range that a fused activation leaves to an int8 output.

    Raises:
        ConversionError: The activation is none that a clamp can be.
    """
    ends: dict[int, tuple[float, float]] = {
        NONE: (-math.inf, math.inf), RELU: (0.0, math.inf), RELU_N1_TO_1: (-1.0, 1.0),
        RELU6: (0.0, 6.0),
    }  # fmt: skip
    if activation not in ends:
        raise ConversionError(
            f"layer '{operation.layer}' ({operation.operator.name}) has the fused activation number"
            f" {activation}; --emit c has ReLU, ReLU6 and ReLU-1",
            "use --emit c-array, or another activation in the model",
        )
    low, high = (_quantized(end, output) for end in ends[activation])
    return max(low, INT8_LOW), min(high, INT8_HIGH)


def _quantized(value: float, tensor: Tensor) -> int:
    if math.isinf(value):
        return INT8_HIGH if value > 0 else INT8_LOW
    return zero_point(tensor) + round_half_away(
        float(np.float32(value) / np.float32(scale(tensor)))
    )
