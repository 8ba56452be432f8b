"""Judges each stage of a run: whether it must run, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgekit import stage_keys
from edgekit.build_types import Stage, StageInput, StageReport
from edgekit.errors import EdgekitError
from edgekit.pipeline_report import skipped, stage_report, up_to_date
from edgekit.run_state import States
from edgekit.stage_keys import Hashes
from edgekit.store import Store


class Verdict(NamedTuple):
    """What is to be done with a stage: why it must run, or None where it need not."""

    key: str
    inputs: tuple[StageInput, ...]
    why: str | None


class Judge:
    """Says of each stage whether it must run."""

    def __init__(
        self, directory: Path, hashes: Hashes, states: States, kept: Store, force: bool
    ) -> None:
        self.directory = directory
        self.states = states
        self.kept = kept
        self.force = force
        self._hashes = hashes

    def verdict(self, stage: Stage) -> Verdict:
        """Compares a stage's inputs and outputs with those of the last run.

        Raises:
            UserError: An input cannot be read, or something stands in the outputs' place.
        """
        given = stage_keys.inputs(stage, self._hashes, self.states.stages)
        key = stage_keys.key(stage, given)
        why = self._why(stage, key, given)
        if why:
            self.states.may_place(stage, force=self.force)
        return Verdict(key, given, why)

    def key_now(self, stage: Stage) -> str:
        """A stage's key by what its inputs are now, whatever they were when the run began."""
        given = stage_keys.inputs(stage, Hashes(self.directory), self.states.stages)
        return stage_keys.key(stage, given)

    def _why(self, stage: Stage, key: str, given: tuple[StageInput, ...]) -> str | None:
        before = self.states.stages.get(stage.name)
        if self.force:
            return "--force"
        if before is None:
            return "it is new here"
        if before.pending and not before.key:
            return "the last run was interrupted"
        if before.key != key:
            return stage_keys.changes(before.inputs, given)
        return self.states.differs(stage)


def dry_run(judge: Judge, stages: Sequence[Stage]) -> list[StageReport]:
    """A dry run: what would be run, and why."""
    reports: dict[str, StageReport] = {}
    for stage in stages:
        waiting = [name for name in stage.needs if reports[name].status != "up to date"]
        failed = [name for name in waiting if reports[name].status in ("failed", "skipped")]
        if failed:
            reports[stage.name] = skipped(stage, failed)
        elif waiting:
            reports[stage.name] = stage_report(stage, "would run", f"{waiting[0]} comes before it")
        else:
            reports[stage.name] = _looked(judge, stage)
    return list(reports.values())


def _looked(judge: Judge, stage: Stage) -> StageReport:
    try:
        verdict = judge.verdict(stage)
    except EdgekitError as error:
        return stage_report(stage, "failed", str(error), exit_code=error.exit_code)
    if verdict.why is None:
        return up_to_date(stage, judge.states.stages[stage.name])
    cached = stage.kind != "bench" and not judge.force and judge.kept.record(verdict.key)
    return stage_report(stage, "in the cache" if cached else "would run", verdict.why, verdict.key)
