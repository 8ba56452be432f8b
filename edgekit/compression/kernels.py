"""Layers with a kernel, seen as one linear map per tap from input to output channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression.graph import Layer

Array = NDArray[Any]

CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D"})
TRANSPOSED = frozenset({"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"})
SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
MIXING = CONVOLUTIONS | TRANSPOSED | SEPARABLE | {"Dense"}
"""Layers whose every output channel may read every input channel."""

KERNELS = MIXING | DEPTHWISE


@dataclass(frozen=True, slots=True)
class Linear:
    """`taps`: (positions, inputs, outputs); `bias`: (outputs,), zeros where there is none."""

    taps: Array
    bias: Array


def is_plain(layer: Layer) -> bool:
    """Whether the weights are the usual ones, channels last: not grouped, quantized or LoRA."""
    config = layer.config
    expected = (2 if layer.kind in SEPARABLE else 1) + bool(config.get("use_bias"))
    usual = (config.get("data_format", "channels_last"), config.get("groups", 1))
    if usual != ("channels_last", 1) or getattr(layer.source, "quantization_mode", None):
        return False
    floats = all(np.issubdtype(weight.dtype, np.floating) for weight in layer.weights)
    return floats and len(layer.weights) == expected


def linear(layer: Layer) -> Linear:
    """The map of a mixing layer; the taps of a separable one are computed in float64."""
    kernel = layer.weights[0]
    bias = layer.weights[-1].astype(np.float64) if layer.config["use_bias"] else None
    if layer.kind in SEPARABLE:
        inputs, multiplier = kernel.shape[-2:]
        pointwise = layer.weights[1].astype(np.float64).reshape(inputs, multiplier, -1)
        depthwise = kernel.astype(np.float64).reshape(-1, inputs, multiplier)
        kernel = np.einsum("tcm,cmo->tco", depthwise, pointwise)
    elif layer.kind in TRANSPOSED:
        kernel = np.swapaxes(kernel, -1, -2)
    taps = kernel.reshape(-1, *kernel.shape[-2:])
    return Linear(taps, np.zeros(taps.shape[-1]) if bias is None else bias)


def sees_borders(layer: Layer) -> bool:
    """Whether some outputs miss some taps, since the kernel reaches over a zero-padded border."""
    if layer.kind == "Dense":
        return False
    if layer.kind in TRANSPOSED:
        return True  # and also inside, where the stride leaves taps out
    return bool(layer.config["padding"] != "valid" and math.prod(layer.config["kernel_size"]) > 1)
