"""The loss: from the user, from the compile config, or inferred; against numpy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.workers import Worker

CLASSES = [0, 1, 2, 1, 0, 2, 2, 1]
ROWS = np.eye(3)[CLASSES].tolist()


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("training_cases:Cases", "training") as found:
            yield found


def softmax(rows):
    raised = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def cross_entropy(probabilities, classes):
    return float(-np.log(probabilities[np.arange(len(classes)), classes]).mean())


def binary(probabilities, truth):
    p, y = np.asarray(probabilities), np.asarray(truth)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def test_class_numbers_and_softmax_give_sparse_cross_entropy(worker):
    found = worker.call("loss", model="softmax", labels=CLASSES, dtype="uint8")
    assert found["name"] == "sparse_categorical_crossentropy"
    assert found["value"] == pytest.approx(cross_entropy(np.array(found["outputs"]), CLASSES))
    assert "'out' ends in softmax" in found["notes"]
    assert "class numbers" in found["notes"]


def test_logits_are_told_from_probabilities(worker):
    found = worker.call("loss", model="logits", labels=CLASSES, dtype="int64")
    assert found["name"] == "sparse_categorical_crossentropy from logits"
    expected = cross_entropy(softmax(np.array(found["outputs"])), CLASSES)
    assert found["value"] == pytest.approx(expected, rel=1e-5)


def test_one_hot_rows_give_categorical_cross_entropy(worker):
    found = worker.call("loss", model="softmax", labels=ROWS, dtype="float32")
    assert found["name"] == "categorical_crossentropy"
    assert found["value"] == pytest.approx(cross_entropy(np.array(found["outputs"]), CLASSES))


@pytest.mark.parametrize(("model", "name"), [
    ("sigmoid", "binary_crossentropy"), ("one_logit", "binary_crossentropy from logits"),
])  # fmt: skip
def test_zeros_and_ones_for_one_output_give_binary_cross_entropy(worker, model, name):
    truth = [0, 1, 1, 0, 1, 0, 0, 1]
    found = worker.call("loss", model=model, labels=truth, dtype="int32")
    scores = np.array(found["outputs"])[:, 0]
    shown = scores if model == "sigmoid" else 1 / (1 + np.exp(-scores))
    assert found["name"] == name
    assert found["value"] == pytest.approx(binary(shown, truth), rel=1e-4)


def test_class_numbers_for_sigmoids_are_one_against_the_rest(worker):
    found = worker.call("loss", model="sigmoids", labels=CLASSES, dtype="int32")
    assert found["name"] == "binary_crossentropy"
    assert found["value"] == pytest.approx(binary(found["outputs"], ROWS), rel=1e-4)


def test_numbers_of_the_outputs_shape_give_squared_error(worker):
    truth = np.random.default_rng(1).standard_normal((8, 2))
    found = worker.call("loss", model="regression", labels=truth.tolist(), dtype="float32")
    assert found["name"] == "mean_squared_error"
    expected = float(((np.array(found["outputs"]) - truth) ** 2).mean())
    assert found["value"] == pytest.approx(expected, rel=1e-4)


def test_without_labels_an_autoencoder_is_compared_with_its_input(worker):
    found = worker.call("loss", model="autoencoder", labels=None)
    difference = np.array(found["outputs"]) - np.array(found["x"])
    assert (found["name"], found["target_input"]) == ("mean_squared_error", 0)
    assert found["value"] == pytest.approx(float((difference**2).mean()), rel=1e-4)
    assert "no labels" in found["notes"]


def test_labels_of_another_shape_leave_an_autoencoder_its_input(worker):
    found = worker.call(
        "loss", model="autoencoder", labels=[0.5] * 8, dtype="float32", config="mse"
    )
    assert found["target_input"] == 0
    assert "another shape" in found["notes"]


def test_void_pixels_are_ignored(worker):
    truth = np.array([[[0, 1], [2, 255]]] * 8)
    found = worker.call("loss", model="segmenting", labels=truth.tolist(), dtype="uint8")
    scores = softmax(np.array(found["outputs"])).reshape(-1, 3)
    kept = truth.ravel() != 255
    assert "255: ignored" in found["notes"]
    expected = cross_entropy(scores[kept], truth.ravel()[kept])
    assert found["value"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stored", [
    "categorical_crossentropy",
    {"class_name": "CategoricalCrossentropy", "config": {"from_logits": False, "fn": "x",
     "reduction": "auto", "label_smoothing": 0.0, "axis": -1}},
    {"class_name": "function", "config": "categorical_crossentropy", "module": "builtins"},
])  # fmt: skip
def test_the_models_own_loss_goes_before_and_class_numbers_are_made_rows(worker, stored):
    found = worker.call("loss", model="softmax", labels=CLASSES, dtype="int32", config=stored)
    assert found["name"] == "categorical_crossentropy"
    assert "model's own" in found["notes"]
    assert "one-hot" in found["notes"]
    assert found["value"] == pytest.approx(cross_entropy(np.array(found["outputs"]), CLASSES))


def test_the_own_losss_parameters_count(worker):
    config = {"from_logits": True, "reduction": "sum", "ignore_class": None}
    kind = "SparseCategoricalCrossentropy"
    stored = {"module": "keras.losses", "class_name": kind, "config": config}
    found = worker.call("loss", model="logits", labels=CLASSES, dtype="int32", config=stored)
    expected = 8 * cross_entropy(softmax(np.array(found["outputs"])), CLASSES)
    assert found["value"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stored", [
    {"class_name": "function", "config": "my_loss", "module": "builtins"},
    {"class_name": "Mine", "config": {}, "module": None, "registered_name": "pkg>Mine"},
    {"class_name": "system", "config": {}, "module": "os"},
    {"class_name": "Loss", "config": {}, "module": "keras.losses"},
])  # fmt: skip
def test_a_loss_that_keras_does_not_have_is_named_and_replaced(worker, stored):
    found = worker.call("loss", model="softmax", labels=CLASSES, dtype="int32", config=stored)
    assert found["name"] == "sparse_categorical_crossentropy"
    assert "is not one of Keras" in found["notes"]


def test_of_two_outputs_the_first_has_the_labels(worker):
    config = {"a": "sparse_categorical_crossentropy", "b": "mse"}
    found = worker.call("loss", model="two_outputs", labels=CLASSES, dtype="int32", config=config)
    assert found["value"] == pytest.approx(cross_entropy(np.array(found["outputs"]), CLASSES))
    assert "only the first ('a')" in found["notes"]


def test_a_class_beyond_the_outputs_is_named_with_both_numbers(worker):
    with pytest.raises(DataError, match=r"run from 0 to 12; the output 'out' has 3 classes"):
        worker.call("loss", model="softmax", labels=[*CLASSES[:-1], 12], dtype="int32")


def test_classes_counted_from_one_are_recognised(worker):
    with pytest.raises(DataError, match="subtract 1 from the labels"):
        worker.call("loss", model="softmax", labels=[c + 1 for c in CLASSES], dtype="int32")


def test_labels_of_a_wrong_shape_are_named_with_both_shapes(worker):
    with pytest.raises(DataError, match=r"of shape \[n, 5\]; the output 'out' is \[n, 3\]"):
        worker.call("loss", model="softmax", labels=[[1.5] * 5] * 8, dtype="float32")


def test_without_labels_a_classifier_cannot_be_trained(worker):
    with pytest.raises(DataError, match="training needs labels"):
        worker.call("loss", model="softmax", labels=None)


def test_labels_that_are_nan_are_refused(worker):
    labels = [[0.0, float("nan")]] * 8
    with pytest.raises(DataError, match="NaN"):
        worker.call("loss", model="regression", labels=labels, dtype="float32")


@pytest.mark.parametrize(("body", "expected"), [
    ("return tf.reduce_mean(tf.square(tf.one_hot(y, 3) - outputs))", "scalar"),
    ("return tf.reduce_mean(tf.square(tf.one_hot(y, 3) - outputs), axis=1)", "each"),
])  # fmt: skip
def test_a_loss_of_the_users_may_be_a_scalar_or_one_per_sample(worker, tmp_path, body, expected):
    path = tmp_path / f"{expected}.py"
    path.write_text(f"import tensorflow as tf\ndef mine(y, outputs):\n    {body}\n")
    found = worker.call("loss", model="softmax", labels=CLASSES, dtype="uint8", user=f"{path}:mine")
    difference = np.array(ROWS) - np.array(found["outputs"])
    assert found["value"] == pytest.approx(float((difference**2).mean()), rel=1e-5)
    assert found["name"] == f"{path}:mine"


def test_a_failing_loss_of_the_users_is_named_with_its_line(worker, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def mine(y, outputs):\n    z = y\n    return z.nothing\n")
    with pytest.raises(DataError, match=r"bad\.py:3"):
        worker.call("loss", model="softmax", labels=CLASSES, dtype="int32", user=f"{path}:mine")


def test_a_loss_that_is_no_tensor_is_refused(worker, tmp_path):
    path = tmp_path / "none.py"
    path.write_text("def mine(y, outputs):\n    pass\n")
    with pytest.raises(DataError, match="returned NoneType"):
        worker.call("loss", model="softmax", labels=CLASSES, dtype="int32", user=f"{path}:mine")


def test_two_outputs_reach_the_users_loss_by_name(worker, tmp_path):
    path = tmp_path / "both.py"
    path.write_text(
        "import tensorflow as tf\n"
        "def mine(y, outputs):\n"
        "    return tf.reduce_sum(outputs['a']) + 0.0 * tf.reduce_sum(outputs['b'])\n"
    )
    found = worker.call("loss", model="two_outputs", labels=None, user=f"{path}:mine")
    assert found["value"] == pytest.approx(8.0, rel=1e-5)


@pytest.mark.parametrize(("model", "kind"), [
    ("softmax", "probabilities"), ("logits", "values"), ("sigmoid", "independent"),
    ("reshaped", "probabilities"), ("activated", "probabilities"),
    ("softmax_layer", "probabilities"), ("nested", "probabilities"), ("lstm", "probabilities"),
])  # fmt: skip
def test_the_layers_tell_what_the_outputs_are(worker, model, kind):
    assert worker.call("kind", model=model)[0] == kind


def test_numbers_tell_where_no_layer_does(worker):
    assert worker.call("kind", model="by_numbers") is None
    found = worker.call("loss", model="by_numbers", labels=CLASSES, dtype="int32")
    assert found["name"] == "sparse_categorical_crossentropy"
    assert "rows sum to 1 on 8 samples" in found["notes"]
