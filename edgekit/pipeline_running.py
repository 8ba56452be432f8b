"""Runs the stages of a plan: in order, several at once, measurements alone and last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import NamedTuple

from edgekit import placing, stage_runs
from edgekit.build_types import Stage, StageReport, StageState
from edgekit.errors import EdgekitError, GateError
from edgekit.pipeline_report import is_made, skipped, stage_report, up_to_date
from edgekit.pipeline_verdicts import Judge, Verdict
from edgekit.stage_runs import Obtained, Runs

Progress = Callable[[str], None]
LOOK_S = 0.2
"""How often what stages say is looked for."""


def finished(judge: Judge, stages: Sequence[Stage], jobs: int, tell: Progress) -> list[StageReport]:
    """Runs what must be run; whatever ends this also ends every process that was started.

    Args:
        judge: Says which stages must run.
        stages: Each after those that it needs.
        jobs: Stages at once.
        tell: Told what happens.

    Returns:
        What became of each stage, in their order.
    """
    return _Run(judge, stages, jobs, tell).finished()


class _Run:
    """The stages of one run, from the first to the last."""

    def __init__(self, judge: Judge, stages: Sequence[Stage], jobs: int, tell: Progress) -> None:
        self._judge = judge
        self._stages = stages
        self._jobs = jobs
        self._tell = tell
        self._waiting = list(stages)
        self._reports: dict[str, StageReport] = {}
        self._going: dict[Future[Obtained], _Going] = {}
        self._runs = Runs(
            judge.directory, judge.kept, judge.force, judge.key_now, set(), Event(), set(), tell
        )

    def finished(self) -> list[StageReport]:
        """Runs everything; whatever ends this also ends every process that was started."""
        with ExitStack() as stack:
            stack.callback(self._clear)
            pool = stack.enter_context(ThreadPoolExecutor(self._jobs))
            stack.callback(self._runs.end)  # before the pool waits for its threads
            while self._waiting or self._going:
                self._start(pool)
                self._collect()
        return [self._reports[stage.name] for stage in self._stages]

    def _clear(self) -> None:
        for going in self._going.values():
            going.work.close()

    def _start(self, pool: ThreadPoolExecutor) -> None:
        """Settles what needs no work, and starts what does, as far as there is room."""
        for stage in tuple(self._waiting):
            if len(self._going) >= self._jobs or self._measuring():
                return
            if not all(name in self._reports for name in stage.needs):
                continue
            if stage.kind == "bench" and (self._going or self._others_wait()):
                continue
            self._waiting.remove(stage)
            self._settle_or_start(stage, pool)

    def _measuring(self) -> bool:
        return any(going.stage.kind == "bench" for going in self._going.values())

    def _others_wait(self) -> bool:
        return any(stage.kind != "bench" for stage in self._waiting)

    def _settle_or_start(self, stage: Stage, pool: ThreadPoolExecutor) -> None:
        failed = [name for name in stage.needs if not is_made(self._reports[name])]
        if failed:
            self._settle(skipped(stage, failed))
            return
        try:
            verdict = self._judge.verdict(stage)
        except EdgekitError as error:
            self._settle(stage_report(stage, "failed", str(error), exit_code=error.exit_code))
            return
        if verdict.why is None:
            self._settle(up_to_date(stage, self._judge.states.stages[stage.name]))
            return
        self._tell(f"{stage.name}: {verdict.why}")
        work = ExitStack()
        place = work.enter_context(self._judge.kept.work())
        future = pool.submit(stage_runs.obtain, self._runs, stage, verdict.key, place)
        self._going[future] = _Going(stage, verdict, work, place)

    def _collect(self) -> None:
        """Waits until a stage ends, passing on what stages say meanwhile."""
        if not self._going:
            return
        done, _ = wait(self._going, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        for future, going in tuple(self._going.items()):
            self._going[future] = going.heard(self._tell)
        for future in done:
            going = self._going.pop(future)
            with going.work:
                self._end(going, future.result())

    def _end(self, going: _Going, found: Obtained) -> None:
        stage, verdict = going.stage, going.verdict
        if found.work is not None:
            state = StageState(verdict.key, dict(placing.values(verdict.inputs)), gate=found.gate)
            placing.place(self._judge.directory, self._judge.states, stage, found.work, state)
        for line in found.bug.splitlines():
            self._tell(line)
        self._settle(
            stage_report(
                stage,
                found.status,
                found.why or str(verdict.why),
                verdict.key,
                exit_code=found.exit_code or (GateError.exit_code if found.gate else 0),
                gate=found.gate,
                elapsed_s=found.elapsed_s,
            )
        )

    def _settle(self, report: StageReport) -> None:
        self._reports[report.name] = report
        if report.status != "up to date" or report.gate:
            self._tell(f"{report.name}: {report.status} ({report.why})")


class _Going(NamedTuple):
    """A stage at work."""

    stage: Stage
    verdict: Verdict
    work: ExitStack
    place: Path
    heard_bytes: int = 0

    def heard(self, tell: Progress) -> _Going:
        """Passes on what the stage has said since the last time."""
        lines, heard_bytes = stage_runs.progress(self.place, self.heard_bytes)
        for line in lines:
            tell(f"{self.stage.name}: {line}")
        return self._replace(heard_bytes=heard_bytes)
