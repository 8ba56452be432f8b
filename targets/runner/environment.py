"""What a measurement depends on besides the artifact. What the system does not tell is None."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

from . import heat
from .protocol import Channel

_CPU = Path("/sys/devices/system/cpu")


def run(job: dict[str, Any], channel: Channel) -> None:
    """The job `probe`: describes the machine and runs nothing."""
    del job
    channel.send({"frame": "environment", **describe()})


def describe() -> dict[str, Any]:
    """The machine and its state now."""
    load = os.getloadavg()[0]
    return {
        "arch": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "cpu_quota_cores": _quota_cores(),
        "governor": _governor(),
        "load_1min": round(load, 2),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "temperature_c": heat.temperature_c(),
        "throttled": heat.is_held_down(),
        "system": platform.system() + " " + platform.release(),
        "virtual": _is_virtual(),
        "versions": {"python": platform.python_version(), **versions("numpy")},
    }


def versions(*names: str) -> dict[str, str]:
    """The installed versions of these distributions; those not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model() -> Optional[str]:
    """The processor's name: of the board on arm64, where /proc/cpuinfo has no model name."""
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    board = _read(Path("/proc/device-tree/model"))
    return board.strip("\0 \n") if board else None


def _governor() -> Optional[str]:
    found = {_read(path) for path in _CPU.glob("cpu*/cpufreq/scaling_governor")}
    names = sorted(name.strip() for name in found if name)
    return ", ".join(names) or None


def _usable_cores() -> Optional[int]:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else None


def _quota_cores() -> Optional[float]:
    """The share of the machine that a control group leaves us, in cores; None: no limit seen."""
    version_2 = (_read(Path("/sys/fs/cgroup/cpu.max")) or "max").split()
    if version_2[0] != "max":
        return int(version_2[0]) / int(version_2[1])
    quota = _read(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
    period = _read(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
    if quota and period and int(quota) > 0:
        return int(quota) / int(period)
    return None


def _is_virtual() -> Optional[bool]:
    info = _read(Path("/proc/cpuinfo"))
    if not info or "\nflags" not in info:
        return None
    return " hypervisor" in info


def _read(path: Path) -> Optional[str]:
    try:
        return path.read_text()
    except OSError:
        return None
