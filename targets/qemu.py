"""Emulated devices: which module runs what `qemu://` names."""

from __future__ import annotations

from types import ModuleType

from edgekit.errors import UsageError
from edgekit.targets import Device, qemu_cortex

_MODULES: dict[str, ModuleType] = {"cortex-m": qemu_cortex}
"""By what comes after `qemu://`, or how it begins."""


def open(url: str) -> Device:  # noqa: A001 every target has it
    """Opens an emulated device.

    Raises:
        UsageError: The URL names none that can be emulated.
        DeviceError: What emulates it is not installed.
    """
    name = url.partition("://")[2]
    for prefix, module in _MODULES.items():
        if name.startswith(prefix):
            device: Device = module.open(url)
            return device
    known = ", ".join(f"qemu://{one}" for module in _MODULES.values() for one in module.NAMES)
    raise UsageError(
        f"device '{url}' is nothing that edgekit emulates; known: {known}", "name one of these"
    )
