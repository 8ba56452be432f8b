"""Rounding to int8 grids as the runtimes do it, inside a float model and open to gradients.

Forward, a value becomes the nearest point of its grid; backward, rounding counts as the identity
(the straight-through estimator, Bengio et al. 2013, arXiv 1308.3432), and what an activation's
range cuts off gets no gradient (Jacob et al. 2018, arXiv 1712.05877, section 3). Zero is a point of
every grid: it stays zero. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

LARGEST_WEIGHT = 127
LEAST_WIDTH = 1e-9
"""Of a range; LiteRT Quantizer's own bound, so that no scale is 0."""


def weights(kernel: Any, channels: Sequence[int]) -> Any:
    """A kernel on its symmetric grid −127…127, scale max|w| / 127 of each channel.

    Args:
        kernel: Tensor or variable, float32.
        channels: The axes that have a scale of their own; none for one scale.
    """
    value = tf.convert_to_tensor(kernel)
    others = [axis for axis in range(len(value.shape)) if axis not in channels]
    largest = tf.reduce_max(tf.abs(value), axis=others, keepdims=True)
    scale = tf.maximum(largest, LEAST_WIDTH) / LARGEST_WEIGHT
    return value + tf.stop_gradient(tf.round(value / scale) * scale - value)


def weights_on_grid(kernel: NDArray[Any], channels: Sequence[int]) -> NDArray[np.float32]:
    """What `weights` makes of a kernel, computed once.

    LiteRT Quantizer derives the same scale, and so the same integers, from the result: its largest
    weight of each channel is that of the kernel.
    """
    others = tuple(axis for axis in range(kernel.ndim) if axis not in channels)
    largest = np.abs(kernel).max(axis=others, keepdims=True).astype(np.float32)
    scale = np.maximum(largest, np.float32(LEAST_WIDTH)) / np.float32(LARGEST_WEIGHT)
    rounded: NDArray[np.float32] = (np.rint(kernel / scale) * scale).astype(np.float32)
    return rounded


def activations(value: Any, low: Any, high: Any, *, symmetric: bool) -> Any:
    """Activations on the grid of 256 points that covers a range, or 255 around zero.

    Args:
        value: Tensor, float32.
        low: Of the range, scalar; 0 belongs to the range in any case.
        high: Likewise. Both get the gradient of what they cut off.
        symmetric: The grid is −127…127 around zero, as far as the larger end.
    """
    low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
    high = tf.maximum(high, low + LEAST_WIDTH)
    if symmetric:
        limit = tf.maximum(-low, high)
        return tf.quantization.fake_quant_with_min_max_vars(value, -limit, limit, narrow_range=True)
    return tf.quantization.fake_quant_with_min_max_vars(value, low, high)
