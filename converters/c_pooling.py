"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN in C."""

from __future__ import annotations

import math

import numpy as np

from edgekit.converters import c_quantities, c_text, c_windows
from edgekit.converters.c_operands import check_32_bits, constant, option, refuse, shape
from edgekit.converters.c_types import Emitted, Operation

POOL_WIDTH, POOL_HEIGHT, POOL_ACTIVATION = 3, 4, 5
"""Where a pooling operator's options hold these."""


def average_pool_2d(op: Operation) -> Emitted:
    """The rounded average of a window; outside the image nothing is counted."""
    return _pool("average_pool_2d", op)


def max_pool_2d(op: Operation) -> Emitted:
    """The largest value of a window."""
    return _pool("max_pool_2d", op)


def mean(op: Operation) -> Emitted:
    """The average over neighbouring axes."""
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no mean without input"
    sizes = shape(x)
    outer, count, inner = _split(op, sizes)
    check_32_bits(op, 255.0 * count)
    check_32_bits(op, 255 * _ratio(op))
    factor, shift = _divided(*c_quantities.multiplier(_ratio(op)), count)
    layer = c_text.structure(
        "mean_layer",
        f"{op.label}_layer",
        {
            "outer": outer,
            "count": count,
            "inner": inner,
            "sum_offset": -count * c_quantities.zero_point(x),
            "out_offset": c_quantities.zero_point(y),
            "multiplier": factor,
            "shift": shift,
        },
    )
    return Emitted(
        ("mean",), (layer,), (f"mean(&{op.label}_layer, {op.sources[0]}, {op.target});",)
    )


def _pool(kind: str, op: Operation) -> Emitted:
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no pooling without input"
    if not c_quantities.same_quantization(x, y):
        refuse(op, "changes the scale or zero point")
    height, width = option(op, POOL_HEIGHT, "i"), option(op, POOL_WIDTH, "i")
    image = c_windows.image_members(op, x, y)
    image["channels"] = image.pop("in_channels")
    low, high = c_quantities.limits(option(op, POOL_ACTIVATION), y, op)
    members = {
        **image,
        **c_windows.window_members(op, height, width, dilation=None),
        "low": low,
        "high": high,
    }
    layer = c_text.structure("pool_2d_layer", f"{op.label}_layer", members)
    call = f"{kind}(&{op.label}_layer, {op.sources[0]}, {op.target});"
    return Emitted((kind,), (layer,), (call,))


def _split(op: Operation, sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """How many values lie before, in and after the averaged axes."""
    given = constant(op, op.inputs[1], np.int32).tolist()
    axes = sorted({axis % len(sizes) for axis in given})
    averaged = [axis for axis in range(len(sizes)) if axis in axes or sizes[axis] == 1]
    wide = [axis for axis in averaged if sizes[axis] > 1]
    if not wide:
        return math.prod(sizes), 1, 1
    first, last = wide[0], wide[-1]
    if any(axis not in averaged for axis in range(first, last + 1)):
        refuse(op, f"averages the axes {axes} of {sizes}, which are not neighbours")
    cuts = sizes[:first], sizes[first : last + 1], sizes[last + 1 :]
    outer, count, inner = map(math.prod, cuts)
    return outer, count, inner


def _ratio(op: Operation) -> float:
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "checked by the caller"
    return c_quantities.scale(x) / c_quantities.scale(y)


def _divided(factor: int, shift: int, count: int) -> tuple[int, int]:
    """A multiplier that also divides by a count, kept as precise as 31 bits allow."""
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (factor << more) // count, shift - more
