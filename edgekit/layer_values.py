"""Values of taps on disk: written by readers sample by sample, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import chunks
from edgekit.chunks import Arrays

Array = NDArray[Any]
Run = Callable[[Arrays], Mapping[int, Array]]


def trace(samples: Path, values: Path, run: Run, size: int) -> None:
    """Runs samples a few at a time and writes the taps' values, a file for each sample.

    Args:
        samples: A directory of edgekit.chunks.
        values: The directory to write; arrays are named after the positions of taps.
        run: Takes `size` samples by input name; returns values [size, …] by position.
        size: Samples of one run; a last part is filled up.
    """
    chunks.write(values, _rows(samples, run, size))


def _rows(samples: Path, run: Run, size: int) -> Iterator[Arrays]:
    for arrays in chunks.read(samples):
        count = len(next(iter(arrays.values())))
        for start in range(0, count, size):
            part = {
                name: _filled(array[start : start + size], size) for name, array in arrays.items()
            }
            found = run(part)
            for row in range(min(size, count - start)):
                yield {str(at): _row(value, row, size) for at, value in found.items()}


def _filled(array: Array, size: int) -> Array:
    lacking = size - len(array)
    return np.concatenate([array, np.repeat(array[-1:], lacking, axis=0)]) if lacking else array


def _row(value: Array, row: int, size: int) -> Array:
    """One sample's value [1, …]; a tensor without a batch axis belongs to every sample."""
    if value.ndim and len(value) == size:
        return np.asarray(value[row : row + 1], np.float32)
    return np.asarray(value[np.newaxis], np.float32)


class Values:
    """Values of one model's taps, read when they are asked for."""

    def __init__(self, directory: Path) -> None:
        self._paths = sorted(directory.glob("*.npz"))

    def __len__(self) -> int:
        """The number of samples."""
        return len(self._paths)

    def has(self, position: int) -> bool:
        """Whether the values of a tap were asked for."""
        with np.load(self._paths[0], allow_pickle=False) as stored:
            return str(position) in stored["names"].tolist()

    def all_of(self, position: int) -> Array:
        """The values [n, …] of one tap."""
        return np.concatenate([self.of(sample, position) for sample in range(len(self))])

    def of(self, sample: int, position: int) -> Array:
        """The value [1, …] of one tap for one sample."""
        with np.load(self._paths[sample], allow_pickle=False) as stored:
            at = stored["names"].tolist().index(str(position))
            return np.asarray(stored[f"a{at}"])


def positions(wanted: Sequence[int] | None, count: int) -> list[int]:
    """The taps that are wanted; None for all of them."""
    return list(range(count)) if wanted is None else [int(at) for at in wanted]
