"""stdout is the result, stderr is progress."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from edgekit import streams

SCRIPT = """
import sys
from edgekit import streams
with streams.progress(int(sys.argv[1])) as say:
    say("warning: one class only")
    say("converting to int8")
    say("check\\x1b[2Jing")
streams.write_result("the result\\n")
"""


def lines(capsys: pytest.CaptureFixture[str], verbosity: int) -> list[str]:
    with streams.progress(verbosity) as say:
        say("converting to int8")
        say("checking")
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_without_a_terminal_each_message_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, 0) == ["converting to int8", "checking"]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, -1) == []


def test_verbose_adds_the_seconds_since_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = lines(capsys, 1)
    assert re.fullmatch(r"\[ +0\.\d s\] converting to int8", first)
    assert second.endswith("] checking")


def on_a_terminal(verbosity: int) -> tuple[str, str]:
    """What the script leaves on stdout, and what its terminal sees on stderr."""
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(verbosity)],
            stdout=subprocess.PIPE,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
            check=True,
        )
        os.close(slave)
        slave = -1
        seen = b""
        try:
            while part := os.read(master, 65536):
                seen += part
        except OSError:
            pass  # Linux says EIO where the other end is closed
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)
    return done.stdout.decode(), seen.decode()


def test_a_terminal_sees_one_live_line_that_is_gone_at_the_end() -> None:
    out, seen = on_a_terminal(0)
    assert out == "the result\n"
    assert "\x1b[?25l" in seen, "the cursor is hidden while the line lives"
    assert seen.rstrip().endswith("\x1b[2K"), "the line is erased"
    assert "\x1b[2Jing" not in seen, "a message cannot clear the screen"
    assert "warning: one class only\r\n" in seen, "a warning stays"
    assert "converting to int8\r\n" not in seen


def test_a_terminal_keeps_each_message_when_verbose() -> None:
    _, seen = on_a_terminal(1)
    assert re.search(r"\[ +0\.\d s\] converting to int8", seen)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b", "a b"), ("a\x1b[31m", "a\\x1b[31m"), ("a\nb\tc", "a\\nb\\tc"), ("µ·→é漢", "µ·→é漢")],
)
def test_printable_escapes_what_steers_a_terminal_and_nothing_else(text: str, shown: str) -> None:
    assert streams.printable(text) == shown
