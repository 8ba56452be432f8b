"""Numbers as people read them: three significant digits, and the unit beside the figure.

kB and MB count 1000. What was not measured is shown as a dash, never as 0.
"""

from __future__ import annotations

import math
import re

NOT_MEASURED = "–"

_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_COUNTS = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
_PROPORTIONS = ("top1", "top5", "binary")
"""Metrics that are shares of samples and read best in per cent."""
_EQUAL_DB = 200.0
"""`intervals.SQNR_CAP_DB`, without the numpy that it needs."""


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without an exponent."""
    return f"{value:.{_decimals(value, digits)}f}"


def decibels(sqnr_db: float) -> str:
    """A signal-to-noise ratio; at its cap the two are equal."""
    return "equal" if sqnr_db >= _EQUAL_DB else f"{sqnr_db:.1f} dB"


def difference(value: float | None) -> str:
    """A largest or mean difference of outputs, with an exponent where it is tiny.

    None is one that is not finite (see `compare_types.OutputDifference`).
    """
    if value is None:
        return "not finite"
    return f"{value:.2e}" if value and abs(value) < 1e-3 else significant(value)


def size(value_bytes: float | None) -> str:
    """Bytes, as 312 B, 98.5 kB, 1.04 MB."""
    if value_bytes is None:
        return NOT_MEASURED
    for factor, unit in _SIZES:
        if _rounded(value_bytes) >= factor:
            return f"{significant(value_bytes / factor)} {unit}"
    return f"{value_bytes:.0f} B"


def probability(value: float) -> str:
    """A p-value, as = 0.031 or < 0.001."""
    return f"= {significant(value, 2)}" if value >= 0.001 else "< 0.001"


def parse_size(text: str) -> int | None:
    """Bytes from `500000`, `500 kB`, `1.5GB`; units count 1000. None for anything else."""
    found = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kMGT]?B?)\s*", text)
    if found is None:
        return None
    factor = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(found[2][:1], 1)
    return int(float(found[1]) * factor) or None


def duration(value_s: float | None) -> str:
    """Seconds, as 78.2 µs or 3.10 ms."""
    if value_s is None:
        return NOT_MEASURED
    factor, unit = _time_unit(value_s)
    return f"{significant(value_s / factor)} {unit}"


def duration_interval(value_s: float | None, interval_s: tuple[float, float] | None) -> str:
    """The interval of a duration, in the duration's own unit and decimals: [77.9, 78.6]."""
    if value_s is None or interval_s is None:
        return ""
    factor, _ = _time_unit(value_s)
    decimals = _decimals(value_s / factor, 3)
    low, high = (f"{edge / factor:.{decimals}f}" for edge in interval_s)
    return f"[{low}, {high}]"


def count(value: float | None) -> str:
    """A large count, as 12.5 M."""
    if value is None:
        return NOT_MEASURED
    for factor, unit in _COUNTS:
        if _rounded(value) >= factor:
            return f"{significant(value / factor)}{unit}"
    return str(value)


def metric(name: str, value: float | None) -> str:
    """A metric's value: shares in per cent, others as they are."""
    if value is None:
        return NOT_MEASURED
    if name in _PROPORTIONS:
        return f"{100 * value:.2f} %"
    return significant(value, 4)


def metric_interval(name: str, value: float, interval: tuple[float, float] | None) -> str:
    """The interval of a metric, with the decimals of its value."""
    if interval is None:
        return ""
    if name in _PROPORTIONS:
        return f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
    decimals = _decimals(value, 4)
    return f"[{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]"


def metric_change(name: str, value: float, interval: tuple[float, float] | None = None) -> str:
    """A change of a metric, as 1.50 points [0.21, 2.79] for shares and as it is for others."""
    scale, unit, decimals = (100, " points", 2) if name in _PROPORTIONS else (1, "", 4)
    around = ""
    if interval is not None:
        low, high = (f"{scale * edge:.{decimals}f}" for edge in interval)
        around = f" [{low}, {high}]"
    return f"{scale * value:.{decimals}f}{unit}{around}"


def factor_of(value: float) -> str:
    """A ratio, as 3.21×."""
    return f"{significant(value)}×"


def _time_unit(value_s: float) -> tuple[float, str]:
    for factor, unit in _TIMES:
        if _rounded(abs(value_s)) >= factor:
            return factor, unit
    return _TIMES[-1]


def _rounded(value: float) -> float:
    """The value as three digits show it, so that 999.9 kB becomes 1.00 MB and not 1000 kB."""
    return float(f"{value:.2e}")


def _decimals(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(float(f"{abs(value):.{digits - 1}e}"))))
