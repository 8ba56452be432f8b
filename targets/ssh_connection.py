"""One connection by the OpenSSH client, which many commands share.

The user's ~/.ssh/config, agents and jump hosts hold, and so does their word on host keys, which
nothing here weakens. Options that would give a command another meaning (a terminal, a remote
command, forwardings) are set back.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from edgekit.errors import DeviceError
from edgekit.targets import children, ssh_failures
from edgekit.targets.ssh_address import Address
from edgekit.targets.ssh_failures import Peer

CONNECT_S = 10
ALIVE_S = 5
ALIVE_COUNT = 3
"""A peer that says nothing for fifteen seconds is gone; the user's own ~/.ssh/config may differ."""
LINGER_S = 60
"""For how long the shared connection outlives its last command: longer than edgekit computes in
between, since a key that wants to be touched should want it once. It also ends it where edgekit was
killed."""
LONGEST_SOCKET = 80
"""Characters of a socket's path: Linux takes 107, and ssh adds a suffix while it makes it."""
_PLAIN = re.compile(r"[A-Za-z0-9/._+-]*")
"""Paths that ssh takes as they are: it splits at spaces, and replaces %, $ and ~."""
SSH_FAILED = 255

_NEVER_ASK = ("env", "SSH_ASKPASS_REQUIRE=never")
"""Beside BatchMode: the ssh to a jump host does not inherit that."""
_OURS = (
    "-T", "-o", "BatchMode=yes", "-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes",
    "-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "PermitLocalCommand=no",
    "-o", "LogLevel=INFO", "-o", "ControlMaster=auto", "-o", f"ControlPersist={LINGER_S}",
)  # fmt: skip


class Answer(NamedTuple):
    """How a remote command ended. `output` is at its start, and closed by who asked."""

    code: int
    output: IO[bytes]
    said: str


class Connection:
    """Commands on one device, over one shared connection that is opened by the first of them."""

    def __init__(self, url: str, address: Address) -> None:
        """Reads the user's configuration for this host; nothing is connected yet.

        Raises:
            DeviceError: There is no ssh here, or its configuration is wrong.
        """
        if shutil.which("ssh") is None:
            raise DeviceError(f"{url} needs ssh, which is not here", "install openssh-client")
        settings = _settings(url, address)
        alive_s, count = int(settings["serveraliveinterval"]), int(settings["serveralivecountmax"])
        if alive_s == 0:  # the user has not said for how long a silent peer is to be waited for
            alive_s, count = ALIVE_S, ALIVE_COUNT
        connect = settings.get("connecttimeout", "none")
        connect_s = CONNECT_S if connect in ("none", "0") else int(connect)
        self.peer = Peer(url, address, _known_as(settings), connect_s, alive_s * count)
        self.is_lost = False
        """Whether a command ended for want of a connection: nothing more need be tried then."""
        directory = _socket_directory()
        self._words = [
            *_NEVER_ASK, "ssh", *_OURS, "-o", f"ControlPath={directory}/s",
            "-o", f"ServerAliveInterval={alive_s}", "-o", f"ServerAliveCountMax={count}",
            "-o", f"ConnectTimeout={connect_s}",
        ]  # fmt: skip
        self._end = weakref.finalize(self, _close, [*self._words], [*address.words()], directory)

    def close(self) -> None:
        """Ends the shared connection; safe to call twice."""
        self._end()

    def command(self, words: Sequence[str]) -> list[str]:
        """What to start here so that these words, each quoted, run there."""
        return [*self._words, *self.peer.address.words(), shlex.join(words)]

    @contextlib.contextmanager
    def run(
        self, words: Sequence[str], *, stdin: IO[bytes] | None = None, limit_s: float
    ) -> Iterator[Answer]:
        """Runs a command there to its end.

        Args:
            words: The command and its arguments.
            stdin: What it reads; default: nothing.
            limit_s: Seconds without any output after which it is given up.

        Raises:
            DeviceError: The connection cannot be made, was lost, or the time is up.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            with children.child(
                self.command(words),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=said,  # a file: the shared connection keeps it open, and a pipe would hang
            ) as child:
                code = self._wait(child, output, limit_s)
            said.seek(0)
            text = said.read().decode(errors="replace")
            if code == SSH_FAILED or code < 0:
                self.is_lost = code == SSH_FAILED  # else it was ended here
                raise ssh_failures.explain(self.peer, text)
            output.seek(0)
            yield Answer(code, output, text)

    def _wait(self, child: subprocess.Popen[bytes], output: IO[bytes], limit_s: float) -> int:
        """The exit code; what still sends is waited for, however much that is."""
        received = 0
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(limit_s)
            before, received = received, os.fstat(output.fileno()).st_size
            if received == before:
                raise DeviceError(
                    f"{self.peer.url} did not answer within {limit_s:g} s and was given up",
                    f"see how it is: {self.peer.address.typed()}",
                )


def _settings(url: str, address: Address) -> dict[str, str]:
    """What ~/.ssh/config says of a host, by `ssh -G`, which connects to nothing."""
    done = subprocess.run(
        ["ssh", "-G", *address.words()], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        peer = Peer(url, address, address.host, CONNECT_S, ALIVE_S * ALIVE_COUNT)
        raise ssh_failures.explain(peer, done.stderr)
    pairs = (line.partition(" ") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def _known_as(settings: dict[str, str]) -> str:
    """The name under which known_hosts has the device's key."""
    host, port = settings.get("hostkeyalias") or settings["hostname"], settings["port"]
    return host if port == "22" or "hostkeyalias" in settings else f"[{host}]:{port}"


def _socket_directory() -> str:
    """A private directory whose path a socket's name fits into; mkdtemp gives it mode 0700."""
    made = tempfile.mkdtemp(prefix="edgekit-")
    if len(made) <= LONGEST_SOCKET and _PLAIN.fullmatch(made):
        return made
    shutil.rmtree(made)
    return tempfile.mkdtemp(prefix="edgekit-", dir="/tmp")


def _close(ssh: list[str], address: list[str], directory: str) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        subprocess.run([*ssh, "-O", "exit", *address], capture_output=True, check=False, timeout=5)
    shutil.rmtree(directory, ignore_errors=True)
