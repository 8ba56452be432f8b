"""How a GPU's part of a measurement, and an engine that was built, read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType

from edgekit import printing, units
from edgekit.engine_types import EngineInfo
from edgekit.result_types import BenchReport, Gpu

_COLUMNS = (
    ("artifact", False),
    ("GPU", False),
    ("engine alone\nmedian", True),
    ("to the GPU\nback", True),
    ("CUDA\ngraph", False),
    ("GPU\nmemory", True),
    ("power\nclock", True),
)


def table(report: BenchReport, names: Mapping[str, str]) -> RenderableType | None:
    """The GPU's own times, beside the latencies; None where no GPU took part."""
    rows = [
        _row(names[one.artifact.path], one.gpu) for one in report.results if one.gpu is not None
    ]
    return printing.table(_COLUMNS, rows) if rows else None


def legend(report: BenchReport) -> Iterator[tuple[str, str]]:
    """What those columns mean."""
    if any(result.gpu for result in report.results):
        yield "GPU", "by CUDA events, apart from the latency, which is all of an inference"


def engine(found: EngineInfo, build_s: float | None) -> Iterator[tuple[str, printing.Cell]]:
    """An engine that was built, for `convert`."""
    took = "" if build_s is None else f" in {units.duration(build_s)}"
    where = (
        f"TensorRT {found.tensorrt}, {found.gpu} (compute capability {found.compute_capability}),"
        f" {found.os} on {found.arch}"
    )
    yield "engine", f"{found.file}, built on {found.device}{took}\n{where}"
    counts = (f"{count} {name}" for name, count in found.precisions.items())
    yield "its layers", ", ".join(counts) or "not told"
    sparse = len(found.sparse_layers)
    if sparse:
        yield "2:4 sparse", f"{sparse} layer{'s' * (sparse > 1)}, for which the builder may use it"


def _row(name: str, gpu: Gpu) -> list[printing.Cell]:
    power = units.NOT_MEASURED if gpu.power_w is None else f"{gpu.power_w:.1f} W"
    clock_hz = gpu.clock_after_hz
    clock = units.NOT_MEASURED if clock_hz is None else f"{clock_hz / 1e6:.0f} MHz"
    graph = {True: "on", False: "off", None: units.NOT_MEASURED}[gpu.cuda_graph]
    return [
        name,
        gpu.name,
        units.duration(gpu.compute_median_s),
        printing.two_lines(units.duration(gpu.h2d_median_s), units.duration(gpu.d2h_median_s)),
        graph,
        units.size(gpu.memory_bytes),
        printing.two_lines(power, clock),
    ]
