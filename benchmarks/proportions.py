"""Intervals and tests for proportions, written without edgekit."""

from __future__ import annotations

import math

import numpy as np

Z95 = 1.959964


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (Wilson 1927)."""
    share = successes / n
    spread = Z95 * math.sqrt(share * (1 - share) / n + (Z95 / (2 * n)) ** 2)
    middle, scale = share + Z95**2 / (2 * n), 1 + Z95**2 / n
    return (middle - spread) / scale, (middle + spread) / scale


def mcnemar(before: np.ndarray, after: np.ndarray) -> float:
    """Exact two-sided McNemar test of two models on the same samples, by the binomial tail.

    Args:
        before: bool [n], which samples the first model has right.
        after: bool [n], the second one.
    """
    worse, better = int((before & ~after).sum()), int((~before & after).sum())
    n = worse + better
    tail = sum(math.comb(n, k) for k in range(min(worse, better) + 1)) / 2**n
    return min(1.0, 2 * tail)
