"""What qemu emulates here: the machine named after `qemu://` has a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from edgekit.errors import UsageError
from edgekit.targets import Device, qemu_user

_MACHINES: dict[str, ModuleType] = {"aarch64": qemu_user}
"""What a machine's name begins with, and the module that emulates it."""


def open(url: str) -> Device:  # noqa: A001 every target has it
    """Opens an emulated machine.

    Raises:
        UsageError: None of this name is emulated.
        DeviceError: What emulates it is not there.
    """
    device: Device = _module(url).open(url)
    return device


def setup(url: str, say: Callable[[str], None], *, dry_run: bool) -> tuple[str, ...]:
    """Gets what emulates the machine; see `edgekit.targets`."""
    steps: tuple[str, ...] = _module(url).setup(url, say, dry_run=dry_run)
    return steps


def _module(url: str) -> ModuleType:
    machine = url.partition("://")[2]
    for prefix, module in _MACHINES.items():
        if machine.startswith(prefix):
            return module
    known = ", ".join(f"qemu://{prefix}" for prefix in _MACHINES)
    raise UsageError(f"device '{url}': known are {known}", "name one of these")
