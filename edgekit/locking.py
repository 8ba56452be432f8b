"""Locks between processes: the system frees them however their holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

POLL_S = 0.05


class Stopped(Exception):
    """The wait for a lock was given up, since the run ends."""


@contextlib.contextmanager
def locked(
    path: Path,
    *,
    stopped: Callable[[], bool] = lambda: False,
    on_wait: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Holds the lock that a file stands for; the file is made if it is not there.

    Args:
        path: The file. Whoever holds the lock may remove it.
        stopped: Asked while waiting whether to give up.
        on_wait: Called once, when somebody else has the lock.

    Raises:
        Stopped: `stopped` said so.
    """
    waiting = False
    while (descriptor := attempt(path)) is None:
        if stopped():
            raise Stopped
        if not waiting:
            on_wait()
        waiting = True
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def attempt(path: Path) -> int | None:
    """Takes a lock if nobody has it: the descriptor that holds it until it is closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if hold(descriptor) and _is(descriptor, path):
            kept, descriptor = descriptor, -1
            return kept
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def hold(descriptor: int) -> bool:
    """Locks an open file or directory; False where somebody else has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(descriptor: int, path: Path) -> bool:
    """Whether the file was not removed, or replaced, between being opened and being locked."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
