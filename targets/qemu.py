"""What QEMU emulates here: the machine named after `qemu://` has a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from edgekit.errors import DeviceError, UsageError
from edgekit.targets import Device, Frame, qemu_cortex, qemu_user

_MODULES: dict[str, ModuleType] = {"cortex-m": qemu_cortex, "aarch64": qemu_user}
"""What a machine's name begins with, and the module that emulates it."""


def open(url: str) -> Device:  # noqa: A001 every target has it
    """Opens an emulated device.

    Raises:
        UsageError: The URL names none that can be emulated.
        DeviceError: What emulates it is not installed.
    """
    device: Device = _module(url).open(url)
    return device


def set_up(url: str, runtime: str, say: Callable[[str], None], *, look_only: bool) -> Frame:
    """Gets what an emulated machine needs; see `qemu_user.set_up`.

    Raises:
        UsageError: The URL names none that can be emulated.
        DeviceError: It needs nothing of edgekit's, or it cannot be had.
    """
    module = _module(url)
    if not hasattr(module, "set_up"):
        raise DeviceError(
            f"{url} needs no set-up: compiler and emulator are packages of the system",
            "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
        )
    done: Frame = module.set_up(url, runtime, say, look_only=look_only)
    return done


def check(url: str) -> None:
    """Finds out from a URL alone whether it names something that is emulated.

    Raises:
        UsageError: It does not.
    """
    if url.partition("://")[2] not in _module(url).NAMES:
        raise _unknown(url)


def _module(url: str) -> ModuleType:
    name = url.partition("://")[2]
    for prefix, module in _MODULES.items():
        if name.startswith(prefix):
            return module
    raise _unknown(url)


def _unknown(url: str) -> UsageError:
    known = ", ".join(f"qemu://{one}" for module in _MODULES.values() for one in module.NAMES)
    return UsageError(
        f"device '{url}' is nothing that edgekit emulates; known: {known}", "name one of these"
    )
