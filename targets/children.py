"""Child processes that end with what they were started for, from whatever thread that ends.

Ctrl-C reaches the main thread alone. The threads that drive devices hold their children on a leash,
and when the main thread pulls it, each of them sees its child die and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO


class Leash:
    """The children that some threads have at this moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[subprocess.Popen[bytes]] = set()
        self._pulled = False

    def pull(self) -> None:
        """Ends every child, and from now on each new one at once."""
        with self._lock:
            self._pulled = True
            for child in self._held:
                _kill(child)

    def take(self, child: subprocess.Popen[bytes]) -> None:
        """Holds a child that has just been started."""
        with self._lock:
            self._held.add(child)
            if self._pulled:
                _kill(child)

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """Ends a child with its whole group, and lets go of it."""
        with self._lock:
            _kill(child)
            self._held.discard(child)


LEASH: ContextVar[Leash | None] = ContextVar("leash", default=None)
"""What the children of this thread are held on; a thread sets its own."""


@contextlib.contextmanager
def child(
    command: Sequence[str],
    *,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    directory: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, ended with its whole group afterwards."""
    leash = LEASH.get() or Leash()
    started = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=directory,
        start_new_session=True,  # Ctrl-C goes to the parent alone, which then ends the child
    )
    try:
        leash.take(started)
        yield started
    finally:
        leash.end(started)
        started.wait()
        for stream in (started.stdin, started.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills a child's group, of which some may be left where the child itself was waited for.

    No other process gets the group's id as long as one of them is left. Where none is, the group is
    not found, unless the system has since used up all other ids and another group has this one.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
