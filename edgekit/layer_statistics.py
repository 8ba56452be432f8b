"""What a pair of tensors leaves of itself, sample by sample: the error, and where it sits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compare_sums import DifferenceSums
from edgekit.layer_types import Tap

Array = NDArray[Any]
MOST_LEVELS = 1 << 16
ALMOST_ALL = 0.99


class Channel(NamedTuple):
    """The channel with the most error: its shares of error and signal, and found over expected."""

    number: int
    channels: int
    noise_share: float
    signal_share: float
    gain: float


class Clipping(NamedTuple):
    """Values outside the artifact's range: their share, the share of the error, the furthest."""

    share: float
    noise_share: float
    furthest: float


class Levels(NamedTuple):
    """How many integer levels hold 99 % of the values that are not zero, of how many."""

    used: int
    available: int
    within: float
    """The largest magnitude among these values."""


class PairSums:
    """Accumulates one pair.

    Args:
        tap: The artifact's.
        channel_axis: That of the reference's channels, counted without the batch axis.
    """

    def __init__(self, tap: Tap, channel_axis: int) -> None:
        self.difference = DifferenceSums()
        self._tap, self._axis = tap, channel_axis
        self._noise = self._signal = self._product = np.zeros(0)
        self._outside = 0
        self._outside_noise = 0.0
        self._furthest = 0.0
        self._counts: NDArray[np.int64] | None = None
        self._saturated = self._rows = 0
        self._finite = True

    @np.errstate(invalid="ignore", over="ignore")  # what is not finite shows in the figures
    def add(self, expected: Array, found: Array) -> None:
        """Takes in one sample of each, [1, …], of the same shape."""
        self.difference.add(expected, found)
        self._finite = self._finite and bool(np.isfinite(found).all())
        one, other = expected.astype(np.float64), found.astype(np.float64)
        self._add_channels(one, other)
        self._add_range(one, other)
        self._add_levels(other)
        if self._tap.family in ("softmax", "sigmoid"):
            self._add_saturation(one)

    @property
    def finite(self) -> bool:
        """Whether all that the artifact gave are numbers."""
        return self._finite

    @property
    def saturated(self) -> float:
        """The share of rows whose largest magnitude is within half a step of 1."""
        return self._saturated / self._rows if self._rows else 0.0

    def channel(self) -> Channel | None:
        """The channel with the most error; None where there is one channel, or no error."""
        total = float(self._noise.sum())
        if self._noise.size < 2 or not total or not np.isfinite(total):
            return None
        at = int(self._noise.argmax())
        signal = float(self._signal[at])
        return Channel(
            at,
            self._noise.size,
            float(self._noise[at]) / total,
            signal / float(self._signal.sum() or 1.0),
            float(self._product[at]) / signal if signal else 0.0,
        )

    def clipping(self) -> Clipping | None:
        """What lies outside the artifact's range; None where nothing does."""
        if not self._outside or not self.difference.noise:
            return None
        return Clipping(
            self._outside / self.difference.values,
            self._outside_noise / self.difference.noise,
            self._furthest,
        )

    def levels(self) -> Levels | None:
        """How well the integers are used; None where the tensor has none, or is all zero."""
        step, low = self._tap.step, self._tap.low
        if self._counts is None or step is None or low is None:
            return None
        counts = self._counts.copy()
        zero = round(-low / step)
        if 0 <= zero < len(counts):
            counts[zero] = 0
        total = int(counts.sum())
        if not total:
            return None
        order = np.argsort(-counts, kind="stable")
        used = int(np.searchsorted(np.cumsum(counts[order]), ALMOST_ALL * total)) + 1
        within = float(np.abs(low + step * order[:used]).max())
        return Levels(used, len(counts), within)

    def _add_channels(self, one: Array, other: Array) -> None:
        if one.ndim < 2:
            return
        axis = self._axis % (one.ndim - 1) + 1
        rest = tuple(at for at in range(one.ndim) if at != axis)
        parts = (np.square(one - other), np.square(one), one * other)
        noise, signal, product = (part.sum(axis=rest) for part in parts)
        if not self._noise.size:
            self._noise, self._signal, self._product = noise, signal, product
            return
        self._noise = self._noise + noise
        self._signal = self._signal + signal
        self._product = self._product + product

    def _add_range(self, one: Array, other: Array) -> None:
        if self._tap.low is None or self._tap.high is None or self._tap.step is None:
            return
        slack = self._tap.step
        outside = (one < self._tap.low - slack) | (one > self._tap.high + slack)
        if outside.any():
            self._outside += int(outside.sum())
            self._outside_noise += float(np.square(one - other)[outside].sum())
            extremes = (self._furthest, float(one[outside].min()), float(one[outside].max()))
            self._furthest = max(extremes, key=abs)

    def _add_levels(self, other: Array) -> None:
        step, low, high = self._tap.step, self._tap.low, self._tap.high
        if step is None or low is None or high is None or not self._finite:
            return
        available = min(MOST_LEVELS, round((high - low) / step) + 1)
        numbers = np.clip(np.rint((other - low) / step), 0, available - 1).astype(np.int64)
        counts = np.bincount(numbers.ravel(), minlength=available)
        self._counts = counts if self._counts is None else self._counts + counts

    def _add_saturation(self, one: Array) -> None:
        rows = np.abs(one).reshape(-1, one.shape[-1]).max(axis=1)
        edge = 1 - (self._tap.step or 1 / 256) / 2
        self._saturated += int((rows >= edge).sum())
        self._rows += len(rows)
