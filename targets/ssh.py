"""A device that is reached over ssh: a Linux board with Python 3.9 or later and a runtime.

Runner and artifact are sent once and kept there under their hash; samples and outputs live in a
directory of the session and go with it. Each job is a fresh runner, which ends when its input does.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgekit.errors import DeviceError
from edgekit.targets import (
    Frame,
    OnFrame,
    conversation,
    kept_files,
    packing,
    ssh_address,
    ssh_failures,
    ssh_python,
    ssh_setup,
)
from edgekit.targets.kept_files import Keeper, Sent
from edgekit.targets.ssh_connection import SSH_FAILED, Connection
from edgekit.targets.ssh_python import Found

SILENCE_S = 600.0
_TIDY_S = 10.0
_KEEP_STATUS = ("sh", "-c", '"$@"; exit $?', "sh")
"""sshd tells no signal that ended a command, and a shell that stays beside it does."""


class Ssh:
    """Runs each job in a fresh runner on a device."""

    is_this_machine = False
    untimed = None
    unjudged = None

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = Connection(url, ssh_address.parse(url))
        self._found: Found | None = None
        self._session = f"runs/{secrets.token_hex(8)}"
        self._places: dict[object, str] = {}
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes what the session needed there, and ends the connection."""
        if self._found and self._used and not self._connection.is_lost:
            with contextlib.suppress(DeviceError):
                self._found.keeper.remove(self._session, limit_s=_TIDY_S)
        self._connection.close()

    def probe(self) -> Frame:
        """The machine and its state, as the runner and the survey of it describe them."""
        frames: list[Frame] = []
        self.run({"kind": "probe"}, frames.append)
        facts = self._device().facts
        return {**frames[0], **{key: facts[key] for key in ssh_python.FACTS}}

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`."""
        what = Path(job["artifact"]).name if "artifact" in job else "the runner"
        found = self._device()
        if "runtime" in job:
            ssh_python.require_runtime(self.url, job["runtime"], found.facts)
        with self._carried(job, found.keeper) as there:
            conversation.hold(
                self._connection.command([*_KEEP_STATUS, *found.python, self._runner(found)]),
                there,
                on_frame,
                what=f"{what} on {self.url}",
                silence_s=silence_s,
                death=lambda code, said: self._death(code, said, what),
            )
            if "results" in job:
                found.keeper.fetch(self._own("results"), Path(job["results"]))

    def _device(self) -> Found:
        if self._found is None:
            self._found = ssh_python.find(self._connection)
        return self._found

    def _runner(self, found: Found) -> str:
        if "runner" not in self._places:
            content = packing.runner()
            name = packing.file_name(content)
            self._places["runner"] = f"{_kept(found.keeper, 'runner', [(name, content)])}/{name}"
        return self._places["runner"]

    def _artifact(self, keeper: Keeper, files: list[Sent]) -> str:
        """Where an artifact is there; it is hashed and sent once, unless its files change."""
        state = tuple(_state(path) for _, path in files)
        if state not in self._places:
            self._places[state] = _kept(keeper, "model", files)
        return self._places[state]

    @contextlib.contextmanager
    def _carried(self, job: Frame, keeper: Keeper) -> Iterator[Frame]:
        """The job with its paths as they are on the device, where the files now are too."""
        there = dict(job)
        if "artifact" in job:
            path = Path(job["artifact"])
            place = self._artifact(keeper, _artifact_files(path, job.get("siblings", ())))
            there["artifact"] = f"{place}/{path.name}"
        if job.get("samples"):
            there["samples"] = self._samples(keeper, Path(job["samples"]), once="results" in job)
        if "results" not in job:
            yield there
            return
        self._used = True
        there["results"] = f"{keeper.cache}/{self._own('results')}"
        try:
            yield there
        finally:
            if not self._connection.is_lost:
                with contextlib.suppress(DeviceError):
                    keeper.remove(self._own("results"), self._own("once"), limit_s=_TIDY_S)

    def _samples(self, keeper: Keeper, directory: Path, *, once: bool) -> str:
        """Sends samples; the one that every timed process is fed stays until the session's end."""
        files: list[Sent] = [(path.name, path) for path in sorted(directory.glob("*.npz"))]
        self._used = True
        if once:
            return keeper.send(self._own("once"), files)
        name = self._own(f"samples-{kept_files.digest(files)}")
        if name not in self._places:
            self._places[name] = keeper.send(name, files)
        return self._places[name]

    def _own(self, name: str) -> str:
        return f"{self._session}/{name}"

    def _death(self, code: int, said: str, what: str) -> DeviceError:
        if code == SSH_FAILED or code < 0:
            self._connection.is_lost = code == SSH_FAILED  # else it was ended here
            return ssh_failures.lost(self._connection.peer, what)
        number = code - 128  # how a shell tells a signal
        how = conversation.ended(-number if number in set(signal.Signals) else code, said)
        fix = (
            "give the device more memory, or choose a smaller model"
            if number == signal.SIGKILL
            else f"check that the file is complete, and the runtime there: edgekit device setup"
            f" {self.url}"
        )
        return DeviceError(f"{what} crashed the runner on {self.url} {how}", fix)


def open(url: str) -> Ssh:  # noqa: A001 every target has it
    """Opens a device; it is connected to when it is first asked something.

    Raises:
        UsageError: The URL is not ssh://[user@]host[:port].
        DeviceError: There is no ssh here, or its configuration is wrong.
    """
    return Ssh(url)


def set_up(url: str, runtime: str, say: Callable[[str], None], *, look_only: bool) -> Frame:
    """Installs a runtime on a device, or only looks what would be done.

    Args:
        url: The device.
        runtime: litert, openvino or onnxruntime.
        say: Told what is being done, and what pip says.
        look_only: Change nothing there.

    Returns:
        `python`, `venv`, `packages`, `commands` and, once installed, `versions`.

    Raises:
        UsageError: The URL or the runtime is none.
        DeviceError: The device cannot be reached or cannot have it, or installing failed.
    """
    connection = Connection(url, ssh_address.parse(url))
    try:
        wanted = ssh_setup.plan(connection, runtime)
        versions = {}
        if not look_only:
            for command in wanted.commands():
                say(f"on {url}: {command}")
            versions = ssh_setup.carry_out(connection, wanted, say)
    finally:
        connection.close()
    return {**wanted._asdict(), "commands": wanted.commands(), "versions": versions}


def _artifact_files(path: Path, siblings: Any) -> list[Sent]:
    others = sorted({Path(name).name for name in siblings} - {path.name})
    return [(path.name, path), *((name, path.parent / name) for name in others)]


def _state(path: bytes | Path) -> tuple[Path, int, int]:
    """What tells a file from another, and from itself before it was changed."""
    assert isinstance(path, Path), "an artifact is made of files"
    found = path.stat()
    return path.absolute(), found.st_size, found.st_mtime_ns


def _kept(keeper: Keeper, kind: str, files: list[Sent]) -> str:
    return keeper.send(f"kept/{kind}-{kept_files.digest(files)}", files, keep=True)
