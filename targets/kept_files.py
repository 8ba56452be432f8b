"""The client's side of `remote_keeper`: files to a device and back."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any

from edgekit.errors import DeviceError, one_line
from edgekit.targets.conversation import RunnerBug
from edgekit.targets.runner.protocol import PREFIX
from edgekit.targets.ssh_connection import Connection

KEPT_BYTES = 1_000_000_000
"""Of runners and artifacts on a device; what was not used for the longest time goes first."""
ANSWER_S = 60.0
SLOWEST_BYTES_PER_S = 50_000
"""A slower transfer is given up."""
_RESULT = re.compile(r"[0-9]{6}\.npz")
_BOOT = "import sys; sys.path = [p for p in sys.path if p]; exec(sys.argv[1])"
"""The home directory, in which ssh starts, must not shadow a library."""

Sent = tuple[str, bytes | Path]
"""A file's name on the device, and what is in it or where it is here."""


class NoAnswer(RuntimeError):
    """The command line that was to start Python there ended without an answer.

    The cause of the `DeviceError` that tells the user.

    Args:
        code: Its exit code.
        said: What it wrote to its error stream.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(code, said)
        self.code = code
        self.said = said


class Keeper:
    """Files on one device.

    Args:
        connection: To the device.
        python: The words that start a Python there.
        cache: The place for files there, from a survey; only the survey itself does without.
    """

    def __init__(self, connection: Connection, python: Sequence[str], cache: str = "") -> None:
        self.cache = cache
        self._connection = connection
        self._python = [*python, *script("remote_keeper")]
        self._url = connection.peer.url

    def ask(self, do: str, *, limit_s: float = ANSWER_S, **request: Any) -> dict[str, Any]:
        """One request without files."""
        return self._ask({"do": do, **request}, (), None, limit_s)

    def send(self, entry: str, files: Sequence[Sent], *, keep: bool = False) -> str:
        """Puts files into an entry and returns where it is on the device.

        Args:
            entry: Below the cache there.
            files: With names that hold no directory.
            keep: Send nothing where files of these sizes are there already: the entry's name is
                made of their hash.

        Raises:
            DeviceError: The device has no room, or the connection was lost.
        """
        listed = [(name, *_measured(content)) for name, content in files]
        if keep and self.ask("have", cache=self.cache, entry=entry, files=listed)["have"]:
            return f"{self.cache}/{entry}"
        request = {
            "do": "put", "cache": self.cache, "entry": entry, "files": listed,
            "limit_bytes": KEPT_BYTES, "keep": keep,
        }  # fmt: skip
        limit_s = ANSWER_S + sum(size for _, size, _ in listed) / SLOWEST_BYTES_PER_S
        body = self._ask(request, [content for _, content in files], None, limit_s)
        return str(body["place"])

    def fetch(self, entry: str, into: Path) -> None:
        """Copies an entry's numbered `.npz` files into a directory here.

        Raises:
            DeviceError: Other files came than were asked for, or the connection was lost.
        """
        into.mkdir(parents=True, exist_ok=True)
        request = {"do": "take", "cache": self.cache, "entry": entry}
        self._ask(request, (), into, ANSWER_S)

    def remove(self, *entries: str, limit_s: float = ANSWER_S) -> None:
        """Removes entries."""
        self.ask("remove", cache=self.cache, entries=entries, limit_s=limit_s)

    def _ask(
        self,
        request: dict[str, Any],
        contents: Sequence[bytes | Path],
        into: Path | None,
        limit_s: float,
    ) -> dict[str, Any]:
        token = secrets.token_hex(8)
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps({**request, "token": token}).encode() + b"\n")
            for content in contents:
                _append(content, stdin)
            stdin.seek(0)
            with self._connection.run(self._python, stdin=stdin, limit_s=limit_s) as answer:
                body = _body(answer.output, f"{PREFIX}{token} ".encode())
                if body is None and "Traceback" in answer.said:
                    raise RunnerBug(f"{self._url}: the keeper of files failed\n{answer.said}")
                if body is None:
                    silent = NoAnswer(answer.code, answer.said)
                    raise _not_started(self._url, silent) from silent
                if "refused" in body:
                    raise _refused(self._url, body["refused"])
                if into is not None:
                    _receive(self._url, answer.output, body["files"], into)
        return body


def _not_started(url: str, silent: NoAnswer) -> DeviceError:
    lines = [line for line in silent.said.splitlines() if line.strip()]
    told = f": {one_line(lines[-1])[:300]}" if lines else ""
    return DeviceError(
        f"{url}: Python did not start there (exit code {silent.code}){told}",
        "see that a command which is given to ssh runs there: its login shell, and its disk",
    )


def script(module: str) -> list[str]:
    """The arguments of a Python on a device that run a module of this package by itself."""
    source = resources.files("edgekit.targets").joinpath(f"{module}.py").read_text()
    return ["-c", _BOOT, source]


def digest(files: Sequence[Sent]) -> str:
    """A name for files that are the same under the same names."""
    listed = [(name, _measured(content)[1]) for name, content in files]
    return hashlib.sha256(json.dumps(sorted(listed)).encode()).hexdigest()[:32]


def _measured(content: bytes | Path) -> tuple[int, str]:
    if isinstance(content, bytes):
        return len(content), hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return content.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _append(content: bytes | Path, to: IO[bytes]) -> None:
    if isinstance(content, bytes):
        to.write(content)
        return
    with content.open("rb") as file:
        shutil.copyfileobj(file, to)


def _body(output: IO[bytes], lead: bytes) -> dict[str, Any] | None:
    """The framed answer among what the shell printed; what follows it stays to be read."""
    for line in output:
        if line.startswith(lead):
            body: dict[str, Any] = json.loads(line[len(lead) :])
            return body
    return None


def _receive(url: str, output: IO[bytes], files: Sequence[tuple[str, int]], into: Path) -> None:
    for name, size in files:
        if not _RESULT.fullmatch(name):
            raise DeviceError(f"{url} sent a file that no runner writes: {name[:100]}", "report it")
        data = output.read(size)
        if len(data) != size:
            raise DeviceError(f"{url} sent only a part of the outputs", "run this again")
        (into / name).write_bytes(data)


def _refused(url: str, why: dict[str, Any]) -> DeviceError:
    if "full" in why:
        return DeviceError(
            f"{url}: no space for {why['needed_bytes']} bytes in {why['full']}"
            f" ({why['free_bytes']} are free)",
            "free some space there",
        )
    if "corrupt" in why:
        return DeviceError(f"{url}: {why['corrupt']} arrived changed", "check its disk and memory")
    if "unwritable" in why:
        return DeviceError(
            f"{url}: no place there can be written: {why['unwritable']}",
            "make one of these writable, or set XDG_CACHE_HOME there",
        )
    return DeviceError(f"{url}: {why['error']}", "check that path on the device")
