"""What a run tells in the end: its stages, and each artifact as it now stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import manifest
from edgekit.build_types import (
    ArtifactReport,
    BuildFile,
    RunReport,
    Stage,
    StageReport,
    StageState,
    Status,
)
from edgekit.errors import GateError
from edgekit.manifest_types import Manifest
from edgekit.result_types import BenchReport, Result
from edgekit.types import ErrorBody

_BUG = 70
_MADE = ("built", "cached", "up to date")


def report(file: BuildFile, stages: Sequence[Stage], reports: Sequence[StageReport]) -> RunReport:
    """Puts together what became of the stages, and what is known of each artifact."""
    by_name = {one.name: one for one in reports}
    results = dict(_results(Path(file.directory), stages, by_name))
    rows = [
        _row(Path(file.directory), stage, by_name[stage.name], results)
        for stage in stages
        if stage.kind == "convert"
    ]
    return RunReport("edgekit.run/1", file.path, tuple(rows), tuple(reports), _error(reports))


def stage_report(
    stage: Stage, status: Status, why: str, key: str | None = None, **more: Any
) -> StageReport:
    """What became of a stage."""
    return StageReport(stage.name, stage.kind, status, why, stage.outputs, stage.needs, key, **more)


def up_to_date(stage: Stage, state: StageState) -> StageReport:
    """A stage that need not run; a budget that it did not meet is still not met."""
    code = GateError.exit_code if state.gate else 0
    why = state.gate or ""
    return stage_report(stage, "up to date", why, state.key, exit_code=code, gate=state.gate)


def skipped(stage: Stage, failed: Sequence[str]) -> StageReport:
    """A stage that cannot run, since what it needs is not there."""
    return stage_report(stage, "skipped", f"needs {', '.join(failed)}")


def is_made(one: StageReport) -> bool:
    """Whether a stage's outputs are there."""
    return one.status in _MADE


def _error(reports: Sequence[StageReport]) -> ErrorBody | None:
    """The worst that happened: a bug, what the user can fix, a budget; None where all is well."""
    codes = [_code(one) for one in reports if one.exit_code]
    if not codes:
        return None
    worst = max(codes, key=_badness)
    bad = [one for one in reports if one.exit_code and _code(one) == worst]
    skips = sum(one.status == "skipped" for one in reports)
    after = f"; {skips} stages that need it were skipped" if skips else ""
    more = f" (and {len(bad) - 1} more)" if bad[1:] else ""
    message, _, fix = (bad[0].gate or bad[0].why).partition(". Fix: ")
    kind = {_BUG: "Bug", GateError.exit_code: "GateError"}.get(worst, "UserError")
    return ErrorBody(worst, kind, f"{bad[0].name}: {message}{more}{after}", fix)


def _code(one: StageReport) -> int:
    """What a stage finds wrong with its command line is wrong in edgekit.toml: the user's file."""
    return 1 if one.exit_code == 2 else one.exit_code


def _badness(code: int) -> int:
    return {_BUG: 3, 1: 2, GateError.exit_code: 1}.get(code, 2)


def _row(
    directory: Path,
    stage: Stage,
    found: StageReport,
    results: Mapping[str, tuple[str, Result]],
) -> ArtifactReport:
    path = stage.outputs[0]
    written = manifest.read(directory / path) if is_made(found) else None
    device, result = results.get(path, (None, None))
    assert stage.recipe is not None
    assert stage.precision is not None
    return ArtifactReport(
        path=path,
        model=stage.model,
        recipe=stage.recipe,
        target=stage.target,
        precision=stage.precision,
        status=found.status,
        why=found.gate or found.why,
        size_bytes=written.artifact.size_bytes if written else None,
        accuracy=_accuracy(written, result),
        latency_s=result.latency.median_s if result else None,
        device=device,
    )


def _accuracy(written: Manifest | None, result: Result | None) -> Any:
    if result and result.accuracy:
        return result.accuracy
    return written.accuracy if written else None


def _results(
    directory: Path, stages: Sequence[Stage], reports: Mapping[str, StageReport]
) -> Iterator[tuple[str, tuple[str, Result]]]:
    """What was measured of each artifact, on the first device that it was measured on."""
    for stage in reversed(stages):
        if stage.kind != "bench" or not is_made(reports[stage.name]):
            continue
        files = [path for path in stage.outputs if not path.endswith(manifest.SUFFIX)]
        for artifact, path in zip(stage.options["artifacts"], files, strict=True):
            read = msgspec.json.decode((directory / path).read_bytes(), type=BenchReport)
            yield artifact, (stage.options["devices"][0], read.results[0])
