"""Runs what can crash, or what brings a heavy framework, in a child process.

A worker holds one object of a named class and calls its methods by name; arguments and answers
are JSON, arrays travel as files. The child's own prints, C++ ones included, go to a log and never
to stdout. A crash becomes one line; the child dies with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgekit.errors import ConversionError, EdgekitError, from_wire

_FATAL = re.compile(r"check failed|fatal|terminate called|assertion|out of memory", re.IGNORECASE)
"""What a dying process says of the reason; a stack trace may follow it."""
_STACK = "Fatal Python error: "
"""What faulthandler begins its stack with; the frame of the crash comes first."""
_FRAME = re.compile(r'File "(?:[^"]*/)?([^"/]+)", line \d+ in (\S+)')


class WorkerBug(RuntimeError):
    """An unexpected exception inside a worker: carries the child's traceback."""


QUIET_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "NNCF_CI": "1",  # nncf's own switch for "send no telemetry"
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONHASHSEED": "0",
    "GRPC_VERBOSITY": "NONE",
}

KEEP_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0"
    ":glibc.malloc.trim_threshold=1099511627776:glibc.malloc.top_pad=268435456"
}
"""For a child that trains: each step takes and frees the same large tensors, and glibc otherwise
gives their pages back to the system every time, which cost a third of the CPU time."""


class Worker:
    """A child process with one object in it.

    Args:
        reference: `module:Class`; constructed in the child without arguments at the first call.
        what: What runs there, for the message when it crashes.
        limit_s: Seconds that a call may take; None for as long as it needs.
        environment: Variables of the child beyond this process's own.
        way_out: What to type after a crash, where something else may work.
    """

    def __init__(
        self,
        reference: str,
        what: str,
        limit_s: float | None = None,
        environment: Mapping[str, str] | None = None,
        way_out: str = "try it once more; if it crashes again, report it with this line",
    ) -> None:
        self._what, self._way_out = what, way_out
        self._limit_s = limit_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 closed in close()
        requests, self._requests = _pipe()
        self._answers, answers = _pipe()
        self._process = subprocess.Popen(
            # -P: a types.py in the directory that edgekit runs in must not shadow the library's.
            [sys.executable, "-P", "-m", "edgekit.worker", reference, str(requests), str(answers)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(requests, answers),
            env={**(environment or {}), **os.environ, **QUIET_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C goes to the parent alone, which then ends the child
        )
        os.close(requests)
        os.close(answers)
        self._reader = os.fdopen(self._answers, "rb")

    def call(self, method: str, /, **arguments: Any) -> Any:
        """Calls a method in the child and waits for its answer.

        Raises:
            EdgekitError: As raised in the child, or ConversionError if the child died or took
                longer than the limit.
            OSError: The operating system refused the child something (`errors.is_refusal`).
            WorkerBug: Any other exception in the child, with its traceback.
        """
        request = json.dumps({"method": method, "arguments": arguments}, default=str)
        try:
            _write_all(self._requests, request.encode() + b"\n")
            line = self._answer()
        except BrokenPipeError:
            line = b""
        if not line:
            raise self._death()
        answer = json.loads(line)
        if "error" in answer:
            raise from_wire(answer["error"])
        if "refusal" in answer:
            raise OSError(*answer["refusal"])
        if "bug" in answer:
            raise WorkerBug(f"{self._what} failed\n{answer['bug']}")
        return answer["value"]

    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def close(self) -> None:
        """Ends the child; safe to call twice."""
        if not self._reader.closed:
            os.close(self._requests)
            self._reader.close()
            self._log.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> bytes:
        if self._limit_s is not None and not _readable(self._answers, self._limit_s):
            raise ConversionError(
                f"{self._what} did not end within {self._limit_s:g} s", "try it once more"
            )
        return self._reader.readline()

    def _death(self) -> EdgekitError:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._log.seek(0)
        said, _, stack = self._log.read().decode(errors="replace").partition(_STACK)
        if frame := _FRAME.search(stack):
            how = f"{how} in {frame[1]}, {frame[2]}"
        lines = [text for text in said.splitlines() if text]
        telling = [text for text in lines if _FATAL.search(text)] or lines[-1:]
        last = f"; it said: {telling[0][:300]}" if telling else ""
        killed = code == -signal.SIGKILL
        hint = "give the machine more memory" if killed else self._way_out
        return ConversionError(f"{self._what} crashed ({how}){last}", hint)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory that is gone afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="edgekit-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _pipe() -> tuple[int, int]:
    read, write = os.pipe()
    return read, write


def _readable(descriptor: int, limit_s: float) -> bool:
    return bool(select.select([descriptor], [], [], limit_s)[0])


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
