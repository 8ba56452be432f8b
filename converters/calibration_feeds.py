"""Calibration samples in batches as a float graph takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit import chunks
from edgekit.chunks import Arrays
from edgekit.errors import DataError
from edgekit.types import TensorSpec


def feeds(
    samples: Path, inputs: Sequence[TensorSpec], limit: int | None = None
) -> Iterator[Arrays]:
    """Samples in batches; a last partial batch is filled up.

    Args:
        samples: A directory of edgekit.chunks.
        inputs: The graph's inputs; a batch that may vary is fed one sample at a time.
        limit: How many samples to take at most.

    Raises:
        DataError: There are no samples, or not for every input.
    """
    size = next((spec.shape[0] or 1 for spec in inputs if spec.shape), 1)
    taken = 0
    for arrays in chunks.read(samples):
        missing = sorted({spec.name for spec in inputs} - set(arrays))
        if missing:
            raise DataError(
                f"the calibration samples have no array for input '{missing[0]}', only for"
                f" {', '.join(sorted(arrays))}",
                "name the arrays of --data after the inputs",
            )
        for start in range(0, len(next(iter(arrays.values()))), size):
            if limit is not None and taken >= limit:
                return
            taken += size
            yield {
                spec.name: _typed(arrays[spec.name][start : start + size], size, spec.dtype)
                for spec in inputs
            }
    if not taken:
        raise DataError(
            "no calibration samples were given", "check the calib or train role of --data"
        )


def _typed(values: NDArray[np.generic], size: int, dtype: str) -> NDArray[np.generic]:
    if len(values) < size:
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])
    target = np.dtype(dtype)
    if target.kind in "iu" and values.dtype.kind == "f":
        values = np.rint(values)
    return np.ascontiguousarray(values, target)
