"""Samples and outputs as files: a directory of numbered `.npz`, each with arrays by tensor name.

Worker processes and the runner read and write the same form, so that data is streamed and never
held whole, and nothing but arrays (no pickle) crosses between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


def write(directory: Path, batches: Iterable[Mapping[str, NDArray[np.generic]]]) -> int:
    """Writes batches (arrays of shape [n, …] by tensor name); returns the number of samples."""
    directory.mkdir(parents=True, exist_ok=True)
    samples = 0
    for number, batch in enumerate(batches):
        # Arrays are stored under positions: a tensor's name may hold "/" or exceed a file name.
        stored = {f"a{index}": array for index, array in enumerate(batch.values())}
        names = np.array(list(batch), dtype=np.str_)
        np.savez(directory / f"{number:06d}.npz", names=names, **stored)  # type: ignore[arg-type]
        samples += len(next(iter(batch.values())))
    return samples


def read(directory: Path) -> Iterator[Arrays]:
    """Reads the batches back, in order."""
    for path in sorted(directory.glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            yield {str(name): stored[f"a{index}"] for index, name in enumerate(stored["names"])}


def read_all(directory: Path) -> Arrays:
    """All batches joined along the first axis."""
    batches = list(read(directory))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
