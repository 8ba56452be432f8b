"""Keeps files on a device: runs there by itself, on Python 3.9 and later, one request per process.

Its source travels as the argument of `python3 -c`. A request is a line of JSON on standard input,
with the bytes of its files behind it; the answer is a framed line of JSON, likewise. What is kept
has a name made of its hash and stands in `kept/`, up to a limit; what a session needs stands in
`runs/SESSION/`, and is removed at its end, or by another session when it is a day old.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
from typing import IO, Any

Request = Any

CHUNK_BYTES = 1 << 20
STALE_S = 86400
IN_USE_S = 3600
"""What another session used within the last hour is not removed."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refused(Exception):
    """What the client has to be told."""

    def __init__(self, **body: Any) -> None:
        super().__init__(body)
        self.body = body


def survey(request: Request, _stream: IO[bytes]) -> dict[str, Any]:
    """The device: its Python, modules and place for files, which is made unless it only looks."""
    home = os.path.expanduser("~")
    venv = os.path.join(
        os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share"), "edgekit", "venv"
    )
    cache = None
    if not request["look_only"]:
        cache = find_cache(home)
        sweep(cache)
    return {
        "python": sys.executable,
        "version": platform.python_version(),
        "arch": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "modules": [name for name in request["modules"] if importlib.util.find_spec(name)],
        "cache": cache,
        "venv": venv,
        "venv_ready": os.path.exists(os.path.join(venv, request["ready"])),
        "home_writable": os.access(home, os.W_OK),
        "free_bytes": shutil.disk_usage(cache or home).free,
    }


def find_cache(home: str) -> str:
    """The user's cache directory, or a private one below the temporary directory."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    own = os.path.join(tempfile.gettempdir(), "edgekit-%d" % os.geteuid())
    tried = []
    for place in (os.path.join(base, "edgekit"), own):
        try:
            os.makedirs(place, mode=0o700, exist_ok=True)
            if place == own:
                require_private(place)
            with tempfile.TemporaryFile(dir=place):
                return place
        except OSError as error:
            if error.errno in NO_SPACE:
                return place
            tried.append("%s: %s" % (place, error.strerror or error))
    raise Refused(unwritable="; ".join(tried))


def require_private(place: str) -> None:
    """Others may have made a directory of this name in the place that all can write."""
    found = os.lstat(place)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise OSError(errno.EACCES, "is another user's, or open to others", place)


def sweep(cache: str) -> None:
    """Removes what sessions that died have left."""
    now = time.time()
    for folder in ("runs", "kept"):
        for entry in entries(os.path.join(cache, folder)):
            left = folder == "runs" or entry.name.startswith(".part-")
            if left and now - entry.stat().st_mtime > STALE_S:
                shutil.rmtree(entry.path, ignore_errors=True)


def have(request: Request, _stream: IO[bytes]) -> dict[str, Any]:
    """Whether an entry is there with files of these sizes; it counts as used now."""
    place = os.path.join(request["cache"], request["entry"])
    try:
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(place)}
        os.utime(place)
    except OSError:
        return {"have": False}
    return {"have": sizes == {name: size for name, size, _ in request["files"]}}


def put(request: Request, stream: IO[bytes]) -> dict[str, Any]:
    """Takes files into an entry that appears whole or not at all."""
    place = os.path.join(request["cache"], request["entry"])
    parent = os.path.dirname(place)
    needed = sum(size for _, size, _ in request["files"])
    part = None
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        make_room(request["cache"], needed, request["limit_bytes"])
        part = tempfile.mkdtemp(prefix=".part-", dir=parent)
        for name, size, digest in request["files"]:
            receive(stream, os.path.join(part, os.path.basename(name)), size, digest)
        settle(part, place, request["keep"])
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        free = shutil.disk_usage(request["cache"]).free
        raise Refused(full=request["cache"], free_bytes=free, needed_bytes=needed) from None
    finally:
        if part and os.path.isdir(part):
            shutil.rmtree(part, ignore_errors=True)
    return {"place": place}


def settle(part: str, place: str, keep: bool) -> None:
    """Gives a whole entry its name, where one may be already.

    What is kept is named by its hash: another writer's has the same files, and may be in use. They
    are replaced one by one, since one of them may have been damaged.
    """
    try:
        os.rename(part, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if keep:
            for name in os.listdir(part):
                os.replace(os.path.join(part, name), os.path.join(place, name))
        else:
            shutil.rmtree(place)
            os.rename(part, place)


def receive(stream: IO[bytes], path: str, size: int, digest: str) -> None:
    """Writes one file, and holds what came against its hash."""
    hashed = hashlib.sha256()
    with open(path, "wb") as file:
        while size:
            data = stream.read(min(size, CHUNK_BYTES))
            if not data:
                raise Refused(corrupt=os.path.basename(path))
            hashed.update(data)
            file.write(data)
            size -= len(data)
        file.flush()
        os.fsync(file.fileno())
    if hashed.hexdigest() != digest:
        raise Refused(corrupt=os.path.basename(path))


def make_room(cache: str, needed: int, limit: int) -> None:
    """Removes what was not used for the longest time until the new files fit."""
    kept = sorted(entries(os.path.join(cache, "kept")), key=lambda one: one.stat().st_mtime)
    sizes = {one.path: size_of(one.path) for one in kept}
    total = sum(sizes.values())
    for entry in kept:
        if total + needed <= limit and shutil.disk_usage(cache).free > needed:
            return
        if time.time() - entry.stat().st_mtime > IN_USE_S:
            shutil.rmtree(entry.path, ignore_errors=True)
            total -= sizes[entry.path]


def entries(folder: str) -> list[os.DirEntry[str]]:
    """The entries of a folder that may not be there."""
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def size_of(folder: str) -> int:
    """The bytes of the files in a folder."""
    return sum(entry.stat().st_size for entry in entries(folder))


def take(request: Request, _stream: IO[bytes]) -> tuple[dict[str, Any], list[str]]:
    """Gives the files of an entry, and their sizes in the answer."""
    place = os.path.join(request["cache"], request["entry"])
    found = sorted(entries(place), key=lambda one: one.name)
    return {"files": [(one.name, one.stat().st_size) for one in found]}, [one.path for one in found]


def remove(request: Request, _stream: IO[bytes]) -> dict[str, Any]:
    """Removes entries."""
    for name in request["entries"]:
        shutil.rmtree(os.path.join(request["cache"], name), ignore_errors=True)
    return {}


def main() -> None:
    """Reads one request and answers it."""
    stream = sys.stdin.buffer
    request = json.loads(stream.readline())
    work: Any = {"survey": survey, "have": have, "put": put, "remove": remove}
    paths: list[str] = []
    try:
        if request["do"] == "take":
            body, paths = take(request, stream)
        else:
            body = work[request["do"]](request, stream)
    except Refused as refused:
        body = {"refused": refused.body}
    except OSError as error:
        body = {"refused": {"error": "%s: %s" % (error.filename, error.strerror)}}
    out = sys.stdout.buffer
    out.write(b"\n@edgekit:%s %s\n" % (request["token"].encode(), json.dumps(body).encode()))
    for path in paths:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, out)
    out.flush()


if __name__ == "__main__":
    main()
