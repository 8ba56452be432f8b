"""The adb client: argument lists in, text out, and each of its failures as one line.

It talks to the user's own adb server (ANDROID_ADB_SERVER_PORT where that is set): a device on USB
is claimed by one server, and authorised for its keys.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import DeviceError
from edgekit.targets import children

LIMIT_S = 30.0
"""For what a device answers at once."""
BYTES_PER_S = 500_000
"""Slower than this, a transfer is given up."""

_ALLOW = "unlock it and allow USB debugging from this computer in the dialog on its screen"
_STATES = {
    "unauthorized": ("is unauthorized", _ALLOW),
    "authorizing": ("waits to be authorized", _ALLOW),
    "offline": ("is offline", "connect it again, or type: adb reconnect offline"),
    "no permissions": (
        "may not be opened by this user",
        "allow USB devices to it (udev rules, group plugdev), then: adb kill-server",
    ),
}
"""What adb calls a state, and that in words, with what to do."""
_NO_DEVICE = "connect one and allow USB debugging on it; adb devices lists what adb sees"
_FAILURES = ("error:", "adb: error:", "adb: failed", "failed to", "cannot connect", "unable to")
"""How adb begins what it says of a failure, which some versions end with exit code 0."""
_LOST = (
    "error: device", "error: closed", "offline", "unauthorized", "no devices", "protocol fault",
    "cannot connect",
)  # fmt: skip


_UNTIL_INPUT_ENDS = """
exec 3<&0
"$0" "$@" < /dev/null 3<&- &
program=$!
{ read -r end <&3; kill -9 $program; } > /dev/null 2>&1 &
watcher=$!
wait $program
code=$?
kill $watcher
exit $code
"""
"""A shell's program that runs another one. What is in the background would read /dev/null, so the
input is 3. adbd waits until no process has that: its watcher is a single one, and is ended."""


class Client:
    """adb for one device. `home` is where its shell user may write and execute."""

    home = "/data/local/tmp/edgekit"

    def __init__(self, serial: str) -> None:
        self.serial = serial

    def command(self, *arguments: str) -> list[str]:
        """The argument list of adb for this device."""
        return ["adb", "-s", self.serial, *arguments]

    def remote(self, *words: str) -> list[str]:
        """The argument list that runs a program there, with our standard input and output."""
        return self.command("shell", "-T", f"exec {shlex.join(words)}")

    def attempt(self, *words: str, limit_s: float = LIMIT_S) -> tuple[int, str]:
        """The exit code of a program there, and what it printed.

        Raises:
            DeviceError: The device cannot be reached, or does not answer in time.
        """
        return self._ended(call(self.command("shell", "-T", shlex.join(words)), limit_s))

    def work(self, *words: str, limit_s: float) -> tuple[int, str]:
        """As `attempt`, for a program that takes long: it ends when this process or adb does.

        Raises:
            DeviceError: As of `attempt`.
        """
        leashed = shlex.join(["sh", "-c", _UNTIL_INPUT_ENDS, *words])
        reads, writes = os.pipe()  # nothing is written: its end is what tells
        try:
            done = call(self.command("shell", "-T", leashed), limit_s, stdin=reads)
        finally:
            os.close(reads)
            os.close(writes)
        return self._ended(done)

    def _ended(self, done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
        if done.returncode and lost(done.stderr):
            raise failed(self.serial, done.stderr)
        return done.returncode, done.stdout + done.stderr

    def shell(self, *words: str) -> str:
        """What a program there printed.

        Raises:
            DeviceError: It failed.
        """
        code, said = self.attempt(*words)
        if code:
            raise failed(self.serial, said or f"{words[0]} ended with exit code {code}")
        return said

    def push(self, path: Path, place: str) -> None:
        """Copies a file to a name there, or a directory into one there.

        Raises:
            DeviceError: It does not arrive.
        """
        self._transfer(["push", str(path), place], path)

    def pull(self, place: str, path: Path) -> None:
        """Copies a directory there into one here.

        Raises:
            DeviceError: It does not arrive.
        """
        self._transfer(["pull", place, str(path)], None)

    def _transfer(self, arguments: Sequence[str], path: Path | None) -> None:
        limit_s = LIMIT_S + (_size_bytes(path) if path else 1 << 30) / BYTES_PER_S
        done = call(self.command(*arguments), limit_s)
        said = done.stderr + done.stdout
        if done.returncode or _complaint(said):
            raise failed(self.serial, said)


def connect(serial: str) -> Client:
    """The client for a device; an empty serial stands for the only one.

    Raises:
        DeviceError: adb or the device is not there, or not ready; or there are several.
    """
    if shutil.which("adb") is None:
        raise DeviceError(
            "adb:// devices need adb, which is not on this PATH",
            "apt-get install adb, or add Android's platform-tools to PATH",
        )
    states = _states()
    if serial and serial not in states and ":" in serial:
        _join(serial)
        states = _states()
    client = Client(_chosen(states, serial))
    if "shell_v2" not in _adb("-s", client.serial, "features").split():
        raise DeviceError(
            f"the device {client.serial} is too old: its shell does not tell exit codes",
            "use Android 7 or later",
        )
    return client


def failed(serial: str, said: str) -> DeviceError:
    """What adb said of a failure, as one line with the fix."""
    reason = _complaint(said) or next(iter(reversed(_lines(said))), "adb said nothing")
    for state, (what, advice) in _STATES.items():
        if state in reason:
            return DeviceError(f"the device {serial} {what}", advice)
    if "No space left" in reason:
        return DeviceError(f"the device {serial} is full: {reason}", "free some space there")
    return DeviceError(f"the device {serial}: {reason}", "check its connection: adb devices")


def lost(said: str) -> bool:
    """Whether adb says that the device cannot be reached."""
    reason = _complaint(said)
    return reason is not None and any(word in reason for word in _LOST)


def call(
    command: Sequence[str], limit_s: float, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    """Runs adb; no process of it is left but its server, which has a session of its own.

    Raises:
        DeviceError: It did not end in time.
    """
    with (
        tempfile.TemporaryFile() as log,
        children.child(command, stdin=stdin, stdout=subprocess.PIPE, stderr=log) as started,
    ):
        try:
            output, _ = started.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"adb gave no answer for {limit_s:.0f} s", "connect the device again: adb reconnect"
            ) from None
        log.seek(0)
        printed, said = (data.decode(errors="replace") for data in (output, log.read()))
        return subprocess.CompletedProcess(command, started.returncode, printed, said)


def _adb(*arguments: str) -> str:
    done = call(["adb", *arguments], LIMIT_S)
    if done.returncode:
        reason = _complaint(done.stderr) or next(iter(reversed(_lines(done.stderr))), "")
        raise DeviceError(f"adb {arguments[0]} failed: {reason}", "adb kill-server, then try again")
    return done.stdout


def _states() -> dict[str, str]:
    """The devices that adb sees, by serial, with the state of each."""
    rows = [line.split("\t", 1) for line in _adb("devices").splitlines() if "\t" in line]
    return {serial: state.strip() for serial, state in rows}


def _chosen(states: dict[str, str], serial: str) -> str:
    if not states:
        raise DeviceError("adb sees no device", _NO_DEVICE)
    if serial and serial not in states:
        seen = ", ".join(states)
        raise DeviceError(f"adb sees no device '{serial}'; it sees {seen}", _NO_DEVICE)
    ready = [one for one, state in states.items() if state == "device"]
    if not serial and len(ready) > 1:
        raise DeviceError(
            f"adb sees {len(ready)} devices: {', '.join(ready)}", f"name one: adb://{ready[0]}"
        )
    wanted = serial or next(iter(ready or states))
    state = states[wanted]
    if state != "device":
        other = (f"is in the state {state}", "start Android on it")
        known = next((one for one in _STATES if state.startswith(one)), "")
        what, advice = _STATES.get(known, other)
        raise DeviceError(f"the device {wanted} {what}", advice)
    return wanted


def _join(serial: str) -> None:
    """Connects over the network; adb says with exit code 0 that it could not."""
    said = _adb("connect", serial)
    reason = _complaint(said)
    if reason:
        raise DeviceError(
            f"adb cannot reach {serial}: {reason}",
            "check the address, and that wireless debugging is on and paired",
        )


def _complaint(said: str) -> str | None:
    """The line in which adb says that something failed; None where it says nothing of the kind."""
    return next((line for line in _lines(said) if line.startswith(_FAILURES)), None)


def _lines(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.strip()]


def _size_bytes(path: Path) -> int:
    if path.is_dir():
        return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return path.stat().st_size
