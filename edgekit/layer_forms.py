"""Brings a tensor into another one's form: channels first or last, axes of size 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.types import Dimension

Array = NDArray[Any]
Axes = tuple[int, ...]


def forms(wanted: Sequence[Dimension], given: Sequence[Dimension]) -> list[Axes]:
    """The orders of axes in which a tensor may be another one; the batch axis stays first.

    Args:
        wanted: The shape to have.
        given: The shape to turn around.

    Returns:
        As given first, then channels moved from the second place to the last, or back. Empty where
        the sizes per sample differ.
    """
    if not wanted or not given:
        return []
    return [axes for axes in _orders(len(given)) if _same(wanted, [given[at] for at in axes])]


def arranged(values: Array, axes: Axes, shape: Sequence[int]) -> Array:
    """Values [n, …] with their axes in an order of `forms`, in a shape that differs by ones."""
    turned = values.transpose(axes) if values.ndim == len(axes) else values
    return np.ascontiguousarray(turned).reshape(shape)


def _orders(rank: int) -> Iterator[Axes]:
    same = tuple(range(rank))
    yield same
    if rank > 2:
        yield (0, *same[2:], 1)
        if rank > 3:
            yield (0, rank - 1, *same[1:-1])


def _same(one: Sequence[Dimension], other: Sequence[Dimension]) -> bool:
    return [size for size in one[1:] if size != 1] == [size for size in other[1:] if size != 1]
