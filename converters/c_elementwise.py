"""ADD and MUL in C, with either input repeated along an axis or constant."""

from __future__ import annotations

import numpy as np

from edgekit.converters import c_quantities, c_text
from edgekit.converters.c_operands import check_32_bits, constant, four_axes, option, refuse, shape
from edgekit.converters.c_types import Emitted, Operation
from edgekit.tflite_file import Tensor

ADD_HEADROOM_BITS = 20


def add(op: Operation) -> Emitted:
    """The sum of two tensors, each brought to twice the larger scale."""
    a, b, y = *_operands(op), op.outputs[0]
    larger = 2 * max(c_quantities.scale(a), c_quantities.scale(b))
    factors = {
        "a": c_quantities.scale(a) / larger,
        "b": c_quantities.scale(b) / larger,
        "out": larger / ((1 << ADD_HEADROOM_BITS) * c_quantities.scale(y)),
    }
    check_32_bits(op, 256 * larger / c_quantities.scale(y))
    members = _members(op, a, b)
    for key, factor in factors.items():
        members[f"{key}_multiplier"], members[f"{key}_shift"] = c_quantities.multiplier(factor)
    return _emitted("add", op, members)


def mul(op: Operation) -> Emitted:
    """The product of two tensors. The runtime computes its factor in single precision."""
    a, b, y = *_operands(op), op.outputs[0]
    factor = float(a.scales[0] * b.scales[0] / y.scales[0])
    check_32_bits(op, 255 * 255 * factor)
    members = _members(op, a, b)
    members["multiplier"], members["shift"] = c_quantities.multiplier(factor)
    return _emitted("mul", op, members)


def _operands(op: Operation) -> tuple[Tensor, Tensor]:
    a, b = op.inputs
    assert a is not None, "LiteRT loads no sum or product without inputs"
    assert b is not None, "likewise"
    return a, b


def _members(op: Operation, a: Tensor, b: Tensor) -> dict[str, int | str | tuple[int, ...]]:
    y = op.outputs[0]
    low, high = c_quantities.limits(option(op, 0), y, op)
    return {
        "shape": _broadcast(op, a, b),
        "a_offset": -c_quantities.zero_point(a),
        "b_offset": -c_quantities.zero_point(b),
        "out_offset": c_quantities.zero_point(y),
        "low": low,
        "high": high,
    }


def _broadcast(op: Operation, a: Tensor, b: Tensor) -> str:
    size: tuple[int, ...] = four_axes(op, shape(op.outputs[0]))
    steps: list[tuple[int, ...]]
    if shape(a) == shape(b):
        size = (1, 1, 1, op.outputs[0].elements)
        steps = [(0, 0, 0, 1)] * 2
    else:
        steps = [_steps(op, four_axes(op, shape(tensor)), size) for tensor in (a, b)]
    texts = [", ".join(map(str, entry)) for entry in (size, *steps)]
    return "{{" + "}, {".join(texts) + "}}"


def _steps(op: Operation, own: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """How far apart neighbours along each axis lie; 0 where the only one is repeated."""
    found, step = [], 1
    for have, wanted in zip(reversed(own), reversed(size), strict=True):
        if have not in (1, wanted):
            refuse(op, f"brings the shapes {own} and {size} together")
        found.append(step if have == wanted else 0)
        step *= have
    return tuple(reversed(found))


def _emitted(kind: str, op: Operation, members: dict[str, int | str | tuple[int, ...]]) -> Emitted:
    sources, constants = [], []
    for side, tensor, source in zip("ab", _operands(op), op.sources, strict=True):
        name = source or f"{op.label}_{side}"
        if not source:
            constants.append(c_text.array(name, constant(op, tensor, np.int8), "int8"))
        sources.append(name)
    constants.append(c_text.structure(f"{kind}_layer", f"{op.label}_layer", members))
    call = f"{kind}(&{op.label}_layer, {', '.join(sources)}, {op.target});"
    return Emitted((kind,), tuple(constants), (call,))
