"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED in C."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.converters import c_quantities, c_text, c_windows
from edgekit.converters.c_operands import check_32_bits, constant, option, refuse, shape
from edgekit.converters.c_types import Emitted, Operation
from edgekit.tflite_file import Tensor

CONV_ACTIVATION, DEPTHWISE_ACTIVATION, DENSE_ACTIVATION = 3, 4, 0
"""Where the options of each operator hold the fused activation."""


def conv_2d(op: Operation) -> Emitted:
    """A convolution, grouped or not. Weights are [out, height, width, in / groups]."""
    x, y, weights = op.inputs[0], op.outputs[0], _weights(op)
    assert x is not None, "LiteRT loads no convolution without input"
    channels, height, width, group_channels = shape(weights)
    if shape(x)[-1] % group_channels or channels % (shape(x)[-1] // group_channels):
        refuse(op, f"has {shape(x)[-1]} input channels in groups of {group_channels}")
    members = {
        **c_windows.image_members(op, x, y),
        "out_channels": channels,
        **c_windows.window_members(op, height, width, dilation=(4, 5)),
        "group_channels": group_channels,
        **_arithmetic(op, x, y, CONV_ACTIVATION),
    }
    return _emitted("conv_2d", op, members, channels)


def depthwise_conv_2d(op: Operation) -> Emitted:
    """A depthwise convolution. Weights are [1, height, width, in · multiplier]."""
    x, y, weights = op.inputs[0], op.outputs[0], _weights(op)
    assert x is not None, "LiteRT loads no convolution without input"
    _, height, width, channels = shape(weights)
    members = {
        **c_windows.image_members(op, x, y),
        "depth_multiplier": channels // shape(x)[-1],
        **c_windows.window_members(op, height, width, dilation=(5, 6)),
        **_arithmetic(op, x, y, DEPTHWISE_ACTIVATION),
    }
    return _emitted("depthwise_conv_2d", op, members, channels)


def fully_connected(op: Operation) -> Emitted:
    """A dense layer. Weights are [out, in]; every leading axis of the input is a row."""
    x, y, weights = op.inputs[0], op.outputs[0], _weights(op)
    assert x is not None, "LiteRT loads no dense layer without input"
    if option(op, 1):
        refuse(op, "has shuffled weights")
    out_size, in_size = shape(weights)
    per_channel = weights.scales.size > 1
    members: dict[str, int | str] = {
        "rows": x.elements // in_size,
        "in_size": in_size,
        "out_size": out_size,
        **_arithmetic(op, x, y, DENSE_ACTIVATION),
        "per_channel": int(per_channel),
    }
    return _emitted("fully_connected", op, members, out_size, shared=not per_channel)


def _emitted(
    kind: str,
    op: Operation,
    members: dict[str, int | str],
    channels: int,
    *,
    shared: bool = False,
) -> Emitted:
    """The layer's structure and constants; `shared`: one multiplier for all channels."""
    weights = _weights(op)
    _check_sums(op, channels)
    factors, shifts = _multipliers(op, 1 if shared else channels, exact=not shared)
    names = {key: f"{op.label}_{key}" for key in ("weights", "bias", "multiplier", "shift")}
    constants = (
        c_text.array(names["weights"], constant(op, weights, np.int8), "int8"),
        c_text.array(names["bias"], _bias(op, channels), "int32"),
        c_text.array(names["multiplier"], factors, "int32"),
        c_text.array(names["shift"], shifts, "int8"),
        c_text.structure(f"{kind}_layer", f"{op.label}_layer", {**members, **names}),
    )
    return Emitted(
        (kind,), constants, (f"{kind}(&{op.label}_layer, {op.sources[0]}, {op.target});",)
    )


def _weights(op: Operation) -> Tensor:
    weights = op.inputs[1]
    if weights is None or not weights.constant:
        refuse(op, "computes its weights")
    if weights.dtype != "int8":
        refuse(op, f"has {weights.dtype} weights")
    if weights.zero_points.any():
        refuse(op, "has weights with a zero point other than 0")
    return weights


def _bias(op: Operation, channels: int) -> NDArray[np.int32]:
    bias = op.inputs[2] if len(op.inputs) > 2 else None
    if bias is None:
        return np.zeros(channels, np.int32)
    if bias.dtype != "int32":
        refuse(op, f"has a {bias.dtype} bias")
    return constant(op, bias, np.int32)


def _multipliers(
    op: Operation, channels: int, *, exact: bool
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Multiplier and shift of each channel.

    The product of the scales is a double for a convolution, and a float for a dense layer with one
    scale: that is how the runtime computes them.
    """
    x, y, weights = op.inputs[0], op.outputs[0], _weights(op)
    assert x is not None, "checked by the caller"
    scales = np.broadcast_to(weights.scales, channels)
    if exact:
        products = [c_quantities.scale(x) * float(scale) for scale in scales]
    else:
        products = [float(x.scales[0] * scale) for scale in scales]
    found = [c_quantities.multiplier(product / c_quantities.scale(y)) for product in products]
    return np.array([m for m, _ in found], np.int32), np.array([s for _, s in found], np.int8)


def _check_sums(op: Operation, channels: int) -> None:
    """No sum and no output leaves 32 bits, whatever the input."""
    x, y, weights = op.inputs[0], op.outputs[0], _weights(op)
    assert x is not None, "checked by the caller"
    values = np.abs(constant(op, weights, np.int8).astype(np.int64))
    depthwise = op.operator.name == "DEPTHWISE_CONV_2D"
    taps = values.reshape(-1, channels).T if depthwise else values.reshape(channels, -1)
    largest = 255 * taps.sum(1) + np.abs(_bias(op, channels).astype(np.int64))
    factor = c_quantities.scale(x) * weights.scales.astype(float) / c_quantities.scale(y)
    check_32_bits(op, float(largest.max()))
    check_32_bits(op, float((largest * factor).max()))


def _arithmetic(op: Operation, x: Tensor, y: Tensor, activation: int) -> dict[str, int | str]:
    low, high = c_quantities.limits(option(op, activation), y, op)
    return {
        "in_offset": -c_quantities.zero_point(x),
        "out_offset": c_quantities.zero_point(y),
        "low": low,
        "high": high,
    }
