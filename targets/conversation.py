"""One job with one runner: the process that leads to it, and the frames among what it prints.

The process is the runner itself on this machine, and elsewhere what carries its input and output
(ssh, adb, an emulator). Its end without a last frame is a death, which the device explains.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from edgekit.errors import DeviceError, UserError
from edgekit.targets import Frame, OnFrame, children, runner_error
from edgekit.targets.runner.protocol import PREFIX

Death = Callable[[int, str], UserError]
"""What an exit code (negative: a signal) and the last line on standard error mean."""

LAST_WORDS = 300
"""Characters of a dead runner's last line that are told."""


class RunnerBug(RuntimeError):
    """An unexpected exception inside the runner: carries its traceback."""


def hold(
    command: Sequence[str],
    job: Frame,
    on_frame: OnFrame,
    *,
    what: str,
    silence_s: float,
    death: Death,
) -> None:
    """Starts a process, gives it one job, and hands over each frame but the last as it comes.

    However this ends, neither the process nor a child of it is left on this machine. The runner at
    the other end of a connection ends by itself when its input closes.

    Args:
        command: An argument list whose standard input and output are the runner's.
        job: What to do; a token is added.
        on_frame: Gets each frame.
        what: What to call the job in messages: the artifact's name.
        silence_s: Seconds without a frame after which the runner is given up.
        death: Explains an end without a last frame.

    Raises:
        ModelError, DataError, DeviceError: See `edgekit.targets.Device.run`.
        RunnerBug: The runner raised what it should not.
    """
    token = secrets.token_hex(8)
    with (
        tempfile.TemporaryFile() as log,
        children.child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as child,
    ):
        _send(child, {**job, "token": token})
        for frame in _frames(child, f"{PREFIX}{token} ".encode(), silence_s, what):
            if frame.get("done"):
                return
            _refuse(frame, what)
            on_frame(frame)
        raise death(child.wait(), last_words(log))


def _send(child: subprocess.Popen[bytes], job: Frame) -> None:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: reading its frames will tell
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()


def _frames(
    child: subprocess.Popen[bytes], lead: bytes, silence_s: float, what: str
) -> Iterator[Frame]:
    """The frames among whatever the child prints, until it closes its output."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    pending = b""
    deadline = time.monotonic() + silence_s
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            raise DeviceError(
                f"{what} gave no sign for {silence_s:g} s and was ended",
                "try a smaller model, or a machine that is less busy",
            )
        data = os.read(descriptor, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line.startswith(lead):
                deadline = time.monotonic() + silence_s
                yield json.loads(line[len(lead) :])


def _refuse(frame: Frame, what: str) -> None:
    if "error" in frame:
        body = frame["error"]
        message = body["message"] if what in body["message"] else f"{what}: {body['message']}"
        raise runner_error(body["about"], message, body["fix"])
    if "bug" in frame:
        raise RunnerBug(f"{what} failed in the runner\n{frame['bug']}")


def ended(code: int, said: str) -> str:
    """How a process ended, to stand in a message: `(SIGSEGV); its last words: …`.

    Args:
        code: Its exit code, or a signal: negative.
        said: Its `last_words`.
    """
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"({how})" + (f"; its last words: {said}" if said else "")


def last_words(log: IO[bytes]) -> str:
    """The last line of what a process wrote to its log, shortened; "" where it wrote nothing."""
    log.seek(0)
    lines = [text for text in log.read().decode(errors="replace").splitlines() if text.strip()]
    return lines[-1][:LAST_WORDS] if lines else ""
