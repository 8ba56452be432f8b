"""How a window slides over an image: sizes, strides and padding, checked against the shapes."""

from __future__ import annotations

from edgekit.converters.c_operands import option, refuse, shape
from edgekit.converters.c_types import Operation
from edgekit.tflite_file import Tensor

SAME, VALID = 0, 1

Members = dict[str, int | str]


def image_members(op: Operation, x: Tensor, y: Tensor) -> Members:
    """Sizes of one image in and one out, both [1, height, width, channels]."""
    (batch, in_height, in_width, channels), (_, out_height, out_width, _) = shape(x), shape(y)
    if batch != 1:
        refuse(op, f"works on {batch} images at once", "use --batch 1")
    return {
        "in_height": in_height, "in_width": in_width, "in_channels": channels,
        "out_height": out_height, "out_width": out_width,
    }  # fmt: skip


def window_members(
    op: Operation, height: int, width: int, dilation: tuple[int, int] | None
) -> Members:
    """Window, strides, dilation and padding.

    Args:
        op: An operator whose options begin with padding, stride_w, stride_h.
        height: Of the window.
        width: Likewise.
        dilation: The options that hold the horizontal and the vertical dilation.
    """
    x, y = op.inputs[0], op.outputs[0]
    assert x is not None, "checked by the caller"
    step_x, step_y = (option(op, field, "i", 1) for field in dilation) if dilation else (1, 1)
    stride_x, stride_y = option(op, 1, "i"), option(op, 2, "i")
    same = option(op, 0) == SAME
    rows = (shape(x)[1], shape(y)[1], height, stride_y, step_y)
    columns = (shape(x)[2], shape(y)[2], width, stride_x, step_x)
    members: Members = {
        "height": height, "width": width, "stride_y": stride_y, "stride_x": stride_x,
        "dilation_y": step_y, "dilation_x": step_x,
        "pad_top": _padding(op, same, *rows), "pad_left": _padding(op, same, *columns),
    }  # fmt: skip
    if dilation is None:
        del members["dilation_y"], members["dilation_x"]
    return members


def _padding(
    op: Operation, same: bool, in_size: int, out_size: int, taps: int, stride: int, step: int
) -> int:
    """Padding before the first value: half of what is missing, rounded down."""
    if min(stride, step, taps) < 1:
        refuse(op, f"has a window of {taps}, a stride of {stride} and a dilation of {step}")
    reach = (taps - 1) * step + 1
    expected = -(-in_size // stride) if same else -(-(in_size - reach + 1) // stride)
    if out_size != expected:
        refuse(op, f"has an output of size {out_size} where {expected} follows from its window")
    return max((out_size - 1) * stride + reach - in_size, 0) // 2 if same else 0
