"""Intervals of values per channel, sound for what float32 computes of them.

Bounds hold for the float32 computation, not only for the exact one: a rounding term is added
wherever terms of both signs meet (Higham, Accuracy and Stability of Numerical Algorithms, §3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROUNDING = 2.0**-23
"""Twice float32's unit roundoff, for each operation of a sum."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """`low` and `high` per channel (last axis), float64; NaN never occurs."""

    low: Array
    high: Array

    @property
    def constant(self) -> Array:
        """Which channels have one value only."""
        return np.asarray(self.low == self.high)


def everything(size: int, limit: float = math.inf) -> Bounds:
    """Values of any size up to the limit."""
    return Bounds(np.full(size, -limit), np.full(size, limit))


def with_zero(given: Bounds) -> Bounds:
    """The same values, or the zero of a padded border."""
    return Bounds(np.minimum(given.low, 0.0), np.maximum(given.high, 0.0))


def times(weights: Array, ends: Array) -> Array:
    """Products where zero times infinity is zero."""
    return np.multiply(weights, ends, out=np.zeros(weights.shape), where=weights != 0)


def _upper(terms: Array, bias: Array, count: int) -> Array:
    """Largest float32 sum over axis 0 of at most these terms, plus the bias."""
    positive = np.maximum(terms, 0.0).sum(axis=0) + np.maximum(bias, 0.0)
    negative = np.minimum(terms, 0.0).sum(axis=0) + np.minimum(bias, 0.0)
    both = (positive > 0) & (negative < 0)
    slack = np.where(both, count * ROUNDING * (positive - negative), 0.0)
    total = np.where(np.isposinf(positive), np.inf, positive + negative + slack)
    return np.asarray(total)


def sum_bounds(rows: Array, bias: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds of bias + Σ rows · x, exact where x is constant wherever a weight is not zero.

    Args:
        rows: (taps, inputs, outputs).
        bias: (outputs,).
        low: Lower ends of the inputs, broadcast to (inputs, outputs).
        high: Upper ends.
    """
    above, below = np.maximum(rows, 0.0).sum(axis=0), np.minimum(rows, 0.0).sum(axis=0)
    count = rows.shape[0] * rows.shape[1] + 2
    low, high = np.broadcast_to(low, above.shape), np.broadcast_to(high, above.shape)
    upper = _upper(np.concatenate([times(above, high), times(below, low)]), bias, count)
    lower = -_upper(-np.concatenate([times(above, low), times(below, high)]), -bias, count)
    still = ~((above - below > 0) & (low != high)).any(axis=0)
    exact = bias + times(above + below, np.where(low == high, low, 0.0)).sum(axis=0)
    return np.where(still, exact, lower), np.where(still, exact, upper)
