"""What NVIDIA's management library tells of a GPU's state; None for what it does not tell here.

Jetsons and some containers tell little or nothing. Source: NVML's API reference.
"""

from __future__ import annotations

import ctypes
from typing import Any, Optional

LIBRARY = "libnvidia-ml.so.1"

_TEXT_BYTES = 96
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_OF_THE_GPU = 0
_REASONS = (
    (0x001, "gpu_idle"), (0x002, "applications_clocks_setting"), (0x004, "sw_power_cap"),
    (0x008, "hw_slowdown"), (0x010, "sync_boost"), (0x020, "sw_thermal_slowdown"),
    (0x040, "hw_thermal_slowdown"), (0x080, "hw_power_brake_slowdown"),
    (0x100, "display_clock_setting"),
)  # fmt: skip


class Watched:
    """One GPU as the management library sees it; every reading may be None."""

    def __init__(self, library: Any, bus_id: str) -> None:
        self._library = library
        self._handle: Optional[ctypes.c_void_p] = None
        if library is None or self._fails("nvmlInit_v2"):
            return
        handle = ctypes.c_void_p()
        if not self._fails(
            "nvmlDeviceGetHandleByPciBusId_v2", bus_id.encode(), ctypes.byref(handle)
        ):
            self._handle = handle

    def driver(self) -> Optional[str]:
        """The driver's version."""
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        if self._handle is None or self._fails(
            "nvmlSystemGetDriverVersion", text, ctypes.c_uint(_TEXT_BYTES)
        ):
            return None
        return text.value.decode(errors="replace")

    def state(self) -> dict[str, Any]:
        """Clocks, power, temperature and what holds the clock down, at this moment."""
        power_mw = self._read("nvmlDeviceGetPowerUsage")
        return {
            "clock_hz": self._clock_hz(_CLOCK_SM),
            "memory_clock_hz": self._clock_hz(_CLOCK_MEMORY),
            "power_w": None if power_mw is None else power_mw / 1e3,
            "temperature_c": self._read("nvmlDeviceGetTemperature", ctypes.c_uint(_OF_THE_GPU)),
            "throttle_reasons": self._reasons(),
        }

    def _clock_hz(self, which: int) -> Optional[float]:
        found_mhz = self._read("nvmlDeviceGetClockInfo", ctypes.c_uint(which))
        return None if found_mhz is None else found_mhz * 1e6

    def _reasons(self) -> Optional[list[str]]:
        bits = ctypes.c_ulonglong()
        if self._handle is None or self._fails(
            "nvmlDeviceGetCurrentClocksThrottleReasons", self._handle, ctypes.byref(bits)
        ):
            return None
        return [name for bit, name in _REASONS if bits.value & bit]

    def _read(self, name: str, *given: Any) -> Optional[int]:
        found = ctypes.c_uint()
        if self._handle is None or self._fails(name, self._handle, *given, ctypes.byref(found)):
            return None
        return found.value

    def _fails(self, name: str, *given: Any) -> bool:
        """Whether a call is not there, or gives no answer."""
        function = getattr(self._library, name, None)
        return function is None or function(*given) != 0


def watch(bus_id: str, library: str = LIBRARY) -> Watched:
    """The GPU at a PCI address, as `cuda.Gpu` names it."""
    try:
        return Watched(ctypes.CDLL(library), bus_id)
    except OSError:
        return Watched(None, bus_id)
