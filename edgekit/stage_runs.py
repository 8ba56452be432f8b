"""Obtains a stage's outputs: from the cache, or by running it in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgekit import stage_work
from edgekit.build_types import Stage, Status
from edgekit.errors import EdgekitError, OutputError, UserError, from_refusal, is_refusal
from edgekit.locking import Stopped
from edgekit.store import Store
from edgekit.workers import Worker, WorkerBug

BUG_EXIT_CODE = 70


class Obtained(NamedTuple):
    """How a stage ended. `work` holds its outputs and is None where it failed."""

    status: Status
    work: Path | None
    why: str = ""
    exit_code: int = 0
    gate: str | None = None
    elapsed_s: float = 0.0
    bug: str = ""


@dataclass(frozen=True)
class Runs:
    """What the stages of one run share.

    `key_now` says what a stage's key is by now; `made` are the keys of what this run has made.
    `stop` ends what is waiting, `living` are the processes of stages, to be ended then.
    """

    directory: Path
    store: Store
    force: bool
    key_now: Callable[[Stage], str]
    made: set[str]
    stop: threading.Event
    living: set[int]
    tell: Callable[[str], None]

    def end(self) -> None:
        """Makes every stage that is at work end at once."""
        self.stop.set()
        for pid in tuple(self.living):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def obtain(runs: Runs, stage: Stage, key: str, work: Path) -> Obtained:
    """Has a stage's outputs in `work`, whoever made them; called in a thread of its own.

    Nobody else makes the same outputs meanwhile: another run that wants them waits, and then takes
    them from the cache.

    Args:
        runs: What the stages share.
        stage: What is wanted.
        key: Its identity.
        work: A work directory of the cache, empty.
    """
    started_s = time.monotonic()
    try:
        found = _obtain(runs, stage, key, work)
    except EdgekitError as error:
        found = Obtained("failed", None, _without(work, str(error)), error.exit_code)
    except WorkerBug as error:
        lines = str(error).splitlines()
        found = Obtained("failed", None, lines[-1], BUG_EXIT_CODE, bug=str(error))
    except OSError as error:
        if not is_refusal(error):
            raise
        refused = from_refusal(error)
        found = Obtained("failed", None, str(refused), refused.exit_code)
    return found._replace(elapsed_s=time.monotonic() - started_s)


def _obtain(runs: Runs, stage: Stage, key: str, work: Path) -> Obtained:
    if stage.kind == "bench":  # a measurement is no function of its inputs: none is shared
        return Obtained("built", work, gate=_run(runs, stage, work))

    def waits() -> None:
        runs.tell(f"{stage.name}: the same is being made elsewhere; waiting for it")

    with runs.store.locked(key, stopped=runs.stop.is_set, on_wait=waits):
        taken = work / "taken"
        taken.mkdir()
        again = runs.force and key not in runs.made
        found = None if again else runs.store.take(key, taken, runs.tell)
        if found:
            return Obtained("cached", taken, gate=found.gate)
        made = work / "made"
        made.mkdir()
        gate = _run(runs, stage, made)
        _check_inputs(runs, stage, key)
        names = [Path(path).name for path in stage.outputs]
        runs.store.put(key, stage.kind, stage.name, made, names, gate)
        runs.made.add(key)
        if runs.store.take(key, taken, runs.tell) is None:
            raise OutputError(
                f"the cache {runs.store.directory} does not keep what is written to it",
                "name another with --cache-dir",
            )
        return Obtained("built", taken, gate=gate)


def _check_inputs(runs: Runs, stage: Stage, key: str) -> None:
    """What was made of changed inputs must not be kept under the key of the earlier ones."""
    if runs.key_now(stage) != key:
        raise UserError(
            "an input was changed while it was being read; nothing was kept", "run it again"
        )


def _run(runs: Runs, stage: Stage, work: Path) -> str | None:
    """Runs a stage in a process of its own, which dies with this one; what its budget said."""
    if runs.stop.is_set():
        raise Stopped
    runs.tell(f"{stage.name}: started")
    with _living(runs, Worker("edgekit.stage_work:Stages", stage.name)) as worker:
        gate: str | None = worker.call(
            "run",
            kind=stage.kind,
            directory=str(runs.directory.absolute()),
            work=str(work),
            options=msgspec.to_builtins(stage.options),
            outputs=list(stage.outputs),
        )
    return gate


@contextlib.contextmanager
def _living(runs: Runs, worker: Worker) -> Iterator[Worker]:
    runs.living.add(worker.pid())
    try:
        with worker:
            if runs.stop.is_set():  # between the look before and now
                raise Stopped
            yield worker
    finally:
        runs.living.discard(worker.pid())


def progress(work: Path, seen: int) -> tuple[list[str], int]:
    """What a stage has said since `seen` bytes."""
    for log in (work / "made" / stage_work.PROGRESS, work / stage_work.PROGRESS):
        try:
            said = log.read_bytes()[seen:]
        except FileNotFoundError:
            continue
        whole, _, _ = said.rpartition(b"\n")
        return whole.decode(errors="replace").splitlines(), seen + len(whole) + bool(whole)
    return [], seen


def _without(work: Path, text: str) -> str:
    return text.replace(f"{work}/made/", "").replace(f"{work}/", "")
