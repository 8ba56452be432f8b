"""What LiteRT's `benchmark_model` is asked, and what it prints.

Its lines: tensorflow/lite/tools/benchmark (benchmark_model.cc, benchmark_tflite_model.cc) and
tensorflow/core/util/stats_calculator.h. Times are microseconds; its "MB" are 1024 · 1024 bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgekit.errors import DeviceError

Delegate = Literal["cpu", "gpu", "nnapi"]

_FLAGS: dict[Delegate, tuple[str, ...]] = {
    "cpu": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
}
_NAMES: dict[Delegate, str] = {"cpu": "XNNPACK", "gpu": "GPU", "nnapi": "NNAPI"}
_MIB = 1 << 20
_WARM_UP_S = 0.5

_COUNT = re.compile(r"\bcount=(?P<count>\d+) .*\bmin=(?P<min>\S+) .*\bavg=(?P<avg>\S+)(?P<more>.*)")
_MEDIAN = re.compile(r"\bmedian=(\S+)")
_TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<init>\S+), First inference: (?P<first>\S+),"
)
_MEMORY = re.compile(
    r"Memory footprint delta from the start of the tool \(MB\): init=\S+ overall=(?P<overall>\S+)"
)
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>\w+) delegate, and the model graph will be"
    r" (?P<how>completely|partially) executed"
)
_NOT_APPLIED = re.compile(r"Though (?P<name>\w+) delegate is explicitly applied, .* not be")
_REPLACED = re.compile(r"Replacing (?P<taken>\d+) out of (?P<total>\d+) node\(s\)")


@dataclass(frozen=True, slots=True)
class Run:
    """One process of `benchmark_model`. What it did not print is None.

    `median_s` is printed since 2024; before, only the mean was. `nodes` are those that the
    delegate took of `total_nodes`; `delegate` is None where it took none.
    """

    runs: int
    min_s: float
    mean_s: float
    median_s: float | None
    warm_up_runs: int | None
    load_s: float | None
    first_inference_s: float | None
    peak_delta_bytes: int | None
    delegate: str | None
    partial: bool
    nodes: int | None
    total_nodes: int | None


def arguments(
    graph: str, delegate: Delegate, *, threads: int, least_runs: int, least_s: float, most_s: float
) -> list[str]:
    """The flags of one process.

    Args:
        graph: The .tflite on the device.
        delegate: What is to execute it.
        threads: Threads for what runs on the CPU.
        least_runs: Inferences wanted.
        least_s: Seconds of inferences wanted.
        most_s: Seconds after which it stops.
    """
    return [
        f"--graph={graph}",
        f"--num_threads={threads}",
        f"--num_runs={least_runs}",
        f"--min_secs={least_s:.3f}",
        f"--max_secs={most_s:.3f}",
        f"--warmup_min_secs={min(_WARM_UP_S, least_s):.3f}",
        *_FLAGS[delegate],
    ]


def parse(text: str, delegate: Delegate, what: str) -> Run:
    """Reads what one process printed.

    Args:
        text: Standard output and standard error.
        delegate: What was asked for.
        what: The artifact, for messages.

    Raises:
        DeviceError: It holds no measurement, or the delegate took nothing of the graph: figures of
            the CPU are not given out as those of another.
    """
    counts = list(_COUNT.finditer(text))
    if not counts:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "ERROR" in line), lines and lines[-1])
        raise DeviceError(
            f"benchmark_model measured nothing of {what}: {said or 'it printed nothing'}",
            "check that it is built for this device, and the file with --device local",
        )
    took = _delegation(text, delegate, what)
    timed, warm = counts[-1], counts[0] if len(counts) > 1 else None
    median = _MEDIAN.search(timed["more"])
    timings, memory = _TIMINGS.search(text), _MEMORY.search(text)
    return Run(
        runs=int(timed["count"]),
        min_s=_seconds(timed["min"]),
        mean_s=_seconds(timed["avg"]),
        median_s=_seconds(median[1]) if median else None,
        warm_up_runs=int(warm["count"]) if warm else None,
        load_s=_seconds(timings["init"]) if timings else None,
        first_inference_s=_seconds(timings["first"]) if timings else None,
        peak_delta_bytes=round(float(memory["overall"]) * _MIB) if memory else None,
        delegate=took.name,
        partial=took.partial,
        nodes=took.nodes,
        total_nodes=took.total_nodes,
    )


@dataclass(frozen=True, slots=True)
class _Delegation:
    name: str | None
    partial: bool
    nodes: int | None
    total_nodes: int | None


def _delegation(text: str, delegate: Delegate, what: str) -> _Delegation:
    """What took the graph, in the tool's own words; it goes on with the CPU where it cannot."""
    applied = {found["name"]: found["how"] for found in _APPLIED.finditer(text)}
    name = _NAMES[delegate]
    refused = any(found["name"] == name for found in _NOT_APPLIED.finditer(text))
    if delegate != "cpu" and (refused or name not in applied):
        raise DeviceError(
            f"the {name} delegate took nothing of {what} on this device: it would have run on the"
            " CPU",
            "measure it with --delegate cpu, or convert it to a precision that the delegate takes",
        )
    replaced = [(int(one["taken"]), int(one["total"])) for one in _REPLACED.finditer(text)]
    if len(replaced) == 1:  # several delegates or subgraphs: whose nodes they are is not told
        taken, total = replaced[0]
        return _Delegation(name if taken else None, taken < total, taken, total)
    told = name in applied or "XNNPACK delegate" in text
    return _Delegation(name if told else None, applied.get(name) == "partially", None, None)


def _seconds(microseconds: str) -> float:
    return float(microseconds.rstrip(",")) / 1e6
