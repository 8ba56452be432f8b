"""Samples and outputs as files: a directory of numbered `.npz`, each with arrays by tensor name.

Worker processes and the runner read and write the same form, so that data is streamed and never
held whole, and nothing but arrays (no pickle) crosses between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.types import Batch

Arrays = dict[str, NDArray[np.generic]]
PART_BYTES = 64 << 20
"""Samples of a role that are on disk at a time."""


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
    return joined(list(read(directory)))


def joined(batches: Sequence[Arrays]) -> Arrays:
    """Batches, of which there is one at least, joined along the first axis."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def parts(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Batches in lists whose inputs reach PART_BYTES, the last list the rest."""
    part: list[Batch] = []
    size_bytes = 0
    for batch in batches:
        part.append(batch)
        size_bytes += sum(array.nbytes for array in batch.x.values())
        if size_bytes >= PART_BYTES:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part
