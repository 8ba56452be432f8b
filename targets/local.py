"""This machine as a device: the runner as a child process."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgekit.errors import DeviceError, UsageError
from edgekit.targets import Frame, OnFrame, runner_error
from edgekit.targets.runner.protocol import PREFIX

SILENCE_S = 600.0
"""Loading and the first inference send nothing while they run, and may take minutes."""

_COMMAND = (sys.executable, "-P", "-m", "edgekit.targets.runner")
"""-P: a file in the user's directory must not be imported in place of a library."""


class RunnerBug(RuntimeError):
    """An unexpected exception inside the runner: carries its traceback."""


class Local:
    """Runs each job in a fresh child process."""

    url = "local"
    is_this_machine = True

    def probe(self) -> Frame:
        """The machine and its state, as the runner describes them."""
        found: list[Frame] = []
        self.run({"kind": "probe"}, found.append)
        return found[0]

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`."""
        token = secrets.token_hex(8)
        what = Path(job["artifact"]).name if "artifact" in job else "the runner"
        with tempfile.TemporaryFile() as log, _child(log) as child:
            _send(child, {**job, "token": token})
            for frame in _frames(child, f"{PREFIX}{token} ".encode(), silence_s, what):
                if frame.get("done"):
                    return
                _refuse(frame, what)
                on_frame(frame)
            raise _death(child, log, what)


def open(url: str) -> Local:  # noqa: A001 every target has it
    """Opens this machine.

    Raises:
        UsageError: The URL says more than `local`.
    """
    if url not in ("local", "local://"):
        raise UsageError(f"device '{url}': local takes nothing after it", "type --device local")
    return Local()


@contextlib.contextmanager
def _child(log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C goes to the parent alone, which then ends the child
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]


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


def _death(child: subprocess.Popen[bytes], log: IO[bytes], what: str) -> DeviceError:
    code = child.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    log.seek(0)
    lines = [text for text in log.read().decode(errors="replace").splitlines() if text.strip()]
    last = f"; its last words: {lines[-1][:300]}" if lines else ""
    fix = (
        "give the machine more memory"
        if how == "SIGKILL"
        else "check that the file is complete; convert the model again"
    )
    return DeviceError(f"{what} crashed the runner ({how}){last}", fix)
