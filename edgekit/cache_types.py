"""The data of the cache of `edgekit run`: what lies in it, and what `edgekit cache` says.

As in `edgekit.types`: frozen, without behaviour, units in the names, None for what is not known.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.build_types import Kind


class CachedFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a cache entry."""

    name: str
    sha256: str
    size_bytes: int


class CacheRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What a cache entry says of itself: `record.json`."""

    schema: Literal["edgekit.cache-entry/1"]
    key: str
    kind: Kind
    name: str
    files: tuple[CachedFile, ...]
    gate: str | None = None


class CacheMark(Struct, frozen=True, forbid_unknown_fields=True):
    """What says that edgekit made a directory, to keep its cache there: `edgekit-cache.json`."""

    schema: Literal["edgekit.cache-directory/1"]


class CacheEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A cache entry as `edgekit cache ls` lists it; `unused_s` is the time since its last use."""

    key: str
    kind: Kind
    name: str
    size_bytes: int
    unused_s: float


class CacheReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit cache` says: the entries that are there, and those that were removed."""

    schema: Literal["edgekit.cache/1"]
    directory: str
    size_bytes: int
    entries: tuple[CacheEntry, ...]
    removed: tuple[CacheEntry, ...] = ()
