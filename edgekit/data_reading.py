"""What the readers of npz files, image directories and functions have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.types import Batch, Role

Numbers = NDArray[np.intp]
"""Sample numbers within a pool, ascending."""


class Reader(Protocol):
    """One `--data` source. Its *pools* are the roles that it gives itself."""

    @property
    def pools(self) -> Mapping[Role, int | None]:
        """The samples of each pool, None where they were not counted yet."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how this source is read."""

    def count(self, pool: Role) -> int:
        """The samples of a pool, read once where there is no other way to know."""

    def read(self, pool: Role, wanted: Numbers | None) -> Iterator[Batch]:
        """Streams raw samples in order, in chunks of any size.

        Args:
            pool: One of `pools`.
            wanted: The numbers of the samples, ascending; None for all.
        """

    def labels(self, pool: Role) -> NDArray[np.generic] | None:
        """All labels of a pool where they cost little to read, else None."""

    def fingerprints(self, pool: Role, limit_bytes: int) -> NDArray[np.uint64]:
        """A hash of each sample from the first on, 0 for constant ones.

        Ends after about limit_bytes were read, so it may be shorter than the pool.
        """

    def sha256(self) -> str:
        """The identity of everything that is read."""


def within(wanted: Numbers | None, start: int, stop: int) -> Numbers:
    """Which of the samples [start, stop) are wanted, counted from start."""
    if wanted is None:
        return np.arange(stop - start)
    first, last = np.searchsorted(wanted, [start, stop])
    return wanted[first:last] - start


def past_last(wanted: Numbers | None, start: int) -> bool:
    """Whether no sample from start on is wanted."""
    return wanted is not None and (len(wanted) == 0 or start > int(wanted[-1]))


def rebatch(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cuts and joins batches of any size to batches of one size; the last may be smaller."""
    held: list[Batch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch_length(batch)
        while count >= size:
            joined = join(held)
            yield cut(joined, 0, size)
            count -= size
            held = [cut(joined, size, size + count)] if count else []
    if held:
        yield join(held)


def join(batches: list[Batch]) -> Batch:
    """Batches joined along the first axis."""
    if len(batches) == 1:
        return batches[0]
    x = {name: np.concatenate([batch.x[name] for batch in batches]) for name in batches[0].x}
    labels = [batch.y for batch in batches if batch.y is not None]
    return Batch(x, np.concatenate(labels) if labels else None)


def cut(batch: Batch, start: int, stop: int) -> Batch:
    """The samples [start, stop) of a batch."""
    return take(batch, slice(start, stop))


def take(batch: Batch, rows: slice | Numbers) -> Batch:
    """Some samples of a batch."""
    y = None if batch.y is None else batch.y[rows]
    return Batch({name: array[rows] for name, array in batch.x.items()}, y)


def batch_length(batch: Batch) -> int:
    """The number of samples."""
    return len(next(iter(batch.x.values())))


def fingerprint(batches: Iterable[Batch], limit_bytes: int) -> NDArray[np.uint64]:
    """A hash of each sample's inputs, 0 for samples whose values are all equal."""
    found: list[int] = []
    read_bytes = 0
    for batch in batches:
        count = batch_length(batch)
        arrays = [np.ascontiguousarray(a).reshape(count, -1) for a in batch.x.values()]
        # Silence, or an empty image: equal without being a copy.
        flat = np.all([(array == array[:, :1]).all(axis=1) for array in arrays], axis=0)
        views = [array.view(np.uint8) for array in arrays]
        found += [0 if flat[row] else _hash(views, row) for row in range(count)]
        read_bytes += sum(array.nbytes for array in arrays)
        if read_bytes >= limit_bytes:
            break
    return np.array(found, dtype=np.uint64)


def _hash(views: list[NDArray[np.uint8]], row: int) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for view in views:
        digest.update(view[row])
    return int.from_bytes(digest.digest(), "little")
