"""Exponential and logistic function on integers, as LiteRT's reference kernels have them.

Numbers "with n integer bits" are 32-bit integers that stand for value · 2^(31 − n). These run when
C is generated; what the device gets is tables.

Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", https://arxiv.org/abs/1712.05877, and gemmlowp's fixed point.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgekit.converters import c_quantities

ONE = (1 << 31) - 1
SOFTMAX_INTEGER_BITS, LOGISTIC_INTEGER_BITS = 5, 4


def high_multiply(a: int, b: int) -> int:
    """The product a · b / 2^31 to nearest, ties upwards."""
    return (a * b + (1 << 30)) >> 31


def divide_by_power(value: int, exponent: int) -> int:
    """The quotient value / 2^exponent to nearest, ties away from zero."""
    half = (1 << exponent) >> 1
    return (abs(value) + half >> exponent) * (1 if value >= 0 else -1)


def rescale(value: int, factor: int, shift: int) -> int:
    """The product value · factor · 2^(shift − 31), rounded twice as TFLite does."""
    if shift > 0:
        return high_multiply(value << shift, factor)
    return divide_by_power(high_multiply(value, factor), -shift)


def exponential(value: int, integer_bits: int) -> int:
    """e^value for a value ≤ 0 with that many integer bits; the result has none."""
    if value == 0:
        return ONE
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    near = (value & (quarter - 1)) - quarter
    result = _exponential_near_zero(near << integer_bits)
    rest = near - value
    for power in range(-2, integer_bits):
        if rest >> (fraction_bits + power) & 1:
            result = high_multiply(result, _fixed(math.exp(-(2.0**power))))
    return result


def logistic(value: int) -> int:
    """1 / (1 + e^−value), value with LOGISTIC_INTEGER_BITS, the result with none."""
    if value == 0:
        return 1 << 30
    positive = reciprocal(exponential(-abs(value), LOGISTIC_INTEGER_BITS))
    return positive if value > 0 else ONE - positive


def reciprocal(value: int) -> int:
    """1 / (1 + value) for a value in 0 to 1, both without integer bits."""
    half = (value + ONE + 1) // 2
    guess = (48 * (1 << 29) * 2 // 17 + 1) // 2
    guess += high_multiply(half, -((32 * (1 << 29) * 2 // 17 + 1) // 2))
    for _ in range(3):
        rest = (1 << 29) - high_multiply(half, guess)
        guess += _saturated(high_multiply(guess, rest) << 2)
    return _saturated(guess << 1)


def exponentials(scale: float, beta: float) -> NDArray[np.int32]:
    """e^(−d · scale · beta) for d = 0 to 255, the differences in an int8 softmax."""
    fraction_bits = 31 - SOFTMAX_INTEGER_BITS
    real = min(scale * beta * (1 << fraction_bits), float((1 << 31) - 1))
    factor, shift = c_quantities.multiplier(real)
    largest = radius(SOFTMAX_INTEGER_BITS, shift)
    values = [
        exponential(rescale(-difference, factor, shift), SOFTMAX_INTEGER_BITS)
        if difference <= largest
        else 0
        for difference in range(256)
    ]
    return np.array(values, np.int32)


def logistics(scale: float, zero_point: int) -> NDArray[np.int8]:
    """The int8 logistic of −128 to 127; its output has scale 1/256 and zero point −128."""
    factor, shift = c_quantities.multiplier(scale * (1 << (31 - LOGISTIC_INTEGER_BITS)))
    largest = radius(LOGISTIC_INTEGER_BITS, shift)
    found = []
    for quantized in range(-128, 128):
        value = quantized - zero_point
        if abs(value) >= largest:
            found.append(127 if value > 0 else -128)
            continue
        whole = divide_by_power(logistic(rescale(value, factor, shift)), 23) - 128
        found.append(min(max(whole, -128), 127))
    return np.array(found, np.int8)


def radius(integer_bits: int, shift: int) -> int:
    """The largest difference that stays within `integer_bits` once it is shifted."""
    return math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**shift)


def _exponential_near_zero(value: int) -> int:
    """e^value for a value in −1/4 to 0, without integer bits: a series around −1/8."""
    x = value + (1 << 28)
    squared = high_multiply(x, x)
    cubed = high_multiply(squared, x)
    fourth = divide_by_power(high_multiply(squared, squared), 2)
    higher = divide_by_power(high_multiply(fourth + cubed, _fixed(1 / 3)) + squared, 1)
    start = _fixed(math.exp(-1 / 8))
    return start + high_multiply(start, x + higher)


def _fixed(value: float) -> int:
    return round(value * (1 << 31))


def _saturated(value: int) -> int:
    return min(max(value, -(1 << 31)), ONE)
