"""Prints what `edgekit run` did, and what `edgekit cache` holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import RenderableType

from edgekit import printing, units
from edgekit.build_paths import OUTPUTS
from edgekit.build_types import ArtifactReport, RunReport, StageReport
from edgekit.cache_types import CacheEntry, CacheReport


def run(report: RunReport, *, detailed: bool) -> RenderableType:
    """Each artifact as it stands, and the other stages that went wrong; `detailed`: every stage."""
    others = [one for one in report.stages if one.kind != "convert"]
    stages = report.stages if detailed else [one for one in others if _is_wrong(one)]
    return printing.stack(_stages(stages) if stages else None, _artifacts(report.artifacts))


def _is_wrong(stage: StageReport) -> bool:
    return stage.exit_code != 0 or stage.status == "skipped"


def cache(report: CacheReport) -> RenderableType:
    """Every entry, or those that were removed."""
    shown = report.removed or report.entries
    what = "removed" if report.removed else "entries"
    total = units.size(report.size_bytes)
    return printing.stack(
        _entries(shown) if shown else None,
        f"{len(shown)} {what}; {report.directory} now holds {total}",
    )


def _artifacts(artifacts: tuple[ArtifactReport, ...]) -> RenderableType:
    columns = ((f"in {OUTPUTS}/", False), ("size", True), ("accuracy", True), ("latency", True),
               ("", False), ("why", False))  # fmt: skip
    return printing.table(columns, (_artifact(one) for one in artifacts))


def _artifact(one: ArtifactReport) -> printing.Row:
    judged = one.accuracy
    accuracy = units.metric(judged.metric, judged.value) if judged else units.NOT_MEASURED
    return (
        _short(one.path), units.size(one.size_bytes), accuracy, units.duration(one.latency_s),
        one.status, _short(one.why),
    )  # fmt: skip


def _stages(stages: Sequence[StageReport]) -> RenderableType:
    columns = (("stage", False), ("", False), ("why", False))
    return printing.table(
        columns, ((_short(one.name), one.status, _short(one.why)) for one in stages)
    )


def _short(text: str) -> str:
    """Paths without the directory that all have."""
    return re.sub(rf"(^| ){OUTPUTS}/", r"\1", text)


def _entries(entries: tuple[CacheEntry, ...]) -> RenderableType:
    columns = (("entry", False), ("made by", False), ("size", True), ("unused for", True))
    return printing.table(
        columns,
        (
            (one.key[:12], one.name, units.size(one.size_bytes), _age(one.unused_s))
            for one in entries
        ),
    )


def _age(age_s: float) -> str:
    for length_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age_s >= length_s:
            return f"{age_s / length_s:.0f} {unit}"
    return f"{age_s:.0f} s"
