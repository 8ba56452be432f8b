"""Samples on disk, written once and then read at any place: memory-mapped, never whole in memory.

Values that are all whole numbers from 0 to 255, as those of images are, are kept as uint8: a
quarter of the disk and of the page cache. They are read as they were written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.data_checks import shape_text
from edgekit.errors import DataError
from edgekit.types import Batch

Array = NDArray[Any]
INDEX = "index.json"
_CHUNK_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Column:
    """One array [count, …] on disk, and the type that it is read as."""

    stored: Array
    dtype: np.dtype[Any]

    def __getitem__(self, numbers: Array) -> Array:
        """Samples by number."""
        picked: Array = self.stored[numbers]
        return picked.astype(self.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Spooled:
    """Samples: inputs by name, and labels if there are."""

    count: int
    x: dict[str, Column]
    y: Array | None


class _Stored(msgspec.Struct, frozen=True):
    """One array's file: whose it is (None: the labels), and how it is written and read."""

    name: str | None
    shape: tuple[int, ...]
    stored: str
    dtype: str


class Spool:
    """Takes batches one after the other; `done` samples so far."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._columns: list[_Writer] = []
        self._names: list[str] = []
        self._labelled = False
        self.done = 0
        self.spooled: Spooled | None = None

    def write(self, batch: Batch) -> None:
        """Appends a batch.

        Raises:
            DataError: Its samples are not like those before.
            OSError: The disk is full.
        """
        arrays = [*batch.x.values(), *([] if batch.y is None else [batch.y])]
        if not self._columns:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._names, self._labelled = list(batch.x), batch.y is not None
            self._columns = [
                _Writer(self._directory / f"{place}.raw", array, packs=place < len(batch.x))
                for place, array in enumerate(arrays)
            ]
        if len(arrays) != len(self._columns):
            raise DataError(
                "some batches of the train role have labels and some have none",
                "give y with every batch, or with none",
            )
        for column, array in zip(self._columns, arrays, strict=True):
            column.append(array)
        self.done += len(arrays[0])

    def finish(self) -> Spooled:
        """What was written, to be read."""
        columns = [column.mapped() for column in self._columns]
        self._write_index(columns)
        y = columns.pop().stored if self._labelled else None
        self.spooled = Spooled(self.done, dict(zip(self._names, columns, strict=True)), y)
        return self.spooled

    def _write_index(self, columns: list[Column]) -> None:
        """What another process has to know to read the files; see `reopen`."""
        names = [*self._names, *([None] if self._labelled else [])]
        stored = [
            _Stored(name, one.stored.shape, one.stored.dtype.str, one.dtype.str)
            for name, one in zip(names, columns, strict=True)
        ]
        (self._directory / INDEX).write_bytes(msgspec.json.encode(stored))


def reopen(directory: Path) -> Spooled:
    """What a finished spool holds, in whichever process."""
    index = msgspec.json.decode((directory / INDEX).read_bytes(), type=list[_Stored])
    x: dict[str, Column] = {}
    y = None
    for place, one in enumerate(index):
        array = np.memmap(directory / f"{place}.raw", np.dtype(one.stored), "r", shape=one.shape)
        if one.name is None:
            y = array
        else:
            x[one.name] = Column(array, np.dtype(one.dtype))
    return Spooled(index[0].shape[0], x, y)


class _Writer:
    def __init__(self, path: Path, first: Array, *, packs: bool) -> None:
        self._path = path
        self._shape, self._dtype = first.shape[1:], first.dtype
        self._packed = packs and first.dtype == np.float32
        self._count = 0

    def append(self, array: Array) -> None:
        if array.shape[1:] != self._shape or array.dtype != self._dtype:
            raise DataError(
                "training samples have to be alike: one batch is"
                f" {shape_text(('n', *self._shape))} {self._dtype}, another"
                f" {shape_text(('n', *array.shape[1:]))} {array.dtype}",
                "pad or crop them to one shape, and keep one type",
            )
        if self._packed and not _fits_uint8(array):
            self._unpack()
        kept = array.astype(np.uint8) if self._packed else array
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(kept).data)
        self._count += len(array)

    def mapped(self) -> Column:
        dtype = np.dtype(np.uint8) if self._packed else self._dtype
        shape = (self._count, *self._shape)
        return Column(np.memmap(self._path, dtype, "r", shape=shape), self._dtype)

    def _unpack(self) -> None:
        """What was kept as uint8 so far turns out to need its own type."""
        packed = self._path.with_suffix(".packed")
        if self._count:
            column = self.mapped()
            self._path.rename(packed)
            with self._path.open("wb") as file:
                for start in range(0, self._count, _CHUNK_SAMPLES):
                    stop = min(start + _CHUNK_SAMPLES, self._count)
                    file.write(np.ascontiguousarray(column[np.arange(start, stop)]).data)
            packed.unlink()
        self._packed = False


def _fits_uint8(array: Array) -> bool:
    if array.size == 0 or not (array.min() >= 0 and array.max() <= 255):
        return False
    return bool((array == np.floor(array)).all()) and not bool((np.signbit(array)).any())
