"""Prepares a device: brings it a runtime, into an environment of edgekit's own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Literal

from msgspec import Struct

from edgekit import registry
from edgekit.errors import DeviceError
from edgekit.types import DryRun

_NAMES = "name ssh://[user@]host[:port], or qemu://aarch64"
_OTHERS = {
    "local": "edgekit doctor says what this machine lacks, and the pip install that brings it",
    "adb": "bench it as it is: edgekit bench ARTIFACT --device adb://, which says what the device"
    " lacks",
}
"""What to type for a kind of device that is not set up."""


class DeviceSetup(Struct, frozen=True, forbid_unknown_fields=True):
    """What was installed on a device. `versions` are all distributions of the environment.

    `was_there`: all of it was there before, and nothing was changed.
    """

    schema: Literal["edgekit.device-setup/1"]
    url: str
    runtime: str
    python: str
    venv: str
    packages: tuple[str, ...]
    versions: dict[str, str]
    was_there: bool = False


def plan(url: str, runtime: str) -> DryRun:
    """What `set_up` would run and write on a device; it is looked at, and nothing is changed.

    Raises:
        UsageError, DeviceError: See `set_up`.
    """
    found = _target(url).set_up(url, runtime, lambda _text: None, look_only=True)
    runs = tuple(f"on {url}: {command}" for command in found["commands"])
    writes = () if found.get("was_there") else (f"{url}: {found['venv']}",)
    return DryRun("edgekit.dry-run/1", runs=runs, writes=writes)


def set_up(url: str, runtime: str, on_progress: Callable[[str], None]) -> DeviceSetup:
    """Installs a runtime on a device. An environment that is there is kept and added to.

    Args:
        url: The device: ssh://[user@]host[:port], or qemu://aarch64, whose userland is made here.
        runtime: litert, openvino or onnxruntime.
        on_progress: Told each command, and what it says.

    Raises:
        UsageError: The URL or the runtime is none.
        DeviceError: The device cannot be reached or cannot have it, or installing failed; what was
            half made is removed.
    """
    found = _target(url).set_up(url, runtime, on_progress, look_only=False)
    return DeviceSetup(
        schema="edgekit.device-setup/1",
        url=url,
        runtime=runtime,
        python=found["python"],
        venv=found["venv"],
        packages=tuple(found["packages"]),
        versions=found["versions"],
        was_there=found.get("was_there", False),
    )


def _target(url: str) -> ModuleType:
    kind = url.partition("://")[0]
    if not registry.exists("target", kind):
        raise DeviceError(f"unknown device '{url}'", _NAMES)
    module = registry.target(kind)
    if not hasattr(module, "set_up"):
        raise DeviceError(f"{url} is no device that edgekit sets up", _OTHERS.get(kind, _NAMES))
    return module
