"""How sure a figure is: confidence intervals, an exact test, and signal-to-noise.

Nothing here needs scipy: binomial tails are summed with whole numbers, so they are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

SQNR_CAP_DB = 200.0
"""What `sqnr_db` returns for equal arrays; float32 itself ends near 150 dB."""

_MIN_VALID_SHARE = 0.9


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion, in 0…1.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    Args:
        successes: Between 0 and n.
        n: At least 1.
        level: The confidence, between 0 and 1.
    """
    assert 0 <= successes <= n, (successes, n)
    assert n > 0, "a proportion of nothing has no interval"
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n the bound is the proportion itself; rounding would leave it an ulp outside.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """The percentile interval of a statistic over resampled samples (Efron, 1979).

    Args:
        statistic: Takes n sample numbers, drawn with replacement, and returns the figure; NaN
            where it is undefined for that draw (an AUC without one of the classes).
        n: The number of samples.
        resamples: How many draws.
        seed: Of the draws: the same seed gives the same interval.
        level: The confidence, between 0 and 1.

    Returns:
        The interval, or None for fewer than two samples, no draws, or where the statistic is
        undefined for more than a tenth of the draws.
    """
    if n < 2 or resamples < 1:
        return None
    generator = np.random.default_rng(seed)
    drawn = np.array([statistic(generator.integers(n, size=n)) for _ in range(resamples)])
    valid = drawn[np.isfinite(drawn)]
    if len(valid) < _MIN_VALID_SHARE * resamples:
        return None
    low, high = np.quantile(valid, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def median_interval(
    values: Sequence[float], level: float = 0.95
) -> tuple[float, float, float] | None:
    """The interval of a median that assumes nothing about the distribution.

    The k-th smallest and k-th largest value enclose the median with probability
    1 − 2·P(X < k), X binomial(n, ½): the sign test turned around (David and Nagaraja, "Order
    Statistics", 7.1). The largest k that still reaches the level is taken.

    Returns:
        (low, high, the level that is reached), or None where even the extremes do not reach it:
        fewer than 6 values for 95 %, fewer than 8 for 99 %.
    """
    n = len(values)
    best: tuple[int, float] | None = None
    below = 0
    for k in range(1, n // 2 + 1):
        below += math.comb(n, k - 1)
        reached = 1 - 2 * below / 2**n
        if reached < level:
            break
        best = (k, reached)
    if best is None:
        return None
    ordered = sorted(values)
    return ordered[best[0] - 1], ordered[n - best[0]], best[1]


def shift_interval(
    first: Sequence[float], second: Sequence[float], level: float = 0.95
) -> tuple[float, float] | None:
    """The interval of how far `second` lies above `first`, for samples that are not paired.

    Order statistics of all pairwise differences, at ranks from the exact distribution of the
    Mann–Whitney statistic: no distribution is assumed, but that both samples have the same form
    (Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods", 4.3).

    Returns:
        (low, high), or None where even the extremes do not reach the level: fewer than 4 values
        each for 95 %, fewer than 5 for 99 %.
    """
    n, m = len(first), len(second)
    counts = _mann_whitney_counts(n, m)
    allowed = (1 - level) / 2 * math.comb(n + m, n)
    rank, tail = 0, 0
    for count in counts:
        tail += count
        if tail > allowed:
            break
        rank += 1
    if rank == 0:
        return None
    shifts = sorted(b - a for a in first for b in second)
    return shifts[rank - 1], shifts[-rank]


def difference_interval(
    first: float,
    first_interval: tuple[float, float],
    second: float,
    second_interval: tuple[float, float],
) -> tuple[float, float]:
    """The interval of first − second from the interval of each, at their level.

    With Wilson intervals this is Newcombe's hybrid score interval. It takes the two to be
    independent; of two models on the same samples it is wider than need be.

    Source: Newcombe, "Interval estimation for the difference between independent proportions",
    1998, method 10; for other statistics Zou and Donner, 2008.
    """
    difference = first - second
    below = math.hypot(first - first_interval[0], second_interval[1] - second)
    above = math.hypot(first_interval[1] - first, second - second_interval[0])
    return difference - below, difference + above


def discordant(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int]:
    """How many samples only the first model gets right, and how many only the second.

    Args:
        first: Which samples the first model gets right, [n].
        second: Likewise.
    """
    return int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p-value that two models err equally often on the same samples.

    Args:
        b: Samples that only the first model gets right.
        c: Samples that only the second model gets right.
    """
    n = b + c
    term, tail = 1, 0
    for k in range(min(b, c) + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    # Whole numbers up to the division: the terms of a few thousand samples overflow a float.
    return float(min(1.0, 2 * tail / 2**n))


def holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several tests reject, so that all of them together err with at most this chance.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    for rank, at in enumerate(order):
        if p_values[at] > level / (len(p_values) - rank):
            break
        rejected[at] = True
    return rejected


def paired_change_interval(lost: int, won: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of how far a proportion changed, for two models on the same samples.

    Source: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial
    Proportions Based on Paired Data", 2012: one sample is added to each of the two counts.

    Args:
        lost: Samples that only the first model gets right.
        won: Samples that only the second model gets right.
        n: All samples, at least 1.
        level: The confidence, between 0 and 1.

    Returns:
        Bounds of second − first, within −1…1.
    """
    assert 0 <= lost + won <= n, (lost, won, n)
    assert n > 0, "a change of nothing has no interval"
    z = NormalDist().inv_cdf(0.5 + level / 2)
    fallen, risen = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = z * math.sqrt((fallen + risen - (risen - fallen) ** 2) / (n + 2))
    return max(-1.0, risen - fallen - half), min(1.0, risen - fallen + half)


def sqnr_db(reference: ArrayLike, test: ArrayLike) -> float:
    """Signal-to-quantization-noise ratio in decibels: 10·log10(Σ ref² / Σ (ref − test)²).

    Always finite: equal arrays give SQNR_CAP_DB; a noisy silence, or a test with values that are
    not finite, gives −SQNR_CAP_DB.
    """
    signal = np.asarray(reference, dtype=np.float64)
    noise = signal - np.asarray(test, dtype=np.float64)
    return decibels(float(np.sum(signal * signal)), float(np.sum(noise * noise)))


def decibels(signal_power: float, noise_power: float) -> float:
    """10·log10(signal / noise) of sums of squares, always finite: see `sqnr_db`."""
    if noise_power == 0.0:
        return SQNR_CAP_DB
    if not math.isfinite(noise_power) or signal_power == 0.0:
        return -SQNR_CAP_DB
    ratio_db = 10 * (math.log10(signal_power) - math.log10(noise_power))
    return max(-SQNR_CAP_DB, min(SQNR_CAP_DB, ratio_db))


def _mann_whitney_counts(n: int, m: int) -> list[int]:
    """How many of the orders of n and m values have each Mann–Whitney statistic, 0 to n·m.

    The coefficients of the Gaussian binomial: the product over i of (1 − q^(m+i)) / (1 − q^i).
    """
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for at in range(n * m, m + i - 1, -1):
            counts[at] -= counts[at - m - i]
        for at in range(i, n * m + 1):
            counts[at] += counts[at - i]
    return counts
