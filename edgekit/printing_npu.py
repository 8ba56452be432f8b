"""How an estimate for an NPU reads: every figure under a heading that says what it is."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import tensor_names, units
from edgekit.npu_types import CpuOperator, NpuEstimate

HEADING = "estimate, NPU only"
SHOWN_OPERATORS = 8


def facts(estimate: NpuEstimate) -> Iterator[tuple[str, str]]:
    """Labelled lines: time and cycles, memories, operators."""
    yield (
        HEADING,
        f"{units.duration(estimate.inference_s)}, {estimate.total_cycles:,} cycles at"
        f" {estimate.clock_hz / 1e6:g} MHz (arithmetic {estimate.npu_cycles:,}"
        + "".join(f", {entry.name} {entry.cycles:,}" for entry in estimate.memories if entry.cycles)
        + ")",
    )
    yield HEADING, _memories(estimate)
    yield "estimated by", f"{estimate.by}: {_options(estimate)}"
    yield "operators", _operators(estimate)


def _memories(estimate: NpuEstimate) -> str:
    return ", ".join(
        f"{entry.name} {units.size(entry.used_bytes)} ({units.size(entry.traffic_bytes)} moved)"
        for entry in estimate.memories
        if entry.used_bytes or entry.traffic_bytes
    )


def _options(estimate: NpuEstimate) -> str:
    return f"{estimate.accelerator}, {estimate.system_config}, {estimate.memory_mode}"


def _operators(estimate: NpuEstimate) -> str:
    cpu = estimate.cpu_operators
    lines = [f"{estimate.npu_operators} on the NPU, {len(cpu)} on the CPU"]
    lines += [_operator(entry) for entry in cpu[:SHOWN_OPERATORS]]
    if len(cpu) > SHOWN_OPERATORS:
        lines.append(f"and {len(cpu) - SHOWN_OPERATORS} more: see the manifest")
    return "\n".join(lines)


def _operator(entry: CpuOperator) -> str:
    reason = entry.reason or "Vela gives no reason"
    return f"CPU: {entry.kind} {tensor_names.short(entry.name)} ({reason})"
