"""SHA-256 of files, directories and requests, remembered for large files.

The hash of a large file or directory is remembered by path, size, times and inode in the user's
cache directory, so that an unchanged model is not read again; `--rehash` forgets them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from edgekit.types import FileRef

REMEMBERED_FROM_BYTES = 4 << 20


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of plain data in canonical form (sorted keys)."""
    plain = msgspec.to_builtins(value)
    return sha256_bytes(json.dumps(plain, sort_keys=True, default=str).encode())


def sha256_file(path: Path) -> str:
    """SHA-256 of one file; a large file's is remembered."""
    status = path.stat()
    if status.st_size < REMEMBERED_FROM_BYTES:
        return sha256_bytes(path.read_bytes())

    def digest() -> str:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    return _remembered([str(path.resolve()), *_identity(status)], digest)


def forget_hashes() -> None:
    """Forgets what is remembered (`--rehash`)."""
    for path in (cache_directory() / "hashes").glob("*"):
        path.unlink(missing_ok=True)


def sha256_listing(entries: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of a sorted (name, sha256) list: the identity of several files together."""
    return sha256_json(sorted(entries))


def file_ref(path: Path) -> FileRef:
    """A file, or a directory as the listing of its files."""
    if not path.is_dir():
        return FileRef(str(path), sha256_file(path), path.stat().st_size)
    inside = sorted(entry for entry in path.rglob("*") if entry.is_file())
    states = [(entry.relative_to(path).as_posix(), *_identity(entry.stat())) for entry in inside]
    size_bytes = sum(size for _, size, *_ in states)

    def digest() -> str:
        return sha256_listing(
            (name, sha256_file(entry)) for (name, *_), entry in zip(states, inside, strict=True)
        )

    if size_bytes < REMEMBERED_FROM_BYTES:
        return FileRef(str(path), digest(), size_bytes)
    return FileRef(str(path), _remembered([str(path.resolve()), states], digest), size_bytes)


def cache_directory() -> Path:
    """Where edgekit remembers things between runs."""
    base = os.environ.get("EDGEKIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "edgekit"


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What differs, as a rule, once a file was written to: size, times and inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _remembered(identity: list[Any], compute: Callable[[], str]) -> str:
    memory = cache_directory() / "hashes" / sha256_json(identity)
    if memory.is_file() and len(known := memory.read_text()) == 64:
        return known
    digest = compute()
    _remember(memory, digest)
    return digest


def _remember(memory: Path, digest: str) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        staged = memory.with_suffix(f".{os.getpid()}")
        staged.write_text(digest)
        staged.replace(memory)
    except OSError:
        return  # a cache that cannot be written costs time, nothing else
