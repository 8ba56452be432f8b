"""How `edgekit bench` shows what was measured: one table, then what qualifies it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType

from edgekit import printing, printing_claims, printing_emulated, printing_gpu, units
from edgekit.bench_rounds import ENOUGH
from edgekit.result_types import BenchReport, Comparison, DeviceInfo, Latency, Result
from edgekit.types import Accuracy

_COLUMNS = (
    ("artifact", False),
    ("size\ngzip", True),
    ("accuracy\n[95 %]", True),
    ("median latency\n[95 %]", True),
    ("speed-up\n[95 %]", True),
    ("peak\nmemory", True),
)
_DETAIL_COLUMNS = (
    ("artifact", False),
    ("per\nsecond", True),
    ("p90\np99", True),
    ("runtime\nimport", True),
    ("load", True),
    ("first\ninference", True),
    ("ran by", False),
)

_MOST_NAMED = 3
"""Artifacts that the legend names for their wide intervals."""


def bench(report: BenchReport, *, detailed: bool = False) -> RenderableType:
    """The measurements, with the intervals below the figures, and the notes they need.

    Args:
        report: What was measured.
        detailed: Also throughput, percentiles, cold start and delegate.
    """
    names = _short_names(report)
    details = [_detail_row(result, names) for result in report.results]
    return printing.stack(
        *_tables(report, names),
        printing_gpu.table(report, names),
        printing_claims.claims(report, names),
        printing.table(_DETAIL_COLUMNS, details) if detailed else None,
        *(_operators(result, names) for result in report.results if result.operators),
        printing.facts(_legend(report)),
        printing.warnings(_warnings(report)),
    )


def _short_names(report: BenchReport) -> dict[str, str]:
    """Paths without the directories that they share."""
    paths = {result.artifact.path: Path(result.artifact.path) for result in report.results}
    if len({path.is_absolute() for path in paths.values()}) > 1:
        return {name: name for name in paths}
    shared = os.path.commonpath([path.parent for path in paths.values()])
    return {name: str(path.relative_to(shared)) for name, path in paths.items()}


def _tables(report: BenchReport, names: dict[str, str]) -> Iterator[RenderableType]:
    """What was timed in one table; C on emulated boards, with other figures, in another."""
    boards = [one for one in report.results if printing_emulated.is_emulated(one)]
    others = [one for one in report.results if not printing_emulated.is_emulated(one)]
    if others:
        yield _table(report, others, names)
    if boards:
        columns = (_COLUMNS[0], _COLUMNS[2], *printing_emulated.COLUMNS)
        rows = [
            [_name(one, names), _accuracy(one.accuracy), *printing_emulated.cells(one)]
            for one in boards
        ]
        yield _placed(columns, rows, boards)


def _table(report: BenchReport, results: Sequence[Result], names: dict[str, str]) -> RenderableType:
    found = {(c.device, c.baseline, c.candidate): c for c in report.comparison}
    first = report.results[0].artifact.sha256
    rows = [
        _row(result, names, found.get((result.device.url, first, result.artifact.sha256)))
        for result in results
    ]
    return _placed(_COLUMNS, rows, results)


def _placed(
    columns: Sequence[tuple[str, bool]],
    rows: Sequence[list[printing.Cell]],
    results: Sequence[Result],
) -> RenderableType:
    """A row for each artifact and device; a device that is alone stands in the title."""
    titles = {result.device.url: _title(result.device) for result in results}
    if len(titles) == 1:
        return printing.table(columns, rows, title=next(iter(titles.values())))
    placed = [
        [row[0], result.device.url, *row[1:]] for row, result in zip(rows, results, strict=True)
    ]
    return printing.table((columns[0], ("device", False), *columns[1:]), placed)


def _title(device: DeviceInfo) -> str:
    where = f"{device.url} (this machine)" if device.measured_here else device.url
    threads = f"{device.threads} thread" + "s" * (device.threads != 1)
    return f"{where}: {device.cpu or 'unknown CPU'}, {device.arch}, {threads}"


def _row(
    result: Result, names: dict[str, str], comparison: Comparison | None
) -> list[printing.Cell]:
    artifact = result.artifact
    return [
        _name(result, names),
        printing.two_lines(units.size(artifact.size_bytes), units.size(artifact.gzip_bytes)),
        _accuracy(result.accuracy),
        _latency(result.latency),
        _speed_up(comparison),
        units.size(result.memory.peak_delta_bytes),
    ]


def _name(result: Result, names: dict[str, str]) -> printing.Cell:
    artifact = result.artifact
    return printing.two_lines(names[artifact.path], artifact.precision or "precision not known")


def _accuracy(accuracy: Accuracy | None) -> printing.Cell:
    if accuracy is None:
        return units.NOT_MEASURED
    return printing.two_lines(
        units.metric(accuracy.metric, accuracy.value),
        units.metric_interval(accuracy.metric, accuracy.value, accuracy.ci95),
    )


def _latency(latency: Latency) -> printing.Cell:
    """The median; where the machine was contended CPU time leads, which others disturb less.

    CPU time holds the measuring loop's own work too: where that makes it the larger figure, it says
    less than the wall time, which then stays in front.
    """
    wall, cpu = latency.median_s, latency.cpu_median_s
    star = "*" if latency.contended else ""
    if latency.contended and wall is not None and cpu is not None and cpu < wall:
        return printing.two_lines(f"{units.duration(cpu)}*", f"wall {units.duration(wall)}")
    if wall is None and latency.mean_s is not None:
        return printing.two_lines(units.NOT_MEASURED, f"mean {units.duration(latency.mean_s)}")
    interval = units.duration_interval(wall, latency.ci95_s)
    return printing.two_lines(f"{units.duration(wall)}{star}", interval)


def _speed_up(comparison: Comparison | None) -> printing.Cell:
    """Latency of the first artifact over this one's: the ratio that was measured, turned over."""
    if comparison is None:
        return ""
    low, high = (1 / edge for edge in reversed(comparison.ratio_ci95))
    figure = units.factor_of(1 / comparison.ratio) if comparison.different else "same"
    return printing.two_lines(figure, f"[{units.significant(low)}, {units.significant(high)}]")


def _detail_row(result: Result, names: dict[str, str]) -> list[printing.Cell]:
    latency, cold, delegate = result.latency, result.cold_start, result.delegate
    per_second = result.throughput_per_s
    took = "" if delegate.nodes is None else f"{delegate.nodes} of {delegate.total_nodes} nodes"
    return [
        names[result.artifact.path],
        units.NOT_MEASURED if per_second is None else units.significant(per_second),
        printing.two_lines(units.duration(latency.p90_s), units.duration(latency.p99_s)),
        units.duration(cold.import_s),
        units.duration(cold.load_s),
        units.duration(cold.first_inference_s),
        printing.two_lines(delegate.name or units.NOT_MEASURED, took),
    ]


def _operators(result: Result, names: dict[str, str]) -> RenderableType:
    """The time of each operator, the longest first."""
    operators = sorted(result.operators or (), key=lambda one: -one.median_s)
    total_s = sum(one.median_s for one in operators)
    columns = [("operator", False), ("kind", False), ("ran as", False), ("median", True)]
    rows: list[printing.Row] = [
        [
            one.name,
            one.kind,
            one.implementation,
            printing.two_lines(
                units.duration(one.median_s),
                f"{100 * one.median_s / total_s:.1f} %" if total_s else "",
            ),
        ]
        for one in operators
    ]
    return printing.table(columns, rows, title=names[result.artifact.path])


def _legend(report: BenchReport) -> Iterator[tuple[str, printing.Cell]]:
    latencies = [result.latency for result in report.results]
    titles = dict.fromkeys(_title(result.device) for result in report.results)
    if len(titles) > 1:
        yield "devices", "\n".join(titles)
    yield "accuracy", " · ".join(dict.fromkeys(_measure(one) for one in report.results))
    yield "latency", "\n".join(_efforts(report))
    if any(latency.contended for latency in latencies):
        yield "*", "contended: others disturbed the wall time; CPU time is shown where less"
    if report.comparison:
        yield "speed-up", "over the first artifact, interleaved; same: the interval includes 1"
    if not all(map(printing_emulated.is_emulated, report.results)):
        yield "memory", "what the artifact adds to a process that has its runtime imported"
    yield from printing_emulated.legend(report.results)
    yield from printing_gpu.legend(report)
    yield "units", "kB = 1000 bytes; – was not measured"


def _measure(result: Result) -> str:
    accuracy = result.accuracy
    if accuracy is None:
        said = any(warning.startswith("no accuracy:") for warning in result.warnings)
        return "not measured" if said else "not measured (no --data)"
    better = "" if accuracy.higher_is_better else ", lower is better"
    return f"{accuracy.metric}, n = {accuracy.n}{better}"


def _efforts(report: BenchReport) -> Iterator[str]:
    """Runs and processes of each artifact, then those whose interval stayed wide, widest first.

    At most four lines: of more than three such, two are named and the others counted.
    """
    latencies = [result.latency for result in report.results if result.latency.processes]
    if not latencies:
        yield "not measured"
        return
    runs = _span(latency.runs for latency in latencies)
    processes = _span(latency.processes for latency in latencies)
    known = sorted((one for one in report.results if one.latency.ci95_s), key=_width, reverse=True)
    wide = [one for one in known if _width(one) > ENOUGH]
    reached = "others" if wide else "intervals"
    within = f"; {reached} within ±{ENOUGH * 100:g} %" if len(wide) < len(known) else ""
    yield f"{runs} runs in {processes} processes each{within}"
    named = wide if len(wide) <= _MOST_NAMED else wide[: _MOST_NAMED - 1]
    names = _short_names(report)
    several = len({one.device.url for one in report.results}) > 1
    for one in named:
        where = f" on {one.device.url}" if several else ""
        yield f"{names[one.artifact.path]}{where}: {one.latency.stopped}"
    if others := wide[len(named) :]:
        yield f"{len(others)} more: interval up to ±{_width(others[0]) * 100:.1f} %"


def _width(result: Result) -> float:
    """Half the interval over the median."""
    median_s, interval_s = result.latency.median_s, result.latency.ci95_s
    assert median_s, "an interval has a median"
    assert interval_s, "asked only where there is an interval"
    return (interval_s[1] - interval_s[0]) / 2 / median_s


def _span(counts: Iterable[int]) -> str:
    ordered = sorted(counts)
    return " to ".join(str(count) for count in dict.fromkeys((ordered[0], ordered[-1])))


def _warnings(report: BenchReport) -> Iterator[str]:
    """Each text once, with the artifacts and devices that it is about where not about all."""
    devices = {result.device.url for result in report.results}
    about: dict[str, list[Result]] = {}
    for result in report.results:
        for text in dict.fromkeys((*_qualifications(result), *result.warnings)):
            about.setdefault(text, []).append(result)
    for text, results in about.items():
        names = dict.fromkeys(result.artifact.path for result in results)
        places = dict.fromkeys(result.device.url for result in results)
        where = f" on {', '.join(places)}" if len(places) < len(devices) else ""
        everything = len(results) == len(report.results)
        yield text if everything else f"{', '.join(names)}{where}: {text}"
    yield from printing_claims.shortfalls(report)


def _qualifications(result: Result) -> Iterator[str]:
    if result.latency.why:
        what = "latency" if result.latency.mean_s is None else "median latency"
        yield f"no {what}: {result.latency.why}"
    if not result.complete:
        yield "the measurement was interrupted before its end"
