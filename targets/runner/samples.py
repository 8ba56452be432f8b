"""Samples and outputs as files: a directory of numbered `.npz`, as edgekit's `chunks` writes it.

`names` holds the tensors' names, `a0`, `a1`, … the arrays of shape [n, …] in the same order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]


def paths(directory: str) -> list[Path]:
    """The files of a directory, in order."""
    return sorted(Path(directory).glob("*.npz"))


def read(directory: str) -> Iterator[Arrays]:
    """The batches of a directory, in order."""
    for path in paths(directory):
        yield read_one(path)


def read_one(path: Path) -> Arrays:
    """One batch: arrays of shape [n, …] by tensor name."""
    with np.load(path, allow_pickle=False) as stored:
        return {str(name): stored["a%d" % at] for at, name in enumerate(stored["names"])}


def write_one(directory: str, number: int, arrays: Arrays) -> None:
    """Writes one batch."""
    stored = {"a%d" % at: array for at, array in enumerate(arrays.values())}
    names = np.array(list(arrays), dtype=np.str_)
    np.savez(Path(directory) / ("%06d.npz" % number), names=names, **stored)  # type: ignore[arg-type]
