"""Ways of choosing activation ranges from what was seen of each tensor; numpy only.

The same four that `convert` compares: min-max, moving average, percentile and least squares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression.int8_rules import Range
from edgekit.compression.observing import Seen

Array = NDArray[Any]

METHODS = ("minmax", "percentile", "mse", "moving-average")
STEPS = 255
SHRINK_FACTORS = np.linspace(1.0, 0.2, 33)
VALUES = 4096
"""Of a tensor, that least squares looks at."""


def ranges(seen: Mapping[str, Seen], method: str) -> dict[str, Range]:
    """The range of every tensor by one of METHODS."""
    return {name: _range(one, method) for name, one in seen.items()}


def _range(seen: Seen, method: str) -> Range:
    low, high = float(seen.lows.min()), float(seen.highs.max())
    if method == "moving-average":
        return float(seen.lows.mean()), float(seen.highs.mean())
    if method == "percentile":
        below, above = np.percentile(seen.values, (0.01, 99.99))
        return float(below), float(above)
    return _least_squares(seen.values, low, high) if method == "mse" else (low, high)


def _least_squares(values: Array, low: float, high: float) -> Range:
    """Both ends shrink along a fixed grid, one after the other, twice."""
    points = values[:: max(1, values.size // VALUES)].astype(np.float64)
    best = min(low, 0.0), max(high, 0.0)
    for _ in range(2):
        for end in (0, 1):
            full = (min(low, 0.0), max(high, 0.0))[end]
            tried = [(full * f, best[1]) if end == 0 else (best[0], full * f)
                     for f in SHRINK_FACTORS]  # fmt: skip
            best = min(tried, key=lambda limits: _error(points, limits))
    return best


def _error(points: Array, limits: Range) -> float:
    low, high = limits
    scale = (high - low) / STEPS
    if scale <= 0:
        return float(np.square(points).sum())
    rounded = np.rint(np.clip(points, low, high) / scale) * scale
    return float(np.square(points - rounded).sum())
