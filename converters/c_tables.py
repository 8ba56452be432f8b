"""Operators of one value in C, as tables: LOGISTIC, RELU and its kin, QUANTIZE; and SOFTMAX."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgekit.converters import c_fixed_point, c_quantities, c_text
from edgekit.converters.c_operands import real_option, refuse, shape
from edgekit.converters.c_types import Emitted, Operation

MAX_SOFTMAX_DEPTH = 4095
"""Above it, the sum of exponentials leaves 32 bits in the reference kernel too."""
_ACTIVATIONS = {
    "RELU": c_quantities.RELU,
    "RELU6": c_quantities.RELU6,
}


def logistic(op: Operation) -> Emitted:
    """1 / (1 + e^−x), whose output has scale 1/256 and zero point −128."""
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no logistic without input"
    if (c_quantities.scale(y), c_quantities.zero_point(y)) != (1 / 256, -128):
        refuse(op, "has an output whose scale is not 1/256 with zero point -128")
    return _lookup(op, c_fixed_point.logistics(c_quantities.scale(x), c_quantities.zero_point(x)))


def relu(op: Operation) -> Emitted:
    """ReLU or ReLU6, which may change scale and zero point."""
    y = op.outputs[0]
    low, high = c_quantities.limits(_ACTIVATIONS[op.operator.name], y, op)
    return _lookup(op, np.clip(_requantized(op), low, high).astype(np.int8))


def quantize(op: Operation) -> Emitted:
    """Another scale and zero point for the same numbers."""
    return _lookup(op, np.clip(_requantized(op), -128, 127).astype(np.int8))


def softmax(op: Operation) -> Emitted:
    """Softmax over the last axis, whose output has scale 1/256 and zero point −128."""
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no softmax without input"
    if (c_quantities.scale(y), c_quantities.zero_point(y)) != (1 / 256, -128):
        refuse(op, "has an output whose scale is not 1/256 with zero point -128")
    *rows, depth = shape(x)
    if depth > MAX_SOFTMAX_DEPTH:
        refuse(op, f"has {depth} classes; at most {MAX_SOFTMAX_DEPTH} are possible")
    table = c_fixed_point.exponentials(c_quantities.scale(x), real_option(op, 0))
    name = f"{op.label}_exponentials"
    members: dict[str, int | str] = {"rows": math.prod(rows), "depth": depth, "exponentials": name}
    constants = (
        c_text.array(name, table, "int32"),
        c_text.structure("softmax_layer", f"{op.label}_layer", members),
    )
    call = f"softmax(&{op.label}_layer, {op.sources[0]}, {op.target});"
    return Emitted(("softmax",), constants, (call,))


def _requantized(op: Operation) -> NDArray[np.int64]:
    """What −128 to 127 become in the output's scale, before anything is clamped."""
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no operator without input"
    factor, shift = c_quantities.multiplier(c_quantities.scale(x) / c_quantities.scale(y))
    start = c_quantities.zero_point(x)
    values = [
        c_fixed_point.rescale(value - start, factor, shift) + c_quantities.zero_point(y)
        for value in range(-128, 128)
    ]
    return np.array(values, np.int64)


def _lookup(op: Operation, table: NDArray[np.int8]) -> Emitted:
    name = f"{op.label}_table"
    call = f"lookup({name}, {op.outputs[0].elements}, {op.sources[0]}, {op.target});"
    return Emitted(("lookup",), (c_text.array(name, table, "int8"),), (call,))
