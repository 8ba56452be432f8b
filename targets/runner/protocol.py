"""How the runner and its client talk: one JSON job comes in, framed JSON lines go out.

A frame is `@edgekit:TOKEN {…}` on a line of its own. The job brings the token, drawn at random,
so that nothing a shell or a library prints can be mistaken for a frame.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
from typing import Any

PREFIX = "@edgekit:"

_PR_SET_PDEATHSIG = 1
_CLIENT_IS_GONE = 3


class RunnerError(Exception):
    """A failure that the client shows as one line.

    Args:
        message: What was wrong, and the value that came.
        fix: What to type or change next.
        about: What is at fault: "artifact", "data" or "device".
    """

    def __init__(self, message: str, fix: str = "", about: str = "artifact") -> None:
        super().__init__(message)
        self.about = about
        self.message = " ".join(message.split())
        self.fix = " ".join(fix.split())


class Channel:
    """The way back to the client. Takes standard output for itself.

    Whatever else writes to file descriptor 1 from now on, C++ included, goes to standard error.
    """

    def __init__(self, token: str) -> None:
        self._lead = (PREFIX + token + " ").encode()
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        self._write(b"\n")  # ends a line that a login shell may have left open

    def send(self, frame: dict[str, Any]) -> None:
        """Sends one frame; a client that has gone ends this process."""
        self._write(self._lead + json.dumps(frame).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except BrokenPipeError:
            os._exit(_CLIENT_IS_GONE)


def read_job() -> dict[str, Any]:
    """The job: one line of JSON on standard input, which the client then keeps open."""
    with open(0, "rb", buffering=0, closefd=False) as stream:
        line = stream.readline()
    job: dict[str, Any] = json.loads(line)
    return job


def end_with_client() -> None:
    """Ends this process as soon as the client closes our standard input, however it came to that.

    A dropped connection raises nothing on this side: the end of the input is all there is.
    """
    threading.Thread(target=_wait_for_end_of_input, daemon=True).start()


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent ends; elsewhere the open input has to do."""
    library = ctypes.CDLL(None)
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_CLIENT_IS_GONE)
