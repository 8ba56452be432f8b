"""The two streams: the result goes to stdout, progress and errors go to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from edgekit.errors import OutputError

BAR_CELLS = 24


class Say(Protocol):
    """Says on stderr what is being done."""

    def __call__(self, message: str, /) -> None:
        """One message."""

    def bar(self, share: float, text: str) -> None:
        """How much of a piece of work is done, 0 to 1; shown on a terminal only."""


def write_result(text: str) -> None:
    """Writes a result to stdout and flushes it; a reader that has left (`| head`) is no error.

    Raises:
        OutputError: stdout is closed, or what it leads to cannot be written.
    """
    # A process that was started with a closed stdout has None there, whatever typeshed says.
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise OutputError("stdout is closed", "send it somewhere: edgekit … > FILE")
    try:
        _write(stream, text)
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        raise OutputError(
            f"cannot write the result to stdout: {error.strerror}",
            "send stdout somewhere with space",
        ) from None


def write_note(text: str) -> None:
    """Writes one line to stderr. Where nobody can read it, it is dropped: the work goes on."""
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        _write(stream, printable(text) + "\n")
    except OSError:
        _discard(stream)


def printable(text: str) -> str:
    """Text on one line, with control characters escaped: a file name must not steer a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


@contextlib.contextmanager
def progress(verbosity: int) -> Iterator[Say]:
    """Yields what says on stderr what is being done.

    One live line on a terminal, on which only messages that start with "warning" stay; a plain
    line per message elsewhere; nothing with `-q`. With `-v` each message stays, with the seconds
    since the start.
    """
    stream: TextIO | None = sys.stderr
    if verbosity < 0 or stream is None:
        yield _Lines(lambda _message: None)
    elif stream.isatty():
        with _live_line(verbosity) as say:
            yield say
    else:
        yield _Lines(_timed(write_note) if verbosity > 0 else write_note)


class _Lines:
    """A line per message, and no bars."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def __call__(self, message: str, /) -> None:
        self._write(message)

    def bar(self, share: float, text: str) -> None:
        """Nothing: a log is no place for a bar."""


class _LiveLine:
    """One line of a terminal that changes; `keep` writes one that stays."""

    def __init__(
        self, update: Callable[[str], None], keep: Callable[[str], None], verbosity: int
    ) -> None:
        self._update = update
        self._keep = keep
        self._keep_timed = _timed(keep)
        self._verbosity = verbosity

    def __call__(self, message: str, /) -> None:
        line = printable(message)
        self._update(line)
        if self._verbosity > 0:
            self._keep_timed(line)
        elif line.startswith("warning"):
            self._keep(line)

    def bar(self, share: float, text: str) -> None:
        """Draws the share before the text."""
        full = round(min(max(share, 0.0), 1.0) * BAR_CELLS)
        self._update(f"{'━' * full}{'─' * (BAR_CELLS - full)} {share:4.0%} {printable(text)}")


@contextlib.contextmanager
def _live_line(verbosity: int) -> Iterator[Say]:
    from rich.console import Console  # noqa: PLC0415 `edgekit --help` must not pay for rich
    from rich.text import Text  # noqa: PLC0415

    console = Console(stderr=True)
    with console.status(Text("")) as status:
        yield _LiveLine(
            lambda line: status.update(Text(line)),
            lambda line: console.print(Text(line)),
            verbosity,
        )


def _timed(say: Callable[[str], None]) -> Callable[[str], None]:
    start_s = time.monotonic()
    return lambda message: say(f"[{time.monotonic() - start_s:6.1f} s] {message}")


def _write(stream: TextIO, text: str) -> None:
    # A terminal that is not UTF-8 shows `\xb5s` for "µs" rather than ending in a traceback.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _discard(stream: TextIO) -> None:
    # What is still buffered would fail once more when the interpreter exits.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
