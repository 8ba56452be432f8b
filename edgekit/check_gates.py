"""The gates of what an artifact costs, against its budgets and a baseline.

Size is exact, to the byte. Accuracy and the latency of a baseline have rooms of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import check_accuracy, check_reading, units
from edgekit.build_types import Budgets
from edgekit.check_types import Against, Figures, Gate

ROUNDING = 1e-9
"""1.025 ms divided by 1000 is a little less than 0.001025 s in floating point."""
C_SUFFIX = ".h"
MEMORY_NOISE_BYTES = 4096
"""What repeats of a measured peak differ by, at most, on an idle machine: one page."""


def budgets(figures: Figures, limits: Budgets) -> Iterator[Gate]:
    """The gates that a budget asks for; what was not measured breaks its gate."""
    if limits.max_size_bytes is not None:
        yield _size(figures, limits.max_size_bytes)
    if limits.max_latency_ms is not None:
        yield _latency(figures, limits.max_latency_ms / 1e3)
    if limits.max_memory_bytes is not None:
        yield _memory(figures, limits.max_memory_bytes)


def baseline(
    figures: Figures, before: Figures, limits: Budgets, tolerance: float
) -> Iterator[Gate]:
    """Size, accuracy and memory against a baseline's; a budget of its own rules size and memory."""
    if limits.max_size_bytes is None:
        yield _size_growth(figures, before)
    if limits.max_memory_bytes is None:
        yield from _memory_growth(figures, before, tolerance)
    yield from check_accuracy.baseline(figures, before, limits.max_drop)


def _size(figures: Figures, limit: int) -> Gate:
    flash = figures.flash_bytes
    if flash is not None:
        return _size_gate(flash, "budget", limit, f"flash {_bytes(flash)}, allowed {_bytes(limit)}")
    told = f"{_size_of(figures)}, allowed {_bytes(limit)}"
    return _size_gate(figures.size_bytes, "budget", limit, told)


def _size_growth(figures: Figures, before: Figures) -> Gate:
    told = f"{_size_of(figures)}, the baseline has {_bytes(before.size_bytes)}"
    return _size_gate(figures.size_bytes, "baseline", before.size_bytes, told)


def _size_of(figures: Figures) -> str:
    """The size in words; C that ran on no emulated microcontroller is measured as text."""
    of = " of the C sources, as text" if figures.artifact.endswith(C_SUFFIX) else ""
    return f"size{of} {_bytes(figures.size_bytes)}"


def _size_gate(value: int, against: Against, limit: int, told: str) -> Gate:
    over = value - limit
    return Gate(
        name="size",
        against=against,
        outcome="broken" if over > 0 else "held",
        unit="bytes",
        value=value,
        allowed=limit,
        line=f"{told}: {_bytes(over)} over" if over > 0 else told,
        fix=_smaller(f"--max-size-bytes {value}") if over > 0 else "",
    )


def _smaller(allowance: str) -> str:
    return (
        "convert to a smaller --precision, or compress first (edgekit recipes list); if it is"
        f" meant, allow it with {allowance}"
    )


def _latency(figures: Figures, limit_s: float) -> Gate:
    told, fix = _latency_words(figures, limit_s)
    over = 0 if figures.elsewhere else 100 * ((figures.median_s or 0) / limit_s - 1)
    return Gate(
        name="latency",
        against="budget",
        outcome="broken" if fix else "held",
        unit="s",
        value=None if figures.elsewhere else figures.median_s,
        allowed=limit_s,
        interval=None if figures.elsewhere else figures.ci95_s,
        level=0.95 if figures.ci95_s and not figures.elsewhere else None,
        line=f"{told}, allowed {units.duration(limit_s)}"
        + (f": {units.significant(over)} % over" if fix and over > 0 else ""),
        fix=fix,
    )


def _latency_words(figures: Figures, limit_s: float) -> tuple[str, str]:
    """What was measured, and what to do about it where that is too much or nothing."""
    median_s, interval_s = figures.median_s, figures.ci95_s
    if median_s is None:
        why = f" ({figures.why_no_latency})" if figures.why_no_latency else ""
        return f"latency was not measured{why}", _measure(figures, "latency")
    if figures.elsewhere:
        return _elsewhere("latency", figures)
    contended = " (contended: others disturbed it)" if figures.contended else ""
    interval = units.duration_interval(median_s, interval_s)
    told = f"median latency {units.duration(median_s)} {interval}".rstrip() + contended
    if median_s <= limit_s * (1 + ROUNDING):
        return told, ""
    if figures.contended or (interval_s and interval_s[0] <= limit_s):
        return (
            told,
            f"on an idle machine and for longer: {check_reading.measure(figures, '--budget 120')}",
        )
    return told, (
        "convert with --precision int8, or compress with a channels recipe (edgekit recipes list);"
        f" if it is meant, allow it with --max-latency-ms {median_s * 1e3:.4g}"
    )


def _measure(figures: Figures, what: str) -> str:
    """How to have what was not measured; an emulator never tells it."""
    if check_reading.is_emulated(figures):
        return (
            f"{figures.device} cannot tell {what}: measure on the device itself, or set no such"
            " budget for it"
        )
    where = "where edgekit doctor says that peak memory can be: " * (what == "peak memory")
    return where + check_reading.measure(figures)


def _elsewhere(what: str, figures: Figures) -> tuple[str, str]:
    """A figure of this machine is none of the target's, however small it is."""
    return (
        f"{what} was measured on this machine, which says nothing about a {figures.target}",
        f"measure on a {figures.target} (edgekit bench --device URL), or set no such budget for it",
    )


def _memory(figures: Figures, limit: int) -> Gate:
    emulated = figures.flash_bytes is not None
    what = "RAM with stack, inputs and outputs" if emulated else "peak memory"
    value = figures.ram_bytes if emulated else figures.peak_delta_bytes
    if value is None and emulated:
        told = f"{what} is unknown: the stack is deeper than bench looks"
        fix = "measure it on the board itself, or set no such budget"
    elif value is None:
        told = "peak memory was not measured"
        fix = _measure(figures, "peak memory")
    elif figures.elsewhere:
        told, fix = _elsewhere(what, figures)
    else:
        told = f"{what} {_bytes(value)}"
        fix = _smaller(f"--max-memory-bytes {value}") if value > limit else ""
    return Gate(
        name="memory",
        against="budget",
        outcome="broken" if fix else "held",
        unit="bytes",
        value=None if figures.elsewhere else value,
        allowed=limit,
        line=f"{told}, allowed {_bytes(limit)}",
        fix=fix,
    )


def _memory_growth(figures: Figures, before: Figures, tolerance: float) -> Iterator[Gate]:
    """A warning only: a peak has no interval that would tell growth from chance."""
    value, reference = figures.peak_delta_bytes, before.peak_delta_bytes
    if value is None or reference is None:
        return
    allowed = reference * (1 + tolerance) + MEMORY_NOISE_BYTES
    grown = value > allowed
    yield Gate(
        name="memory",
        against="baseline",
        outcome="warned" if grown else "held",
        unit="bytes",
        value=value,
        allowed=allowed,
        line=f"peak memory {_bytes(value)}, the baseline has {_bytes(reference)}",
        fix="set --max-memory-bytes to let growth break it" if grown else "",
    )


def _bytes(value: float) -> str:
    """Bytes as a count, since one too many counts."""
    return f"{value:,.0f} byte{'s' * (value != 1)}".replace(",", " ")
