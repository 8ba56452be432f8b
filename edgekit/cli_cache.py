"""`edgekit cache`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit import cache_directory, options, printing, printing_run, store
from edgekit.cache_types import CacheEntry, CacheReport
from edgekit.commands import CommandGroup
from edgekit.errors import OutputError
from edgekit.store import Store

_DIRECTORY = click.option(
    "--cache-dir",
    type=options.path,
    metavar="DIR",
    help="The cache that `edgekit run --cache-dir` uses. Default: in the user's cache.",
)


@click.group("cache", cls=CommandGroup)
def cache() -> None:
    """What edgekit run keeps for the next time."""


@cache.command("ls")
@_DIRECTORY
@options.common
def ls(common: options.Common, cache_dir: Path | None) -> None:
    """List what the cache holds, the most recently used first."""
    kept = _opened(cache_dir)
    _show(common, kept, ())


@cache.command(
    "gc",
    epilog="""\b
Examples:
  edgekit cache gc
  edgekit cache gc --max-size 500MB""",
)
@click.option(
    "--max-size",
    "max_bytes",
    type=options.size,
    default=store.DEFAULT_MAX_BYTES,
    show_default="10 GB",
    metavar="SIZE",
    help="What may stay: a number of bytes, or as in 500MB; 0 empties the cache.",
)
@_DIRECTORY
@options.common
def gc(common: options.Common, max_bytes: int, cache_dir: Path | None) -> None:
    """Remove what was not used for the longest time, until the rest is small enough.

    What a run is making or taking just now stays.
    """
    kept = _opened(cache_dir)
    removed = kept.excess(max_bytes) if common.dry_run else kept.gc(max_bytes)
    _show(common, kept, tuple(removed))


def _opened(directory: Path | None) -> Store:
    kept = Store(directory or cache_directory.default())
    cache_directory.check(kept.directory)
    if directory and not directory.exists():
        raise OutputError(
            f"there is no cache at {directory}",
            "correct --cache-dir; edgekit cache ls without it lists the default one",
        )
    return kept


def _show(common: options.Common, kept: Store, removed: tuple[CacheEntry, ...]) -> None:
    entries = tuple(kept.entries())
    size_bytes = sum(entry.size_bytes for entry in entries)
    report = CacheReport("edgekit.cache/1", str(kept.directory), size_bytes, entries, removed)
    printing.show(report, printing_run.cache(report), as_json=common.as_json)
