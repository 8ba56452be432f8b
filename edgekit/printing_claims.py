"""How `edgekit bench` shows what was expected of an artifact, beside what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from edgekit import printing, units
from edgekit.result_types import BenchReport, ClaimCheck

_COLUMNS = (
    ("expected → measured,\nagainst the first artifact", False),
    ("as fast", True),
    ("smaller", True),
    ("smaller\nzipped", True),
    ("MACs,\ncounted", True),
)
_NOT_KNOWN = "?"


def claims(report: BenchReport, names: Mapping[str, str]) -> RenderableType | None:
    """A line per artifact of which its manifest claims something; None where none does.

    Args:
        report: What was measured.
        names: The artifacts' paths, and what they are called in the tables.
    """
    rows = [_row(name, found) for name, found in _told(report, names)]
    if not rows:
        return None
    targets = dict.fromkeys(found.target for _, found in _told(report, names))
    what = Text(
        f"expected by [gain] of edgekit profiles show {', '.join(targets)}; ?: not known there",
        style="dim",
    )
    return printing.stack(printing.table(_COLUMNS, rows), what)


def shortfalls(report: BenchReport) -> Iterator[str]:
    """A sentence for each claim that did not come true, the artifact in front."""
    for path, found in _told(report, {}):
        yield from (f"{path}: {text}" for text in found.shortfalls)


def _told(report: BenchReport, names: Mapping[str, str]) -> Iterator[tuple[str, ClaimCheck]]:
    paths = {one.artifact.sha256: one.artifact.path for one in report.results}
    for comparison in report.comparison:
        if comparison.claim is not None:
            path = paths[comparison.candidate]
            yield names.get(path, path), comparison.claim


def _row(name: str, found: ClaimCheck) -> list[printing.Cell]:
    claimed, measured = found.claimed, found.measured
    return [
        name,
        _pair(claimed.latency, measured.latency),
        _pair(claimed.raw_size, measured.raw_size),
        _pair(claimed.zipped_size, measured.zipped_size),
        "" if found.macs is None else f"× {units.significant(1 / found.macs)}",
    ]


def _pair(claimed: float | None, measured: float | None) -> str:
    expected = _NOT_KNOWN if claimed is None else units.factor_of(claimed)
    return f"{expected} → {units.factor_of(measured)}" if measured else expected
