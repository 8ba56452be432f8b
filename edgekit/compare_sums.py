"""Sums over pairs of tensors, batch by batch, and the figures that come out of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.intervals import decibels

Array = NDArray[Any]


@dataclass(slots=True)
class DifferenceSums:
    """What is kept of a reference and a found tensor: never the values themselves."""

    values: int = 0
    signal: float = 0.0
    found: float = 0.0
    product: float = 0.0
    noise: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0

    @np.errstate(invalid="ignore", over="ignore")  # what is not finite shows in the figures
    def add(self, reference: Array, found: Array) -> None:
        """Takes in one batch of each, of the same shape."""
        one = np.asarray(reference, np.float64).ravel()
        other = np.asarray(found, np.float64).ravel()
        difference = np.abs(one - other)
        self.values += one.size
        self.signal += float(one @ one)
        self.found += float(other @ other)
        self.product += float(one @ other)
        self.noise += float(difference @ difference)
        self.absolute += float(difference.sum())
        largest = float(difference.max(initial=0.0))
        self.largest = math.inf if math.isnan(largest) else max(self.largest, largest)

    @property
    def mean_abs(self) -> float:
        """The mean absolute difference."""
        return self.absolute / self.values if self.values else 0.0

    @property
    def sqnr_db(self) -> float:
        """As `intervals.sqnr_db`, over all that was added."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the two; None where one is zero throughout."""
        length = math.sqrt(self.signal) * math.sqrt(self.found)
        if length == 0 or not math.isfinite(length):
            return None
        return max(-1.0, min(1.0, self.product / length))


def finite(figure: float) -> float | None:
    """A figure as a report holds it: None where it is not finite, which JSON cannot say."""
    return figure if math.isfinite(figure) else None
