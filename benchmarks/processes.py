"""Runs a command to its end and watches the memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

INTERVAL_S = 0.02
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Run(NamedTuple):
    """Wall time and the largest sum of resident sets over the processes alive at one moment."""

    wall_s: float
    peak_bytes: int
    stdout: str


def run(command: list[str], *, environment: dict[str, str] | None = None) -> Run:
    """Runs a command; its children are found by walking /proc.

    Raises:
        RuntimeError: It failed; carries the end of its stderr.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    peak = [0]
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    stdout, stderr = process.communicate()
    wall_s = time.perf_counter() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[:4]} ended with {process.returncode}: {stderr[-2000:]}")
    return Run(wall_s, peak[0], stdout)


def _watch(root: int, peak: list[int], done: threading.Event) -> None:
    while not done.wait(INTERVAL_S):
        peak[0] = max(peak[0], sum(_resident_bytes(pid) for pid in _tree(root)))


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
        except OSError:
            continue
        found.extend(children)
    return found


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0
