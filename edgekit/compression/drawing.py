"""Draws a few batches of training samples, for what looks at data without training."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgekit.compression.training_data import TrainingData
from edgekit.keras_loading import Loaded

MAX_BATCH = 64
MIN_BATCH = 16
"""Fewer samples do not tell the statistics of a batch."""

BATCH_ELEMENTS = 1 << 22


def batch_size(loaded: Loaded) -> int:
    """As many samples as fit into some memory, whatever batch dimension the model has."""
    elements = sum(math.prod(size or 64 for size in spec.shape[1:]) for spec in loaded.inputs)
    return max(MIN_BATCH, min(MAX_BATCH, BATCH_ELEMENTS // max(1, elements)))


def draw(
    data: TrainingData, samples: int, size: int, seed: int
) -> Iterator[tuple[list[NDArray[np.generic]], NDArray[np.generic] | None]]:
    """Batches of the first view, without repetition unless there are fewer samples than `size`.

    Args:
        data: The train role.
        samples: How many to draw at most; all if there are no more.
        size: Of every batch: what does not fill the last one is left out.
        seed: Of the draw.

    Yields:
        Inputs [size, …] in the model's order, and labels [size, …] or None.
    """
    numbers = np.random.default_rng(seed).permutation(data.count)[:samples]
    if numbers.size < size:
        numbers = np.resize(numbers, size)
    for start in range(0, numbers.size - size + 1, size):
        yield data.batch(0, numbers[start : start + size])
