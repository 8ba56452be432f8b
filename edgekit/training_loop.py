"""Drives training in the worker: epochs, judgement, early stopping, the best epoch restored.

The worker trains for about a second at a call, so that progress and Ctrl-C never wait for an
epoch. The state before training counts as epoch 0: training cannot leave a model worse than it
was on the samples that choose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from edgekit import metrics, units
from edgekit.manifest_types import EpochRecord, Stopped, Trained
from edgekit.types import Accuracy
from edgekit.workers import Worker

CALL_S = 1.0
"""How long one call into the worker trains."""

Bar = Callable[[float, str], None]
"""Told the share of a piece of work that is done, and what it is."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One training: what the worker is told, and who judges.

    `judge` takes the accuracy of the model as it is on the choosing samples. Epochs before
    `earliest` are not yet what is asked (pruning goes on), and are not kept.
    """

    epochs: int
    patience: int | None
    settings: dict[str, Any]
    judge: Callable[[], Accuracy]
    progress: Callable[[str], None]
    bar: Bar
    name: str
    earliest: int = 0


def train(worker: Worker, session: Session) -> Trained:
    """Trains the model in the worker and leaves it at its best epoch.

    Args:
        worker: With training data loaded, and a teacher if the settings distil.
        session: What to do.

    Returns:
        What was done, epoch by epoch. `failed_at_step` is set where the loss stopped being a
        number, which ends the training.
    """
    started = worker.call("start_training", epochs=session.epochs, **session.settings)
    for note in started["notes"]:
        session.progress(f"{session.name}: {note}")
    if session.settings["distill"] is not None:
        _prepare_teacher(worker, session)
    first = max(session.earliest, started.get("first_epoch", 0))
    before = session.judge()
    worker.call("keep")
    history = [EpochRecord(0, None, before)]
    stopped: Stopped = "epochs"
    failed_at = None
    for epoch in range(1, session.epochs + 1):
        state = _epoch(worker, session, epoch, _best(history, first))
        if state["failed_at"] is not None:
            stopped, failed_at = "not finite", int(state["failed_at"])
            break
        record = EpochRecord(epoch, float(state["loss"]), session.judge())
        history.append(record)
        best = _best(history, first)
        if best is record:
            worker.call("keep")
        session.progress(f"{session.name}: {_line(record, best, session.epochs)}")
        if session.patience and epoch - best.epoch >= session.patience:
            stopped = "patience"
            break
    worker.call("restore")
    worker.call("end_training")
    return Trained(
        loss=started["loss"],
        learning_rate=started["learning_rate"],
        batch_size=started["batch_size"],
        steps_per_epoch=started["steps_per_epoch"],
        best_epoch=_best(history, first).epoch,
        stopped=stopped,
        failed_at_step=failed_at,
        history=tuple(history),
        notes=tuple(started["notes"]),
    )


def _prepare_teacher(worker: Worker, session: Session) -> None:
    while True:
        state = worker.call("prepare_teacher", limit_s=CALL_S)
        done, total = state["done"], state["total"]
        if done >= total:
            return
        session.bar(done / total, f"{session.name}: the teacher answers, {done}/{total} samples")


def _epoch(worker: Worker, session: Session, epoch: int, best: EpochRecord) -> dict[str, Any]:
    accuracy = best.accuracy
    shown = f"best {accuracy.metric} {units.metric(accuracy.metric, accuracy.value)}"
    while True:
        state: dict[str, Any] = worker.call("advance", limit_s=CALL_S)
        if state["epoch_done"] or state["failed_at"] is not None:
            return state
        session.bar(
            (epoch - 1 + state["step"] / state["steps_per_epoch"]) / session.epochs,
            f"{session.name}: epoch {epoch}/{session.epochs}, loss {state['loss']:.4g}, {shown}",
        )


def _best(history: list[EpochRecord], first: int) -> EpochRecord:
    """The latest of the best epochs: of equals, the one that was trained longest.

    Epochs before `first` do not count, since the model was not yet what the step makes of it;
    until then the last one is the best.
    """
    best, *others = history[first:] or history[-1:]
    for record in others:
        if metrics.drop(best.accuracy, record.accuracy) <= 0:
            best = record
    return best


def _line(last: EpochRecord, best: EpochRecord, epochs: int) -> str:
    name = last.accuracy.metric
    return (
        f"epoch {last.epoch}/{epochs}, loss {last.loss:.4g},"
        f" {name} {units.metric(name, last.accuracy.value)}"
        f" (best {units.metric(name, best.accuracy.value)}, epoch {best.epoch})"
    )
