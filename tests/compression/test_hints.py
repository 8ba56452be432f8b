"""Inner activations: which are paired, how they are projected, and that the student learns them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import ModelError
from edgekit.workers import Worker

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("distilling_cases:Cases", "features") as found:
            yield found


def test_the_last_activation_of_each_spatial_shape_is_paired(worker):
    found = worker.call("pairs", student=["image", 4], teacher=["image", 6], asked=True)
    assert found == [
        ["low=low", [None, 8, 8, 4], [None, 8, 8, 6]],
        ["high=high", [None, 4, 4, 8], [None, 4, 4, 12]],
    ]


def test_a_net_of_vectors_pairs_the_last_one_before_its_output(worker):
    found = worker.call("pairs", student=["dense", 4], teacher=["dense", 6], asked=True)
    assert found == [["hidden=hidden", [None, 4], [None, 6]]]


def test_a_transformer_pairs_its_last_sequence(worker):
    found = worker.call("pairs", student=["transformer", 4], teacher=["transformer", 6], asked=True)
    assert [shapes for _, *shapes in found] == [[[None, 8, 4], [None, 8, 6]]]


def test_layers_are_paired_by_name(worker):
    found = worker.call(
        "pairs", student=["image", 4], teacher=["image", 6], asked=["low", "pool = pool"]
    )
    assert [name for name, *_ in found] == ["low=low", "pool=pool"]


@pytest.mark.parametrize(
    ("student", "teacher", "asked", "said"),
    [
        (["image", 4], ["image", 4], ["low=high"], r"\[n, 8, 8, 4\].*\[n, 4, 4, 8\]"),
        (["image", 4], ["image", 4], ["gone"], "student has no layer 'gone'.*low, pool, high"),
        (["image", 4], ["image", 4], ["low=gone"], "teacher has no layer 'gone'"),
        (["image", 4], ["conv1d", 4], True, r"low \[n, 8, 8, 4\].*low \[n, 5, 4\]"),
    ],
)
def test_what_cannot_be_paired_is_named_with_what_to_write(worker, student, teacher, asked, said):
    with pytest.raises(ModelError, match=said) as raised:
        worker.call("pairs", student=student, teacher=teacher, asked=asked)
    assert "features = " in raised.value.fix


@pytest.mark.parametrize("widths", [(4, 6), (6, 4), (5, 5)])
def test_the_projection_starts_as_the_least_squares_fit(worker, widths):
    found = worker.call("fit", widths=widths)
    assert found["kernel"] == list(widths)
    assert found["error"] < 0.01
    # Moved by 1 everywhere, the error before normalisation is 1 and the noise of 0.1 squared.
    assert found["off"] == pytest.approx(1.01, rel=0.02)


def test_silent_channels_do_not_spoil_the_fit(worker):
    found = worker.call("fit", widths=(8, 3), silent=3)
    assert found["finite"]
    assert found["error"] < 0.01


@pytest.mark.parametrize("kind", ["image", "lstm", "conv1d"])
def test_a_student_learns_the_activations_and_the_teacher_stays(worker, tmp_path, kind):
    found = worker.call(
        "distil", kind=kind, last="softmax", features=True, directory=str(tmp_path), epochs=40
    )
    assert np.isfinite(found["losses"]).all()
    assert found["losses"][-1] < 0.7 * found["losses"][0]
    assert found["teacher_unchanged"]
    extra = found["variables"][found["student_variables"] :]
    assert set(extra) == {"hint_kernel", "hint_bias"}
    assert any(note.startswith("features: ") for note in found["notes"])


def test_a_teacher_without_keras_layers_cannot_show_features(worker, tmp_path):
    path = tiny.dense_tflite(tmp_path / "t.tflite")
    with pytest.raises(ModelError, match="features need a teacher of Keras layers") as raised:
        worker.call("features_of_file", path=str(path), directory=str(tmp_path))
    assert "features = false" in raised.value.fix


def test_an_activation_that_never_changes_teaches_nothing(worker, tmp_path):
    with pytest.raises(ModelError, match=r"'hidden=hidden'.*the same for all samples"):
        worker.call("flat_feature", directory=str(tmp_path))
