"""RESHAPE, PAD and CONCATENATION in C: what moves values and computes nothing."""

from __future__ import annotations

import math

import numpy as np

from edgekit.converters import c_quantities, c_text
from edgekit.converters.c_operands import constant, four_axes, option, refuse, shape
from edgekit.converters.c_types import Emitted, Operation


def reshape(op: Operation) -> Emitted:
    """The same values in the same order: nothing, unless they have to lie somewhere else."""
    if op.sources[0] == op.target:
        return Emitted((), (), ())
    size = op.outputs[0].elements
    return Emitted((), (), (f"(void)memcpy({op.target}, {op.sources[0]}, {size}U);",))


def pad(op: Operation) -> Emitted:
    """A border of what stands for 0 (or, in PADV2, of a given value)."""
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "LiteRT loads no padding without input"
    kind = np.int64 if op.inputs[1] is not None and op.inputs[1].dtype == "int64" else np.int32
    before = constant(op, op.inputs[1], kind).reshape(-1, 2)[:, 0].tolist()
    value = c_quantities.zero_point(y)
    if len(op.inputs) > 2:
        value = int(constant(op, op.inputs[2], np.int8)[0])
    members: dict[str, int | tuple[int, ...]] = {
        "in_size": four_axes(op, shape(x)),
        "before": (*(0,) * (4 - len(before)), *before),
        "out_size": four_axes(op, shape(y)),
        "value": value,
    }
    layer = c_text.structure("pad_layer", f"{op.label}_layer", members)
    call = f"pad(&{op.label}_layer, {op.sources[0]}, {op.target});"
    return Emitted(("pad",), (layer,), (call,))


def concatenation(op: Operation) -> Emitted:
    """Several inputs behind each other along one axis."""
    y = op.outputs[0]
    sizes = shape(y)
    axis = option(op, 0, "i") % len(sizes)
    rows, out_step = math.prod(sizes[:axis]), math.prod(sizes[axis:])
    constants, statements, start = [], [], 0
    for number, (tensor, source) in enumerate(zip(op.inputs, op.sources, strict=True)):
        assert tensor is not None, "LiteRT loads no concatenation of nothing"
        if not c_quantities.same_quantization(tensor, y):
            refuse(op, "brings inputs of different scales together")
        name = source or f"{op.label}_{number}"
        if not source:
            constants.append(c_text.array(name, constant(op, tensor, np.int8), "int8"))
        row = math.prod(shape(tensor)[axis:])
        target = c_text.place(op.target, start)
        statements.append(f"copy_rows({rows}, {row}, {out_step}, {name}, {target});")
        start += row
    return Emitted(("concatenation",), tuple(constants), tuple(statements))
