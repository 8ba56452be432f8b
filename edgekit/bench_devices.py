"""Several devices at once: who may measure when, and what is left when one of them fails.

A device that is this machine measures first and alone, since driving the others takes its
processors; the others then work at the same time, a thread each. An emulator is untimed and may
run beside anything that is timed elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.errors import DeviceError
from edgekit.result_types import Comparison, Result
from edgekit.targets import Device
from edgekit.targets.children import LEASH, Leash


@dataclass(frozen=True, slots=True)
class Measured:
    """What one device gave; `failure` ended it before its time."""

    results: tuple[Result, ...] = ()
    comparison: tuple[Comparison, ...] = ()
    failure: DeviceError | None = None


Measure = Callable[[Device], Measured]


def measure(devices: Sequence[Device], one: Measure) -> list[Measured]:
    """Measures on every device, in their order. A device that fails ends none of the others.

    Args:
        devices: Where.
        one: Measures on one device. A DeviceError that it raises becomes a failure; anything else
            ends all devices and is raised.
    """
    found: dict[int, Measured] = {}
    others = []
    for number, device in enumerate(devices):
        if device.is_this_machine and not device.untimed:
            found[number] = _kept(one, device)
        else:
            others.append(number)
    if len(others) == 1:  # in this thread, which Ctrl-C interrupts wherever it is
        found[others[0]] = _kept(one, devices[others[0]])
    elif others:
        found |= _at_once({number: devices[number] for number in others}, one)
    return [found[number] for number in range(len(devices))]


def failure(devices: Sequence[Device], measured: Sequence[Measured]) -> DeviceError | None:
    """The failures of all devices as one error; None where there are none."""
    failed = [one.failure for one in measured if one.failure]
    if not failed:
        return None
    more = f" (and {len(failed) - 1} more of {len(devices)} devices failed)"
    first = failed[0]
    fix = "; ".join(dict.fromkeys(error.fix for error in failed if error.fix))
    told = "; ".join(error.message for error in failed)
    return DeviceError(told if len(failed) < 4 else first.message + more, fix)


def _kept(one: Measure, device: Device) -> Measured:
    try:
        return one(device)
    except DeviceError as error:
        return Measured(failure=error)


def _at_once(devices: dict[int, Device], one: Measure) -> dict[int, Measured]:
    leash = Leash()
    found: dict[int, Measured] = {}
    raised: list[BaseException] = []
    changed = threading.Event()

    def work(number: int) -> None:
        LEASH.set(leash)
        try:
            found[number] = _kept(one, devices[number])
        except BaseException as error:
            raised.append(error)
        changed.set()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in devices]
    try:
        for thread in threads:
            thread.start()
        while not raised and len(found) < len(devices):
            changed.wait()
            changed.clear()
    finally:  # Ctrl-C, or an error that concerns all
        if len(found) < len(devices):
            leash.pull()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if raised:
        raise raised[0]
    return found
