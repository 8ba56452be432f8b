"""Reads what Vela says of a network: its summary, and why an operator stays on the CPU.

Which operators those are is read from the compiled file, not from what Vela prints.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from edgekit import errors
from edgekit.errors import ConversionError
from edgekit.npu_types import CpuOperator, NpuEstimate, NpuMemory
from edgekit.profile_types import EthosUOptions
from edgekit.tflite_file import Graph

NPU_OPERATOR = "ethos-u"
"""The custom operator that holds the command stream."""
MEMORIES = {
    "sram": "sram", "dram": "dram", "on-chip flash": "on_chip_flash",
    "off-chip flash": "off_chip_flash",
}  # fmt: skip
"""Memories, and what the columns of Vela's summary call them."""

_REASON = re.compile(
    r"^Warning \(supported operators\) operator: (?P<kind>\w+), ofm: '(?P<name>.*)'\n"
    r"Reason: (?P<reason>(?:.+\n?)+)",
    re.MULTILINE,
)


def estimate(
    summary: Path,
    printed: str,
    source: Graph,
    compiled: Graph,
    by: str,
    options: EthosUOptions,
) -> NpuEstimate:
    """Vela's estimate as data.

    Args:
        summary: The CSV file that Vela wrote.
        printed: Vela's standard output, which has the reasons.
        source: The network that was given to Vela.
        compiled: What Vela made of it.
        by: Vela's name and version.
        options: What it was told.

    Raises:
        ConversionError: The NPU takes no operator, or Vela could not estimate anything.
    """
    cpu = tuple(cpu_operators(compiled, printed))
    if all(operator.name != NPU_OPERATOR for operator in compiled.operators):
        raise _nothing_on_npu(source, cpu, options)
    row = _row(summary)
    return NpuEstimate(
        by=by,
        accelerator=options.accelerator,
        system_config=options.system_config,
        memory_mode=options.memory_mode,
        clock_hz=_number(row, "core_clock"),
        inference_s=_number(row, "inference_time"),
        total_cycles=int(_number(row, "cycles_total")),
        npu_cycles=int(_number(row, "cycles_npu")),
        macs=int(_number(row, "nn_macs")),
        memories=tuple(_memories(row)),
        npu_operators=len(source.operators) - len(cpu),
        cpu_operators=cpu,
    )


def cpu_operators(compiled: Graph, printed: str) -> Iterator[CpuOperator]:
    """What is left of the network beside the NPU's command streams, with Vela's reasons."""
    reasons = {
        (found["kind"], found["name"]): errors.one_line(found["reason"])
        for found in _REASON.finditer(printed)
    }
    for operator in compiled.operators:
        if operator.name != NPU_OPERATOR:
            name = compiled.tensors[operator.outputs[0]].name if operator.outputs else ""
            yield CpuOperator(name, operator.name, reasons.get((operator.name, name)))


def _row(summary: Path) -> dict[str, str]:
    with summary.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if len(rows) != 1:
        raise ConversionError(f"Vela's summary has {len(rows)} rows, expected was 1", _OTHER_VELA)
    return rows[0]


_OTHER_VELA = "install the version of Vela that edgekit was tested with (constraints.txt)"


def _number(row: dict[str, str], column: str) -> float:
    """A figure of the summary; Vela writes `nan` where it could not estimate."""
    if column not in row:
        raise ConversionError(f"Vela's summary has no column {column}", _OTHER_VELA)
    value = float(row[column])
    if not math.isfinite(value) or value < 0:
        raise ConversionError(
            f"Vela could not estimate the model: {column} is {row[column]}",
            "check that the model is int8 throughout (edgekit inspect)",
        )
    return value


def _memories(row: dict[str, str]) -> Iterator[NpuMemory]:
    for name, column in MEMORIES.items():
        yield NpuMemory(
            name,  # type: ignore[arg-type]  # the keys of MEMORIES are these names
            used_bytes=round(1024 * _number(row, f"{column}_memory_used")),
            traffic_bytes=int(_number(row, f"{column}_total_bytes")),
            cycles=int(_number(row, f"cycles_{column}_access")),
        )


def _nothing_on_npu(
    source: Graph, cpu: tuple[CpuOperator, ...], options: EthosUOptions
) -> ConversionError:
    why = next((f"; of {entry.kind} it says: {entry.reason}" for entry in cpu if entry.reason), "")
    return ConversionError(
        f"Vela places none of the {len(source.operators)} operators on {options.accelerator}{why}",
        "give a model that is int8 throughout, or choose a --target without an NPU",
    )
