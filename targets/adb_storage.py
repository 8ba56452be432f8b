"""What edgekit keeps on an Android device: files by the hash of their content, and jobs.

All of it lies where the shell user may write and execute, and may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekit import hashing
from edgekit.errors import DeviceError
from edgekit.targets.adb_client import Client

KEPT = 32
"""Files stay on the device up to this number of them; the longest unused go first."""

_SWEEP = 'find "$0" -mindepth 1 -maxdepth 1 -mtime +0 -exec rm -rf {} +'
"""What was last written more than 24 hours ago: -mtime counts whole days."""
_FORGET = 'cd "$0" && ls -t | tail -n "+$1" | while read -r name; do rm -rf "$name"; done'


def carry(client: Client, paths: Sequence[Path], *, executable: bool = False) -> str:
    """Brings files that belong together to a device, unless they are there.

    Args:
        client: The device.
        paths: The main file first; they keep only their suffixes.
        executable: Whether the main file is a program.

    Returns:
        The path of the main file there.

    Raises:
        DeviceError: They do not arrive.
    """
    digest = hashlib.sha256("".join(map(hashing.sha256_file, paths)).encode()).hexdigest()
    files = f"{client.home}/files"
    place = f"{files}/{digest[:24]}"
    main = f"{place}/{_name(paths[0])}"
    if client.attempt("test", "-f", main)[0] == 0:
        client.attempt("touch", place)
        return main
    staged = f"{files}/{secrets.token_hex(8)}.part"
    client.shell("mkdir", "-p", staged)
    try:
        for path in paths:
            client.push(path, f"{staged}/{_name(path)}")
        if executable:
            client.shell("chmod", "755", f"{staged}/{_name(paths[0])}")
        client.attempt("mv", staged, place)  # another edgekit may have been first
        client.shell("test", "-f", main)
    finally:
        with contextlib.suppress(DeviceError):
            client.attempt("rm", "-rf", staged)
    client.attempt("sh", "-c", _FORGET, files, str(KEPT + 1))
    return main


@contextlib.contextmanager
def job_directory(client: Client) -> Iterator[str]:
    """A new directory for the samples and results of one job, removed at the end.

    So are those that an edgekit which died, or lost the device, has left for longer than a day.
    """
    jobs = f"{client.home}/jobs"
    place = f"{jobs}/{secrets.token_hex(8)}"
    client.shell("mkdir", "-p", place)
    client.attempt("sh", "-c", _SWEEP, jobs)
    try:
        yield place
    finally:
        with contextlib.suppress(DeviceError):  # the device may be what has failed
            client.attempt("rm", "-rf", place)


def _name(path: Path) -> str:
    return f"main{path.suffix}"
