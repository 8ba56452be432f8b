"""The training loop: early stopping, the best epoch restored, failures, bars."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit import training_loop
from edgekit.types import Accuracy
from edgekit.workers import Worker


@pytest.fixture
def trainer():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("scripted_training:Scripted", "the scripted trainer") as worker:
            yield worker


def _train(worker, values, *, patience=None, distill=None, higher=True, earliest=0):
    """Trains as many epochs as there are values; values[0] is the state before training."""
    given = iter(values)
    said, shares = [], []
    session = training_loop.Session(
        epochs=len(values) - 1,
        patience=patience,
        settings={"distill": distill},
        judge=lambda: Accuracy("top1" if higher else "mse", next(given), None, 100, higher),
        progress=said.append,
        bar=lambda share, text: shares.append((share, text)),
        name="step",
        earliest=earliest,
    )
    return training_loop.train(worker, session), said, shares


def test_the_best_epoch_comes_back(trainer):
    trained, said, _ = _train(trainer, [0.5, 0.6, 0.9, 0.8])
    assert trained.best_epoch == 2
    assert trained.stopped == "epochs"
    assert trainer.call("state") == {"weights": 2, "calls": ["start 3", "end"]}
    assert said[0] == "step: the loss is mse"
    assert said[-1] == "step: epoch 3/3, loss 0.1111, top1 80.00 % (best 90.00 %, epoch 2)"


def test_training_that_only_harms_leaves_the_model_as_it_was(trainer):
    trained, _, _ = _train(trainer, [0.9, 0.5, 0.6])
    assert trained.best_epoch == 0
    assert trainer.call("state")["weights"] == 0


def test_epochs_before_the_earliest_are_not_kept_and_do_not_end_training(trainer):
    trained, said, _ = _train(trainer, [0.9, 0.8, 0.7, 0.5, 0.4, 0.3], patience=2, earliest=3)
    assert trained.best_epoch == 3
    assert trained.stopped == "patience"
    assert trainer.call("state")["weights"] == 3
    assert "(best 80.00 %, epoch 1)" in said[1]


def test_of_equal_epochs_the_later_one_is_kept(trainer):
    trained, _, _ = _train(trainer, [0.9, 0.9, 0.9, 0.8])
    assert trained.best_epoch == 2
    assert trainer.call("state")["weights"] == 2


def test_an_error_is_better_where_it_is_smaller(trainer):
    trained, _, _ = _train(trainer, [3.0, 1.0, 2.0], higher=False)
    assert trained.best_epoch == 1


def test_patience_counts_epochs_without_improvement(trainer):
    trained, _, _ = _train(trainer, [0.1, 0.5, 0.4, 0.3, 0.9], patience=2)
    assert trained.stopped == "patience"
    assert [record.epoch for record in trained.history] == [0, 1, 2, 3]
    assert trainer.call("state")["weights"] == 1


def test_a_loss_that_is_no_number_ends_it_at_the_best_epoch(trainer):
    trainer.call("plan_failure", step=8)
    trained, _, _ = _train(trainer, [0.1, 0.5, 0.4, 0.9])
    assert (trained.stopped, trained.failed_at_step, trained.best_epoch) == ("not finite", 8, 1)
    assert len(trained.history) == 3
    assert trainer.call("state") == {"weights": 1, "calls": ["start 3", "end"]}


def test_bars_rise_and_say_what_is_done(trainer):
    distill = {"temperature": 4, "weight": 1, "features": False}
    _, _, shares = _train(trainer, [0.1, 0.2, 0.3], distill=distill)
    teaching = [entry for entry in shares if "teacher" in entry[1]]
    assert [share for share, _ in teaching] == pytest.approx([1 / 3, 2 / 3])
    training = [entry for entry in shares if "epoch" in entry[1]]
    assert [share for share, _ in training] == pytest.approx([1 / 6, 2 / 6, 4 / 6, 5 / 6])
    assert training[-1][1] == "step: epoch 2/2, loss 0.2, best top1 20.00 %"
