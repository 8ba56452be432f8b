"""Whether an engine that was built somewhere runs here: told before TensorRT tries to load it."""

from __future__ import annotations

import platform
from typing import Any, Optional

from .cuda import Gpu
from .protocol import RunnerError

_AMPERE = (8, 0)
_CROSSES = {10: 11}
"""Of version-compatible engines, the major version that takes another's (support matrix, 11.4)."""


def here(gpu: Gpu, version: str) -> dict[str, Any]:
    """What an engine depends on, of this device."""
    return {
        "os": platform.system(),
        "arch": platform.machine(),
        "compute_capability": gpu.compute_capability,
        "gpu": gpu.name,
        "tensorrt": version,
    }


def check(built: dict[str, Any], now: dict[str, Any]) -> None:
    """Holds what a manifest says of an engine against a device.

    Raises:
        RunnerError: They do not go together; what has to be done is said.
    """
    found = _system(built, now) or _gpu(built, now) or _version(built, now)
    if found:
        raise RunnerError(
            "the engine was built for %s, and this device has %s" % found,
            "build it on this device: edgekit convert MODEL --target PROFILE --device URL",
            "device",
        )


def _system(built: dict[str, Any], now: dict[str, Any]) -> Optional[tuple[str, str]]:
    if (built["os"], built["arch"]) == (now["os"], now["arch"]):
        return None
    return "%s on %s" % (built["os"], built["arch"]), "%s on %s" % (now["os"], now["arch"])


def _gpu(built: dict[str, Any], now: dict[str, Any]) -> Optional[tuple[str, str]]:
    wanted, found = built["compute_capability"], now["compute_capability"]
    if wanted == found:
        return None
    has = "compute capability %s (%s)" % (found, now["gpu"])
    if not built["hardware_compatible"]:
        return "compute capability %s (%s)" % (wanted, built["gpu"]), has
    return None if _numbers(found) >= _AMPERE else ("Ampere GPUs and later", has)


def _version(built: dict[str, Any], now: dict[str, Any]) -> Optional[tuple[str, str]]:
    wanted, found = _numbers(built["tensorrt"])[:3], _numbers(now["tensorrt"])[:3]
    if wanted == found:
        return None
    told = "TensorRT %s" % built["tensorrt"], "TensorRT %s" % now["tensorrt"]
    if not built["version_compatible"]:
        return told
    same_or_next = found[0] in (wanted[0], _CROSSES.get(wanted[0]))
    return None if same_or_next and found >= wanted else (told[0] + " or later", told[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
