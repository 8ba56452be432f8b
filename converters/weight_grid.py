"""Integer grids for weights that every CPU computes the same on; numpy only.

CPUs without VNNI add products of neighbouring input channels in 16 bits, and overflow. NNCF's cure
halves all weights of the first layer (others still overflow: an autoencoder's AUC fell from 0.88 to
0.83) or of all layers (0.85). Here each output channel is scaled down only as far as its own
neighbours need (0.88), and the file computes the same everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_WEIGHT = 127
LARGEST_PAIR = 128
"""255 · 128 < 2^15: two products of unsigned activations and weights whose sum still fits."""
PAIR_FACTORS = np.arange(64, 129) / 64


def fit_weights(
    weights: NDArray[np.float32], channels: tuple[int, ...], inputs: int | None
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 weights that no 16-bit accumulator overflows with.

    AVX2 and AVX-512 without VNNI multiply unsigned activations and weights to 16 bits and add
    two neighbours there (vpmaddubsw, saturating). Each channel's scale grows, up to twofold, until
    no two neighbouring weights of one sign exceed LARGEST_PAIR together.

    Args:
        weights: Float weights of any shape.
        channels: The axes that have a scale of their own.
        inputs: The axis that products are summed along, whose neighbours (2k, 2k + 1) meet; None
            where none are summed (depthwise).

    Returns:
        Weights of the same shape, and scales with 1 along every other axis.
    """
    scale = full_scale(weights, channels)
    if inputs is None or weights.shape[inputs] < 2:
        return np.rint(weights / scale).astype(np.int8), scale
    others = tuple(axis for axis in range(weights.ndim) if axis not in channels)
    factor = np.full_like(scale, PAIR_FACTORS[-1])
    settled = np.zeros(scale.shape, bool)
    for candidate in PAIR_FACTORS:
        pairs = _largest_pairs(np.rint(weights / (scale * candidate)), inputs)
        fits = (pairs.max(axis=others, keepdims=True) <= LARGEST_PAIR) & ~settled
        factor[fits] = candidate
        settled |= fits
        if settled.all():
            break
    scale = (scale * factor).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale


def full_scale(weights: NDArray[np.generic], channels: tuple[int, ...]) -> NDArray[np.float32]:
    """Symmetric scales that use all of int8, with 1 along every axis that has no channels."""
    others = tuple(axis for axis in range(weights.ndim) if axis not in channels)
    largest = np.abs(weights.astype(np.float32)).max(axis=others, keepdims=True)
    scale: NDArray[np.float32] = np.where(largest > 0, largest / LARGEST_WEIGHT, 1.0)
    return scale.astype(np.float32)


def _largest_pairs(grid: NDArray[np.float32], inputs: int) -> NDArray[np.float32]:
    """The sum of each pair of neighbours, as large as activations of any mix can make it."""
    lined = np.moveaxis(grid, inputs, 0)
    if len(lined) % 2:
        lined = np.concatenate([lined, np.zeros_like(lined[:1])])
    even, odd = lined[0::2], lined[1::2]
    positive = np.maximum(even, 0) + np.maximum(odd, 0)
    negative = np.maximum(-even, 0) + np.maximum(-odd, 0)
    pairs: NDArray[np.float32] = np.maximum(positive, negative)
    return np.moveaxis(pairs, 0, inputs)
