"""The cache of `edgekit run`: outputs by the key of the stage that made them.

    edgekit-cache.json   says that edgekit made the directory; see `cache_directory`
    entries/KEY/         record.json and the files; appears whole, by one rename
    locks/KEY            held by whoever makes, takes or removes that entry
    work/NAME/           where stages write; locked by its run, removed by the next one

Whatever has another name than these is not edgekit's, and stays.

Every file is compared with its recorded SHA-256 when it is taken: what is damaged is removed, and
made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from edgekit import cache_directory, json_files, locking
from edgekit.build_types import Kind
from edgekit.cache_types import CachedFile, CacheEntry, CacheRecord
from edgekit.errors import UserError

DEFAULT_MAX_BYTES = 10_000_000_000
_RECORD, _FILES = "record.json", "files"
_SCHEMA: Final = "edgekit.cache-entry/1"
_WORK = "edgekit-stage-"
_KEY = re.compile(r"[0-9a-f]{64}")


class Store:
    """One cache directory; it is made when something is put into it.

    Everything about one key is done by who holds its lock (`locked`).
    """

    def __init__(self, directory: Path) -> None:
        """Nothing is read or made yet."""
        self.directory = directory.absolute()

    def locked(
        self,
        key: str,
        *,
        stopped: Callable[[], bool] = lambda: False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> contextlib.AbstractContextManager[None]:
        """Holds the lock of a key, so that no other run makes the same entry meanwhile."""
        cache_directory.make(self.directory)
        return locking.locked(self.directory / "locks" / key, stopped=stopped, on_wait=on_wait)

    def record(self, key: str) -> CacheRecord | None:
        """What an entry says of itself; None where there is none that can be read."""
        try:
            data = (self._entry(key) / _RECORD).read_bytes()
            found = msgspec.json.decode(data, type=CacheRecord)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return None
        return found if found.key == key and all(map(_is_plain, found.files)) else None

    def take(self, key: str, to: Path, on_damage: Callable[[str], None]) -> CacheRecord | None:
        """Copies an entry's files into a directory, and compares each with its hash.

        Args:
            key: Its lock is held.
            to: An empty directory.
            on_damage: Told what was wrong with an entry that was removed.

        Returns:
            The entry's record, or None where there is none, or none that is whole.

        Raises:
            UserError: A newer edgekit wrote it.
        """
        if not self._entry(key).exists():
            return None
        if self._is_newer(key):
            raise UserError(
                f"{self._entry(key)} was written by a newer edgekit",
                "pip install --upgrade edgekit, or name another directory with --cache-dir",
            )
        found = self.record(key)
        damage = _copy(self._entry(key) / _FILES, found.files, to) if found else "its record"
        if found is None or damage:
            on_damage(f"{self._entry(key)} is damaged ({damage}): removed, and made again")
            self.remove(key)
            return None
        with contextlib.suppress(OSError):  # a cache that cannot be written can still be read
            os.utime(self._entry(key) / _RECORD)
        return found

    def put(
        self, key: str, kind: Kind, name: str, made: Path, names: Sequence[str], gate: str | None
    ) -> None:
        """Adds an entry, or replaces it.

        Args:
            key: Its lock is held.
            kind: Of the stage.
            name: Of the stage, for people.
            made: A work directory with the files in it; they are moved.
            names: The files.
            gate: A budget of the stage's own that was not met.
        """
        files = made / "entry" / _FILES
        files.mkdir(parents=True)
        for file in names:
            (made / file).replace(files / file)
        found = tuple(
            CachedFile(file, _sha256(files / file), (files / file).stat().st_size) for file in names
        )
        record = CacheRecord(_SCHEMA, key, kind, name, found, gate)
        (files.parent / _RECORD).write_bytes(msgspec.json.encode(record))
        self.remove(key)
        self._entry(key).parent.mkdir(parents=True, exist_ok=True)
        files.parent.rename(self._entry(key))

    def remove(self, key: str) -> None:
        """Removes an entry, whose lock is held; what is half removed is no entry any more."""
        (self._entry(key) / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(self._entry(key), ignore_errors=True)

    @contextlib.contextmanager
    def work(self) -> Iterator[Path]:
        """A directory on the cache's file system, removed at the end, or by the next run.

        Raises:
            OutputError: The cache cannot be written, or is no directory that edgekit made.
        """
        cache_directory.make(self.directory)
        try:
            with locking.locked(self.directory / "work.lock"):
                self._sweep()
                place = Path(tempfile.mkdtemp(prefix=_WORK, dir=self.directory / "work"))
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
                locking.hold(descriptor)
        except OSError as error:
            raise cache_directory.unusable(self.directory, error) from None
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            os.close(descriptor)

    def entries(self) -> list[CacheEntry]:
        """Every entry, the most recently used first."""
        found = [self._listed(place.name) for place in self._places()]
        return sorted((one for one in found if one), key=lambda one: one.unused_s)

    def gc(self, max_bytes: int) -> list[CacheEntry]:
        """Removes the least recently used entries until the rest fits; none that is in use.

        Args:
            max_bytes: What the files of all entries may take.

        Returns:
            What was removed.

        Raises:
            OutputError: The directory is none that edgekit made.
        """
        cache_directory.check(self.directory)
        for place in self._places():
            if self.record(place.name) is None and not self._is_newer(place.name):
                self._removed(place.name)
        return [entry for entry in self.excess(max_bytes) if self._removed(entry.key)]

    def excess(self, max_bytes: int) -> list[CacheEntry]:
        """What `gc` would remove: the least recently used entries beyond a size."""
        kept_bytes, found = 0, []
        for entry in self.entries():
            kept_bytes += entry.size_bytes
            if kept_bytes > max_bytes:
                found.append(entry)
        return found

    def _removed(self, key: str) -> bool:
        lock = self.directory / "locks" / key
        descriptor = locking.attempt(lock)
        if descriptor is None:
            return False
        try:
            self.remove(key)
            lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return True

    def _sweep(self) -> None:
        """Removes the work of runs that were killed."""
        (self.directory / "work").mkdir(parents=True, exist_ok=True)
        for place in (self.directory / "work").glob(f"{_WORK}*"):
            if place.is_symlink() or not place.is_dir():
                continue
            with contextlib.suppress(FileNotFoundError):  # its own run removes it just now
                descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if locking.hold(descriptor):
                        shutil.rmtree(place, ignore_errors=True)
                finally:
                    os.close(descriptor)

    def _places(self) -> list[Path]:
        entries = self.directory / "entries"
        found = entries.iterdir() if entries.is_dir() else ()
        return [place for place in found if _KEY.fullmatch(place.name)]

    def _listed(self, key: str) -> CacheEntry | None:
        found = self.record(key)
        if found is None:
            return None
        try:
            used_s = (self._entry(key) / _RECORD).stat().st_mtime
        except FileNotFoundError:  # another run has just removed it
            return None
        size_bytes = sum(file.size_bytes for file in found.files)
        return CacheEntry(key, found.kind, found.name, size_bytes, max(0.0, time.time() - used_s))

    def _entry(self, key: str) -> Path:
        return self.directory / "entries" / key

    def _is_newer(self, key: str) -> bool:
        """Whether an entry says that a later version of edgekit wrote it."""
        return json_files.is_newer(self._entry(key) / _RECORD, _SCHEMA)


def _copy(source: Path, files: Sequence[CachedFile], to: Path) -> str | None:
    """Copies files and hashes what was copied; the name of the first that is not as recorded."""
    for file in files:
        try:
            shutil.copyfile(source / file.name, to / file.name)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return file.name
        if _sha256(to / file.name) != file.sha256:
            return file.name
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _is_plain(file: CachedFile) -> bool:
    """Whether a name stays in its directory: a record is a file that anybody may have written."""
    return Path(file.name).name == file.name and file.name not in ("", ".", "..")
