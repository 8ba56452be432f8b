"""What TensorRT timed while it built engines here, kept for the next build on this device."""

from __future__ import annotations

import contextlib
import os
from typing import Any


def place(version: str, compute_capability: str) -> str:
    """The file for a version and a kind of GPU, in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = "timing-%s-sm%s.cache" % (version, compute_capability.replace(".", ""))
    return os.path.join(base, "edgekit", "tensorrt", name)


def give(config: Any, path: str) -> None:
    """Gives a build what earlier ones timed.

    A file that TensorRT does not take (another driver's) is left behind, and a new one begun.
    """
    known = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        known = file.read()
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep(config: Any, path: str) -> bool:
    """Writes what was timed, whole or not at all; says whether the device had a place for it."""
    cache = config.get_timing_cache()
    content = bytes(memoryview(cache.serialize()))
    part = "%s.%d" % (path, os.getpid())
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(part, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        return False
    return True
