"""Reads `.npz` data in chunks, without loading a whole array and without pickle.

Keys: x_train, y_train, x_val, y_val, x_calib, x_test, y_test, or x and y alone; with several
inputs `x_test.NAME`. An npz file is a zip of .npy members (NEP 1): a header, then the samples.
"""

from __future__ import annotations

import contextlib
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgekit import data_reading, hashing
from edgekit.data_checks import (
    by_input_name,
    check_dtype,
    check_finite,
    fit,
    sample_shape,
    shape_text,
)
from edgekit.data_reading import Numbers
from edgekit.errors import DataError
from edgekit.types import ROLES, Batch, Role, TensorSpec

_CHUNK_BYTES = 1 << 20
_LABELS_BYTES = 64 << 20
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError, EOFError,
    OSError, OverflowError, RuntimeError, SyntaxError, ValueError,
)  # fmt: skip
"""What zipfile and numpy raise for damaged, encrypted or exotic archives."""


class Member(NamedTuple):
    """One array in the archive."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


class Pool(NamedTuple):
    """The arrays of one role, by input name."""

    x: dict[str, Member]
    y: Member | None


@dataclass(frozen=True)
class NpzReader:
    """See `edgekit.data_reading.Reader`."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    members: Mapping[Role, Pool]
    notes: tuple[str, ...]

    @property
    def pools(self) -> dict[Role, int | None]:
        """The samples of each role in the file."""
        return {role: self.count(role) for role in self.members}

    def count(self, pool: Role) -> int:
        """The samples of a role, from the header."""
        return next(iter(self.members[pool].x.values())).shape[0]

    def read(self, pool: Role, wanted: Numbers | None) -> Iterator[Batch]:
        """Streams samples in order."""
        found = self.members[pool]
        members = [*found.x.values(), *([found.y] if found.y else [])]
        rows = _chunk_rows(members)
        with _archive(self.path) as archive, contextlib.ExitStack() as stack:
            streams = [_rows(archive, stack, member, rows) for member in members]
            for start in range(0, self.count(pool), rows):
                if data_reading.past_last(wanted, start):
                    return
                with _explained(self.path):
                    arrays = [next(stream) for stream in streams]
                chosen = data_reading.within(wanted, start, start + len(arrays[0]))
                if len(chosen):
                    yield self._batch(found, [array[chosen] for array in arrays], chosen + start)

    def labels(self, pool: Role) -> NDArray[np.generic] | None:
        """All labels of a role, unless they are as large as images."""
        member = self.members[pool].y
        if member is None or math.prod(member.shape) * member.dtype.itemsize > _LABELS_BYTES:
            return None
        with (
            _archive(self.path) as archive,
            contextlib.ExitStack() as stack,
            _explained(self.path),
        ):
            return next(_rows(archive, stack, member, member.shape[0]))

    def fingerprints(self, pool: Role, limit_bytes: int) -> NDArray[np.uint64]:
        """A hash of each sample."""
        return data_reading.fingerprint(self.read(pool, None), limit_bytes)

    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashing.sha256_file(self.path)

    def _batch(self, pool: Pool, arrays: list[NDArray[np.generic]], numbers: Numbers) -> Batch:
        keys = [member.key for member in pool.x.values()]
        parts = zip(self.inputs, keys, arrays[: len(keys)], strict=True)
        x = {spec.name: fit(array, spec, key, numbers) for spec, key, array in parts}
        if pool.y is None:
            return Batch(x)
        check_finite(arrays[-1], pool.y.key, numbers)
        return Batch(x, arrays[-1])


def open_npz(path: Path, inputs: Sequence[TensorSpec]) -> NpzReader:
    """Reads the headers, and checks names, shapes, types and lengths against the model.

    Raises:
        DataError: The file is no npz, is damaged, or does not fit.
    """
    with _archive(path) as archive:
        names = archive.namelist()
        keys = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        members: dict[Role, Pool] = {}
        for role, prefix in _prefixes(keys).items():
            chosen = [key for key in keys if key == f"x{prefix}" or key.startswith(f"x{prefix}.")]
            label_keys = [key for key in keys if key == f"y{prefix}"]
            found = {key: _header(archive, key, path) for key in (*chosen, *label_keys)}
            members[role] = _pool(found, prefix, inputs)
    if not members:
        raise DataError(
            f"{path} has no x_train, x_val, x_calib, x_test or x; "
            f"it has: {', '.join(keys[:12]) or 'no arrays'}",
            "np.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…), or --data file.py:function",
        )
    return NpzReader(path, tuple(inputs), members, _notes(members, keys))


def _prefixes(keys: list[str]) -> dict[Role, str]:
    bases = {key.split(".", 1)[0] for key in keys}
    found: dict[Role, str] = {role: f"_{role}" for role in ROLES if f"x_{role}" in bases}
    return found if found or "x" not in bases else {"test": ""}


def _pool(found: dict[str, Member], prefix: str, inputs: Sequence[TensorSpec]) -> Pool:
    base = f"x{prefix}"
    x = _by_name(found, base, inputs)
    y = found.get(f"y{prefix}")
    pairs = list(zip(inputs, x.values(), strict=True))
    for spec, member in pairs:
        check_dtype(member.dtype, member.key)
        sample_shape(member.shape, spec, member.key)
    if y is not None:
        check_dtype(y.dtype, y.key)
    lengths = {member.key: member.shape[:1] for member in (*x.values(), *([y] if y else []))}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} {size[0] if size else 'none'}" for key, size in lengths.items())
        raise DataError(f"different numbers of samples: {told}", "save as many labels as samples")
    return Pool(x, y)


def _by_name(
    found: dict[str, Member], base: str, inputs: Sequence[TensorSpec]
) -> dict[str, Member]:
    named = {key[len(base) + 1 :]: found[key] for key in found if key.startswith(f"{base}.")}
    if base not in found:
        return by_input_name(named, inputs, f"{base}.NAME")
    if len(inputs) > 1 or named:
        wanted = ", ".join(f"{base}.{spec.name}" for spec in inputs)
        raise DataError(
            f"{base} is one array; the model has {len(inputs)} inputs",
            f"save one array for each: {wanted}",
        )
    return {inputs[0].name: found[base]}


def _notes(members: Mapping[Role, Pool], keys: list[str]) -> tuple[str, ...]:
    used = [m for pool in members.values() for m in (*pool.x.values(), *filter(None, [pool.y]))]
    ignored = [key for key in keys if key not in {member.key for member in used}]
    whole = [member.key for member in used if member.fortran]
    return (
        *([f"ignored keys: {', '.join(ignored[:12])}"] if ignored else []),
        *([f"in Fortran order, so read whole: {', '.join(whole)}"] if whole else []),
    )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with contextlib.ExitStack() as stack:
        with _explained(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
        yield archive


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(*_explanation(path, error)) from None


def _explanation(path: Path, error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError) and error.errno:
        return f"cannot read {path}: {error.strerror}", "check the file and its permissions"
    with path.open("rb") as handle:
        start = handle.read(6)
    if start.startswith(b"\x93NUMPY"):
        return f"{path} is a single .npy array", "save it with np.savez(FILE, x=…, y=…)"
    if not start.startswith(b"PK"):
        return f"{path} is not an .npz file (not a zip archive)", "save it with np.savez"
    detail = str(error)[:160] or type(error).__name__
    return f"{path} is truncated or damaged: {detail}", "copy or save it again"


def _header(archive: zipfile.ZipFile, key: str, path: Path) -> Member:
    with _explained(path), archive.open(f"{key}.npy") as stream:
        member = _parse_header(stream, key)
        size_bytes = math.prod(member.shape) * member.dtype.itemsize
        stored_bytes = archive.getinfo(f"{key}.npy").file_size - stream.tell()
        if not member.dtype.hasobject and size_bytes != stored_bytes:
            raise ValueError(
                f"{key} {shape_text(member.shape)} needs {size_bytes} bytes and has {stored_bytes}"
            )
    return member


def _parse_header(stream: IO[bytes], key: str) -> Member:
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{key} is in .npy version {version}; 1.0 and 2.0 hold plain numbers")
    with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 wrote
        shape, fortran, dtype = readers[version](stream)
    if any(size < 0 for size in shape):
        raise ValueError(f"{key} has the shape {shape}")
    return Member(key, shape, dtype, fortran and len(shape) > 1)


def _rows(
    archive: zipfile.ZipFile, stack: contextlib.ExitStack, member: Member, rows: int
) -> Iterator[NDArray[np.generic]]:
    stream = stack.enter_context(archive.open(f"{member.key}.npy"))
    if member.fortran:
        whole = npy.read_array(stream, allow_pickle=False)
        yield from (whole[start : start + rows] for start in range(0, len(whole), rows))
        return
    _parse_header(stream, member.key)
    sample_bytes = member.dtype.itemsize * math.prod(member.shape[1:])
    for start in range(0, member.shape[0], rows):
        count = min(rows, member.shape[0] - start)
        data = stream.read(count * sample_bytes)
        if len(data) != count * sample_bytes:
            raise EOFError(f"{member.key} ends at sample {start + len(data) // sample_bytes}")
        yield np.frombuffer(data, dtype=member.dtype).reshape(count, *member.shape[1:])


def _chunk_rows(members: Sequence[Member]) -> int:
    # Samples become float32, so a byte of the file may be four bytes here.
    widest = max(max(4, m.dtype.itemsize) * math.prod(m.shape[1:]) for m in members)
    return max(1, min(1024, _CHUNK_BYTES // max(1, widest)))
