"""Teachers from every format, and what is kept of their answers."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import chunks
from edgekit.errors import ModelError
from edgekit.workers import Worker

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

SAMPLES = np.linspace(-1, 1, 20).reshape(5, 4)
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5
BIAS = np.array([0.5, -1.0, 0.25], np.float32)
"""Those of `tiny.dense`."""


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("distilling_cases:Cases", "teaching") as found:
            yield found


@pytest.mark.parametrize("where", ["keras3/tiny_cnn.keras", "keras2/tiny_cnn.h5"])
def test_a_keras_teacher_of_either_generation_answers_as_recorded(worker, models, recorded, where):
    path = models / where
    x, y = recorded(path.with_suffix(".keras"))
    found = worker.call("opened", path=str(path), samples=x["image"].tolist())
    np.testing.assert_allclose(found["answers"], y["classes"], atol=2e-6)
    assert found["live"]


def test_a_savedmodel_without_layers_teaches_by_its_outputs(
    worker, tiny_cnn_savedmodel, tiny_cnn_keras, recorded
):
    x, y = recorded(tiny_cnn_keras)
    found = worker.call("opened", path=str(tiny_cnn_savedmodel), samples=x["image"].tolist())
    np.testing.assert_allclose(found["answers"], y["classes"], atol=2e-6)


def test_a_tflite_teacher_of_batch_1_answers_for_every_sample(worker, tmp_path):
    path = tiny.dense_tflite(tmp_path / "t.tflite")
    found = worker.call("opened", path=str(path), samples=SAMPLES.tolist())
    np.testing.assert_allclose(found["answers"], SAMPLES @ WEIGHTS + BIAS, atol=1e-6)
    assert not found["live"]


def test_an_onnx_teacher_answers(worker, tmp_path):
    path = tmp_path / "t.onnx"
    tiny.dense_onnx(path)
    found = worker.call("opened", path=str(path), samples=SAMPLES.tolist())
    np.testing.assert_allclose(found["answers"], SAMPLES @ WEIGHTS + BIAS, atol=1e-6)


def test_a_quantized_teacher_takes_and_gives_floats_and_is_said_to_teach_less(worker, tmp_path):
    path = tiny.identity_int8_tflite(tmp_path / "q.tflite", 4, 1 / 64, 3)
    found = worker.call("opened", path=str(path), samples=SAMPLES.tolist())
    np.testing.assert_allclose(found["answers"], SAMPLES, atol=1 / 64)
    assert any("computes in int8" in note for note in found["notes"])


def test_inputs_are_matched_by_name_before_order(worker):
    given = {"left": [4], "right": [3]}
    assert worker.call("matched", student=given, teacher={"right": [3], "left": [4]}) == [1, 0]
    assert worker.call("matched", student=given, teacher={"a": [4], "b": [3]}) == [0, 1]


@pytest.mark.parametrize(
    ("student", "teacher", "said"),
    [
        ({"image": [8, 8]}, {"photo": [9, 9]}, r"photo \[n, 9, 9\].*image \[n, 8, 8\]"),
        ({"a": [4]}, {"a": [4], "b": [4]}, r"a \[n, 4\], b \[n, 4\].*a \[n, 4\]"),
        ({"a": [4]}, {"a": [5]}, r"a \[n, 5\].*a \[n, 4\]"),
    ],
)
def test_inputs_that_do_not_fit_are_named_on_both_sides(worker, student, teacher, said):
    with pytest.raises(ModelError, match=said) as raised:
        worker.call("matched", student=student, teacher=teacher)
    assert "takes what the student takes" in raised.value.fix


@pytest.mark.parametrize("views", [1, 3])
def test_each_view_is_answered_once_and_looked_up_by_sample_number(worker, tmp_path, views):
    found = worker.call("lessons", directory=str(tmp_path), views=views)
    assert found["worst"] < 1e-6
    assert found["states"][0] == {"done": 16, "total": 50 * views}
    assert found["states"][-1] == found["again"] == {"done": 50 * views, "total": 50 * views}
    assert found["files"] == [f"taught-{view}.npy" for view in range(views)]
    assert found["mapped"]
    assert found["asked"] == 4 * views


def digits_worker(directory, data=None):
    """The digit classifier of the demo, opened for compression with its training samples."""
    assets = Path(edgekit.__file__).parent
    worker = Worker("edgekit.compression.compressor:Compressor", "compression")
    worker.call("open", path=str(assets / "demo_digits.keras"))
    worker.call("begin")
    (directory / "training").mkdir()
    worker.call(
        "load_training", spec=str(data or assets / "demo_digits.npz"), preprocess="none", seed=0,
        group_size=1, augment=None, directory=str(directory / "training"),
    )  # fmt: skip
    with np.load(assets / "demo_digits.npz") as stored:
        chunks.write(directory / "x", [{"image": stored["x_test"].astype(np.float32)}])
        return worker, stored["y_test"]


def answers(worker, directory, name):
    worker.call("predict", samples=str(directory / "x"), outputs=str(directory / name))
    (found,) = chunks.read_all(directory / name).values()
    return found.astype(np.float64)


def train(worker, epochs, distill, learning_rate=None):
    """As the main process does it; what the worker said."""
    said = worker.call(
        "start_training", epochs=epochs, learning_rate=learning_rate, batch_size=None, seed=0,
        loss=None, distill=distill,
    )  # fmt: skip
    state = {"done": 0, "total": 1 if distill else 0}
    while state["done"] < state["total"]:
        state = worker.call("prepare_teacher", limit_s=1.0)
    done = 0
    while done < epochs:
        state = worker.call("advance", limit_s=1.0)
        assert state["failed_at"] is None
        done += state["epoch_done"]
    worker.call("end_training")
    return said


def distil(worker, epochs, features=False, learning_rate=0.003):
    worker.call("open_teacher", path=None, trust=False)
    settings = {"temperature": 4.0, "weight": 0.9, "features": features}
    return train(worker, epochs, settings, learning_rate)


def divergence(teacher, student):
    each = teacher * np.log(np.maximum(teacher, 1e-30) / np.maximum(student, 1e-30))
    return float(each.sum(axis=1).mean())


@pytest.mark.parametrize("features", [False, True])
def test_a_pruned_digit_classifier_comes_back_to_its_source(tmp_path, features):
    worker, labels = digits_worker(tmp_path)
    with worker:
        teacher = answers(worker, tmp_path, "teacher")
        worker.call(
            "apply_channels", ratio=0.5, max_macs=None, max_parameters=None, criterion="l1",
            scope="layer", multiple=1,
        )  # fmt: skip
        before = answers(worker, tmp_path, "before")
        distil(worker, 3, features)
        after = answers(worker, tmp_path, "after")
    right = [(one.argmax(axis=1) == labels).mean() for one in (before, after)]
    assert divergence(teacher, after) < 0.3 * divergence(teacher, before)
    assert right[1] > right[0] + 0.2


def test_the_source_teaches_as_it_was_opened_whatever_training_did_since(tmp_path):
    worker, _ = digits_worker(tmp_path)
    with worker:
        source = answers(worker, tmp_path, "source")
        train(worker, 1, learning_rate=0.1, distill=None)
        ruined = answers(worker, tmp_path, "ruined")
        said = distil(worker, 2)
        after = answers(worker, tmp_path, "after")
    assert any("(the source model) is right on 100.0%" in note for note in said["notes"])
    assert divergence(source, after) < 0.5 * divergence(source, ruined)
