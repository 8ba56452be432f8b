"""What quantized weights say of their channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.layer_types import WeightFacts


def facts(values: NDArray[Any], axis: int, bits: int, scales: NDArray[Any]) -> WeightFacts | None:
    """The facts of weights in real units.

    Args:
        values: The weights, dequantized.
        axis: That of the output channels.
        bits: Of each stored weight.
        scales: One, or one per channel.
    """
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    magnitudes = np.abs(channels).max(axis=1)
    alive = magnitudes[magnitudes > 0]
    if not alive.size:
        return None
    return WeightFacts(
        bits=bits,
        channels=len(channels),
        largest=float(alive.max()),
        median=float(np.median(alive)),
        smallest=float(alive.min()),
        step=float(scales.ravel()[0]) if scales.size == 1 else None,
    )
