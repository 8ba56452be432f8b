"""How hot the machine is, and whether heat or a weak supply holds its clock down.

The runner spawns nothing, so `vcgencmd` of a Raspberry Pi is out of the question: its firmware's
word stands in sysfs, too. What the system does not tell is None.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

_THERMAL = Path("/sys/class/thermal")
_FIRMWARE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_HELD_NOW = 0xF
"""Bits of `get_throttled`: under-voltage, frequency capped, throttled, soft temperature limit."""
_PROCESSOR = ("cpu", "soc", "pkg", "core", "tctl")
"""What the zone of a processor is called: cpu-thermal, soc-thermal, x86_pkg_temp, coretemp."""


def temperature_c(thermal: Path = _THERMAL) -> Optional[float]:
    """The hottest of the processor's zones, in degrees Celsius; of all, where none is named so."""
    found = {}
    for zone in sorted(thermal.glob("thermal_zone*")):
        kind, value = _read(zone / "type"), _number(_read(zone / "temp"), 10)
        if kind is not None and value is not None and 0 < value < 150000:
            found[zone.name] = (kind.lower(), value / 1000)
    named = [value for kind, value in found.values() if any(name in kind for name in _PROCESSOR)]
    values = named or [value for _, value in found.values()]
    return max(values) if values else None


def is_held_down(thermal: Path = _THERMAL, firmware: Path = _FIRMWARE) -> Optional[bool]:
    """Whether the firmware, or a cooling device of the kernel, slows the processor now."""
    said = []
    bits = _number(_read(firmware), 16)
    if bits is not None:
        said.append(bool(bits & _HELD_NOW))
    for device in thermal.glob("cooling_device*"):
        kind, state = _read(device / "type"), _number(_read(device / "cur_state"), 10)
        if kind is not None and state is not None and _slows_the_processor(kind.strip().lower()):
            said.append(state > 0)
    return any(said) if said else None


def _slows_the_processor(kind: str) -> bool:
    return "cpufreq" in kind or kind == "processor"


def _number(text: Optional[str], base: int) -> Optional[int]:
    try:
        return int(text.strip(), base) if text else None
    except ValueError:
        return None


def _read(path: Path) -> Optional[str]:
    try:
        return path.read_text()
    except OSError:
        return None
