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


def _sums(weights: Array, ends: Array) -> Array:
    """Sums over the inputs of weights · ends, for finite ends of shape (inputs, 1 or outputs)."""
    if ends.shape[1] == 1:
        return np.asarray(ends[:, 0] @ weights)
    return np.asarray((weights * ends).sum(axis=0))


def _signed_sums(weights: Array, ends: Array) -> Array:
    """The same for weights that are not negative and ends of one sign, which may be infinite."""
    infinite = np.isinf(ends)
    total = _sums(weights, np.where(infinite, 0.0, ends))
    if not infinite.any():
        return total
    reached = _sums(weights, infinite.astype(np.float64)) > 0
    return np.where(reached, np.inf if ends.max() > 0 else -np.inf, total)


def _upper(above: Array, below: Array, low: Array, high: Array, bias: Array, count: int) -> Array:
    """Largest float32 value of bias + above · x - below · x, neither of them negative."""
    positive = _signed_sums(above, np.maximum(high, 0.0)) - _signed_sums(
        below, np.minimum(low, 0.0)
    )
    negative = _signed_sums(above, np.minimum(high, 0.0)) - _signed_sums(
        below, np.maximum(low, 0.0)
    )
    positive, negative = positive + np.maximum(bias, 0.0), negative + np.minimum(bias, 0.0)
    both = (positive > 0) & (negative < 0)
    unbounded = np.isposinf(positive)
    finite = np.where(unbounded, 0.0, positive)
    slack = np.where(both, count * ROUNDING * (finite - negative), 0.0)
    return np.where(unbounded, np.inf, finite + negative + slack)


def sum_bounds(rows: Array, bias: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds of bias + Σ rows · x, exact where x is constant wherever a weight is not zero.

    Args:
        rows: (taps, inputs, outputs).
        bias: (outputs,).
        low: Lower ends of the inputs, (inputs, 1) or (inputs, outputs).
        high: Upper ends.
    """
    above, below = np.maximum(rows, 0.0).sum(axis=0), -np.minimum(rows, 0.0).sum(axis=0)
    count = rows.shape[0] * rows.shape[1] + 2
    upper = _upper(above, below, low, high, bias, count)
    lower = -_upper(below, above, low, high, -bias, count)
    moving = low != high
    still = _sums(above + below, moving.astype(np.float64)) == 0
    exact = bias + _sums(above - below, np.where(moving, 0.0, low))
    return np.where(still, exact, lower), np.where(still, exact, upper)
