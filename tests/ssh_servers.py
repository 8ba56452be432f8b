"""A real sshd on 127.0.0.1 with its own keys, and an `ssh` that knows it.

The user's ~/.ssh stays out of it: ssh takes its home from the password file, so the tests put a
wrapper named `ssh` first on PATH, which adds `-F CONFIG` and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SSH = shutil.which("ssh")
MARK = "EDGEKIT_TEST_MARK"
PATIENCE_S = 20.0


def why_not() -> str | None:
    """Why no server can be started here."""
    if SSH is None:
        return "there is no ssh (openssh-client)"
    return None if Path(SSHD).is_file() else "there is no sshd (openssh-server)"


class Server:
    """One sshd. What runs in its sessions carries a mark."""

    def __init__(self, directory: Path, variables: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.mark = uuid.uuid4().hex
        self.home = directory / "home"
        self.port = _free_port()
        self.url = f"ssh://127.0.0.1:{self.port}"
        self.log = directory / "sshd.log"
        self._variables = {"HOME": str(self.home), "PATH": str(directory / "bin")}
        self._variables |= {MARK: self.mark, **(variables or {})}
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "bin").mkdir(parents=True)
        self.home.mkdir()
        for tool in ("sh", "env", "cat"):
            (directory / "bin" / tool).symlink_to(shutil.which(tool))
        for name in ("host", "user", "other"):
            make_key(directory / name)
        self.has_python(sys.executable)
        self.knows("host")
        self.client()

    def has_python(self, executable: str | None) -> None:
        """What `python3` is there; None: nothing."""
        python = self.directory / "bin" / "python3"
        python.unlink(missing_ok=True)
        if executable is not None:
            python.write_text(f'#!/bin/sh\nexec {executable} "$@"\n')
            python.chmod(0o755)

    def knows(self, key: str | None) -> None:
        """Which host key the client's known_hosts has of this server."""
        public = "" if key is None else (self.directory / f"{key}.pub").read_text()
        text = f"[127.0.0.1]:{self.port} {public}" if public else ""
        (self.directory / "known_hosts").write_text(text)

    def client(self, key: str = "user", **options: object) -> None:
        """Writes the client's configuration."""
        wanted = {
            "IdentityFile": self.directory / key, "IdentitiesOnly": "yes", "IdentityAgent": "none",
            "UserKnownHostsFile": self.directory / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null", "ServerAliveInterval": 1,
            "ServerAliveCountMax": 2, "ConnectTimeout": 3, **options,
        }  # fmt: skip
        lines = [f"{name} {value}" for name, value in wanted.items()]
        (self.directory / "config").write_text("\n".join(["Host *", *lines]) + "\n")
        wrapper = self.directory / "client" / "ssh"
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\nexec {SSH} -F {self.directory / "config"} "$@"\n')
        wrapper.chmod(0o755)

    def path(self) -> str:
        """PATH with the client's ssh first."""
        return f"{self.directory / 'client'}{os.pathsep}{os.environ['PATH']}"

    def start(self) -> None:
        """Starts sshd and waits until it listens."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # its privilege separation asks for it
        shutil.copy(self.directory / "user.pub", self.directory / "authorized")
        variables = " ".join(f"{name}={value}" for name, value in self._variables.items())
        (self.directory / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.directory / 'host'}\n"
            f"AuthorizedKeysFile {self.directory / 'authorized'}\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n"
            f"KbdInteractiveAuthentication no\nSetEnv {variables}\n"
        )
        self._process = subprocess.Popen(
            [SSHD, "-D", "-f", str(self.directory / "sshd_config"), "-E", str(self.log)],
            start_new_session=True,
        )
        assert wait_for(self._listens), self.log.read_text()

    def stop(self) -> None:
        """Ends sshd and every session."""
        for pid in [*self.daemons(), *self.running()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process:
            self._process.wait()

    def daemons(self) -> list[int]:
        """The processes of sshd itself: the listener, and one or two for each connection."""
        if self._process is None:
            return []
        return [pid for pid in _tree(self._process.pid) if _name(pid).startswith("sshd")]

    def send_signal(self, number: int) -> None:
        """To all processes of sshd, and to nothing that runs in its sessions."""
        for pid in self.daemons():
            os.kill(pid, number)

    def running(self) -> list[int]:
        """What runs in sessions now."""
        wanted = f"{MARK}={self.mark}".encode()
        places = [place for place in Path("/proc").glob("[0-9]*") if _carries(place, wanted)]
        return [int(place.name) for place in places]

    def sessions(self) -> list[str]:
        """The directories of sessions that are on the device."""
        return sorted(place.name for place in self.home.glob(".cache/edgekit/runs/*"))

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def running(directory: Path, variables: dict[str, str] | None = None) -> Iterator[Server]:
    """A server that is gone afterwards."""
    server = Server(directory, variables)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def make_key(path: Path) -> None:
    """A key pair without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)


def wait_for(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> object:
    """The condition's first true answer within some seconds, else its last."""
    end = time.monotonic() + limit_s
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            found.extend(int(child) for child in children.split())
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _carries(place: Path, wanted: bytes) -> bool:
    try:
        state = (place / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" and wanted in (place / "environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended, or is another user's
        return False
