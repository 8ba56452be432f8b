"""The inputs of a layer with a kernel as rows of numbers that its weights are multiplied with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import kernels
from edgekit.compression.graph import Layer

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a kernel walks over the axes between batch and channels; one number per axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    outputs: tuple[int, ...]


def geometry(layer: Layer, spatial: tuple[int, ...]) -> Geometry:
    """The walk over an input of this size, padded as TensorFlow pads."""
    if layer.kind == "Dense":
        ones = (1,) * len(spatial)
        return Geometry(ones, ones, ones, (0,) * len(spatial), spatial)
    config = layer.config
    kernel, strides, dilation = (
        tuple(config[key]) for key in ("kernel_size", "strides", "dilation_rate")
    )
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    if config["padding"] == "valid":
        outputs = tuple((n - r) // s + 1 for n, r, s in zip(spatial, reach, strides, strict=True))
        return Geometry(kernel, strides, dilation, (0,) * len(kernel), outputs)
    outputs = tuple(math.ceil(n / s) for n, s in zip(spatial, strides, strict=True))
    missing = tuple(
        max(0, (o - 1) * s + r - n)
        for n, r, s, o in zip(spatial, reach, strides, outputs, strict=True)
    )
    causal = config["padding"] == "causal"
    before = tuple(r - 1 if causal else m // 2 for r, m in zip(reach, missing, strict=True))
    return Geometry(kernel, strides, dilation, before, outputs)


def positions(shape: Geometry, samples: int, most: int, rng: np.random.Generator) -> Array:
    """Some of the outputs of a batch, drawn without repetition: [n, 1 + axes], sample first."""
    total = samples * math.prod(shape.outputs)
    drawn = np.arange(total) if total <= most else rng.choice(total, most, replace=False)
    return np.stack(np.unravel_index(drawn, (samples, *shape.outputs)), axis=-1)


def rows(layer: Layer, x: Array, shape: Geometry, places: Array) -> Array:
    """What is multiplied with the weights for these outputs.

    Args:
        layer: A convolution, Dense, or separable convolution, whose rows are what its depthwise
            kernel makes, since its other kernel mixes the channels.
        x: The input, [samples, …, channels].
        shape: From `geometry`.
        places: From `positions`.

    Returns:
        [n, taps · channels], or [n, channels · multiplier] for a separable convolution; in the
        order of the rows of `mixing`.
    """
    taps = np.array(list(np.ndindex(shape.kernel)), np.int64)
    at = (
        places[:, None, 1:] * np.array(shape.strides, np.int64)
        + taps[None] * np.array(shape.dilation, np.int64)
        - np.array(shape.before, np.int64)
    )
    sizes = np.array(x.shape[1:-1], np.int64)
    inside = np.all((at >= 0) & (at < sizes), axis=-1, keepdims=True)
    clipped = np.clip(at, 0, np.maximum(sizes - 1, 0))
    index = (places[:, :1], *(clipped[..., axis] for axis in range(len(shape.kernel))))
    found = x[index] * inside.astype(x.dtype)
    if layer.kind in kernels.SEPARABLE:
        depthwise = layer.weights[0].reshape(len(taps), *layer.weights[0].shape[-2:])
        found = np.einsum("ntc,tcm->ncm", found, depthwise)
    return np.asarray(found.reshape(len(places), -1))


def mixing(layer: Layer) -> int:
    """The place among the layer's weights of those that mix channels."""
    return 1 if layer.kind in kernels.SEPARABLE else 0


def channels_of_rows(layer: Layer, channels: Array) -> Array:
    """Which of the input's channels each row is about."""
    if layer.kind in kernels.SEPARABLE:
        return np.repeat(channels, layer.config["depth_multiplier"])
    taps = 1 if layer.kind == "Dense" else math.prod(layer.config["kernel_size"])
    return np.tile(channels, taps)
