"""Memory of this process as Linux counts it; None where the system does not tell."""

from __future__ import annotations

from typing import Optional


class Gauge:
    """The memory that this process gains from now on."""

    def __init__(self) -> None:
        self._can_reset = reset_peak()
        self._resident = resident_bytes()
        self._anonymous = anonymous_bytes()
        self._peak: Optional[int] = None

    def note(self) -> None:
        """Takes the peak since the last `skip` into account."""
        peak = peak_bytes()
        if peak is not None:
            self._peak = max(self._peak or 0, peak)

    def skip(self) -> None:
        """Leaves out what came since the last `note`."""
        reset_peak()

    def peak_delta_bytes(self) -> Optional[int]:
        """The largest resident set that was noted, minus that at the start."""
        if not self._can_reset or self._peak is None or self._resident is None:
            return None
        return max(0, self._peak - self._resident)

    def anonymous_delta_bytes(self) -> Optional[int]:
        """What no file backs now, minus what no file backed at the start."""
        now = anonymous_bytes()
        if now is None or self._anonymous is None:
            return None
        return max(0, now - self._anonymous)


def reset_peak() -> bool:
    """Makes the peak start again from the memory in use now (proc(5), `clear_refs`, value 5).

    `ru_maxrss` will not do: a child inherits its parent's. Returns whether it could be reset
    (not under qemu-user, nor in some containers).
    """
    try:
        with open("/proc/self/clear_refs", "w") as handle:
            handle.write("5")
    except OSError:
        return False
    return True


def peak_bytes() -> Optional[int]:
    """The largest resident set since the last reset."""
    return _status("VmHWM:")


def resident_bytes() -> Optional[int]:
    """The resident set."""
    return _status("VmRSS:")


def anonymous_bytes() -> Optional[int]:
    """The part of the resident set that no file backs."""
    return _status("RssAnon:")


def _status(key: str) -> Optional[int]:
    try:
        with open("/proc/self/status") as handle:
            for line in handle:
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
