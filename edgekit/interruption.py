"""Ctrl-C and SIGTERM as exceptions, so that `finally` removes children and staging directories."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

IMPATIENCE_S = 1.0
"""A second Ctrl-C within this time is the first one, typed twice; it must not stop the cleaning."""

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class TerminationSignal(BaseException):
    """Raised by SIGTERM and SIGHUP.

    Like KeyboardInterrupt it is no Exception, so that nothing on the way takes it for a failure
    of the step at hand and goes on.
    """


class _Raise:
    """A signal handler that raises, and ignores an impatient second signal."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < IMPATIENCE_S:
            return
        self._last_s = now_s
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise TerminationSignal(signal.Signals(number).name)


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Within, SIGINT raises KeyboardInterrupt, SIGTERM and SIGHUP raise TerminationSignal.

    A signal that the caller has set to be ignored (nohup, a shell's background job) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python sets handlers in the main thread only
        return
    handler = _Raise()
    wanted = [one for one in _HANDLED if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, handler) for one in wanted}
    try:
        yield
    finally:
        for one, previous in before.items():
            signal.signal(one, previous)
