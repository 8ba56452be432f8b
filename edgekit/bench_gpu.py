"""What a GPU did in the processes that measured an engine, put together."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from edgekit.bench_rounds import Observed
from edgekit.bench_statistics import known
from edgekit.result_types import Gpu, GpuReplicate, Replicate

HELD_DOWN = (
    "sw_power_cap", "hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
)  # fmt: skip
"""The reasons for a lower clock that power and heat are; the others are settings, or no work."""
_MEDIANS = (
    "compute_median_s", "h2d_median_s", "d2h_median_s", "memory_bytes", "clock_before_hz",
    "clock_after_hz", "memory_clock_hz", "power_w", "temperature_c",
)  # fmt: skip


def gpu(observed: Observed) -> Gpu | None:
    """The GPU's part of what was observed; None where no GPU took part."""
    machine = observed.frames["facts"].get("gpu")
    if machine is None:
        return None
    seen = _seen(observed.replicates)
    medians = {name: _median([getattr(one, name) for one in seen]) for name in _MEDIANS}
    memory_bytes = medians["memory_bytes"]
    told = {
        **machine,
        **medians,
        "memory_bytes": None if memory_bytes is None else round(memory_bytes),
        "cuda_graph": seen[0].cuda_graph if seen else None,
        "throttle_reasons": _reasons(seen),
    }
    return msgspec.convert(told, Gpu)


def warnings(replicates: Sequence[Replicate]) -> Iterator[str]:
    """What qualifies a GPU's figures."""
    seen = _seen(replicates)
    reasons = [name for name in _reasons(seen) or () if name in HELD_DOWN]
    if reasons:
        yield (
            f"power or heat held the GPU's clock down ({', '.join(reasons)}): the latency is that"
            " of this state"
        )


def _seen(replicates: Sequence[Replicate]) -> list[GpuReplicate]:
    return [one.gpu for one in replicates if one.gpu is not None]


def _reasons(seen: Sequence[GpuReplicate]) -> tuple[str, ...] | None:
    told = [one.throttle_reasons for one in seen]
    if not told or None in told:
        return None
    return tuple(sorted({name for reasons in told for name in reasons or ()}))


def _median(values: Sequence[float | None]) -> float | None:
    found = known(values)
    return statistics.median(found) if found else None
