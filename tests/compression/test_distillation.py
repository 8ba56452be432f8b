"""What distillation minimises, against numpy, against Keras, and in training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import ModelError
from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("distilling_cases:Cases", "distillation") as found:
            yield found


def softmax(logits, temperature=1.0):
    scaled = np.asarray(logits, np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def kl(teacher, student):
    return float((teacher * np.log(teacher / student)).sum(axis=-1).mean())


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_divergence_of_classes_is_that_of_numpy_and_of_keras(worker, temperature):
    found = worker.call("divergences", temperature=temperature)
    soft = [softmax(found[one], temperature) for one in ("teacher", "student")]
    expected = temperature**2 * kl(*soft)
    assert found["classes"] == pytest.approx(expected, rel=1e-4)
    assert found["from_probabilities"] == pytest.approx(expected, rel=1e-4)
    assert found["keras"] == pytest.approx(expected, rel=1e-3)  # Keras clips at 1e-7


def test_the_divergence_of_sigmoids_is_that_of_numpy(worker):
    found = worker.call("divergences", temperature=3.0)
    teacher, student = (
        1 / (1 + np.exp(-np.asarray(found[one], np.float64) / 3)) for one in ("teacher", "student")
    )
    each = teacher * np.log(teacher / student)
    each += (1 - teacher) * np.log((1 - teacher) / (1 - student))
    assert found["independent"] == pytest.approx(9 * each.mean(), rel=1e-4)


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_gradients_stay_finite_where_probabilities_underflow(worker, tmp_path, last):
    found = worker.call("underflow", last=last, directory=str(tmp_path))
    assert found["smallest"] == 0
    assert found["finite"] == [True, True]
    assert found["moves"]


@pytest.mark.parametrize(("temperature", "weight"), [(4.0, 0.9), (1.0, 0.3)])
def test_the_loss_is_the_weighted_sum_of_teacher_and_task(worker, tmp_path, temperature, weight):
    found = worker.call(
        "first_loss", directory=str(tmp_path), temperature=temperature, weight=weight, labelled=True
    )
    student, teacher = (np.asarray(found[one], np.float64) for one in ("student", "teacher"))
    soft = [softmax(np.log(one), temperature) for one in (teacher, student)]
    labels = np.asarray(found["labels"])
    task = -np.log(student[np.arange(len(labels)), labels]).mean()
    expected = weight * temperature**2 * kl(*soft) + (1 - weight) * task
    assert found["loss"] == pytest.approx(expected, rel=1e-3)
    assert any(
        f"loss = {weight:g} · KL divergence of class probabilities at temperature {temperature:g}"
        f" + {1 - weight:g} · sparse_categorical_crossentropy" in note
        for note in found["notes"]
    )


def test_without_labels_the_loss_is_the_teachers_alone_and_that_is_said(worker, tmp_path):
    found = worker.call(
        "first_loss", directory=str(tmp_path), temperature=2.0, weight=0.5, labelled=False
    )
    soft = [softmax(np.log(np.asarray(found[one])), 2.0) for one in ("teacher", "student")]
    assert found["loss"] == pytest.approx(4 * kl(*soft), rel=1e-3)
    assert any("there are no labels" in note for note in found["notes"])


def test_a_teacher_that_knows_nothing_is_told(worker, tmp_path):
    found = worker.call(
        "first_loss", directory=str(tmp_path), temperature=4.0, weight=0.9, labelled=True
    )
    right = (np.argmax(found["teacher"], axis=1) == np.asarray(found["labels"])).mean()
    note = next(note for note in found["notes"] if "is right on" in note)
    assert f"{right:.1%} of 64" in note
    frequent = np.bincount(np.asarray(found["labels"])).max() / 64
    assert right <= frequent, "the case is one of an untrained teacher"
    assert "no better than always naming the most frequent class" in note


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("image", "softmax"), ("conv1d", "softmax"), ("lstm", "softmax"),
        ("transformer", "softmax"), ("dense", "sigmoid"), ("dense", None),
        ("autoencoder", None), ("two", "softmax"), ("folded", "softmax"),
    ],
)  # fmt: skip
def test_a_student_comes_nearer_to_its_teacher(worker, tmp_path, kind, last):
    found = worker.call("distil", kind=kind, last=last, directory=str(tmp_path))
    assert np.isfinite(found["losses"]).all()
    assert found["losses"][-1] < 0.7 * found["losses"][0]
    assert found["teacher_unchanged"]


@pytest.mark.parametrize("pair", [("softmax", None), (None, "softmax")])
def test_logits_and_probabilities_are_brought_together_and_that_is_said(worker, tmp_path, pair):
    student, teacher = pair
    found = worker.call(
        "distil", kind="dense", last=student, teacher_last=teacher, directory=str(tmp_path)
    )
    who = "teacher" if teacher is None else "student"
    assert any(f"the {who}'s output is taken as logits" in note for note in found["notes"])
    assert found["losses"][-1] < 0.7 * found["losses"][0]


def test_plain_sums_that_the_task_calls_classes_are_softened(worker, tmp_path):
    found = worker.call(
        "mismatch", student=["dense", None], teacher=["dense", None], directory=str(tmp_path),
        task="sparse_categorical_crossentropy",
    )  # fmt: skip
    assert any("KL divergence of class probabilities" in note for note in found["notes"])


def test_plain_sums_without_a_loss_are_matched_as_values_and_that_is_said(worker, tmp_path):
    found = worker.call(
        "mismatch", student=["dense", None], teacher=["dense", None], directory=str(tmp_path)
    )
    assert any("matched as values" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("student", "teacher"),
    [("softmax", "sigmoid"), ("sigmoid", "softmax"), ("sigmoid", None), ("softmax", "relu")],
)
def test_outputs_that_mean_different_things_are_refused_by_name(worker, tmp_path, student, teacher):
    with pytest.raises(ModelError, match=r"scores.*teacher's.*scores") as raised:
        worker.call(
            "mismatch", student=["dense", student], teacher=["dense", teacher],
            directory=str(tmp_path),
        )  # fmt: skip
    assert "last layer is of the student's kind" in raised.value.fix


def test_a_teacher_with_other_classes_is_refused_with_both_shapes(worker, tmp_path):
    with pytest.raises(ModelError, match=r"again \[n, 6\].*scores \[n, 5\]") as raised:
        worker.call("other_classes", directory=str(tmp_path))
    assert "same classes" in raised.value.fix


def test_a_teacher_that_answers_nan_is_refused(worker, tmp_path):
    with pytest.raises(ModelError, match="NaN or infinite values in 'scores' for 64 of 64"):
        worker.call("broken_teacher", directory=str(tmp_path))
