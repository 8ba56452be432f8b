"""Flips and shifts of images, which the training of several benchmarks shares."""

from __future__ import annotations

from typing import Any

import numpy as np


def flipped_and_shifted(x: np.ndarray, seed: int, pixels: int, mode: Any) -> np.ndarray:
    """Flip half of the images [n, height, width, channels], shift each by at most `pixels`.

    Args:
        x: The images, of any type.
        seed: Of both draws.
        pixels: The largest shift, along each axis.
        mode: What comes in at the edge, as `numpy.pad` names it.
    """
    rng = np.random.default_rng(seed)
    out = np.where(rng.random(len(x))[:, None, None, None] < 0.5, x[:, :, ::-1], x)
    padded = np.pad(out, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    rows, columns = rng.integers(0, 2 * pixels + 1, (2, len(x)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, x.shape[1:3], axis=(1, 2))
    return np.moveaxis(windows[np.arange(len(x)), rows, columns], 1, -1)
