"""Training in the worker: what changes, what is put back, what stops it, and equal bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DataError, ModelError
from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("training_cases:Cases", "training") as found:
            yield found


@pytest.fixture
def images(tmp_path):
    """240 training images; the class is the brightness: learnable in a few steps."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    x = (rng.random((240, 8, 8, 1)) + y[:, None, None, None]).astype(np.float32)
    path = tmp_path / "images.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return str(path)


@pytest.fixture
def rows(tmp_path):
    """100 rows of 6 × 3, three classes."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((100, 6, 3)).astype(np.float32), rng.integers(0, 3, 100)
    path = tmp_path / "rows.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return str(path)


@pytest.fixture
def vectors(tmp_path):
    """64 vectors of 4, three classes."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)).astype(np.float32), rng.integers(0, 3, 64)
    path = tmp_path / "vectors.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return str(path)


def train(worker, tmp_path, model, data, compiled=None, fill=None, **options):
    path = str(tmp_path / f"{model}.keras")
    worker.call("write", model=model, path=path, compiled=compiled, fill=fill)
    directory = tmp_path / f"training-{len(list(tmp_path.iterdir()))}"
    return worker.call("train", path=path, data=data, directory=str(directory), **options)


def test_training_lowers_the_loss_with_one_trace(worker, tmp_path, images):
    found = train(worker, tmp_path, "image", images, epochs=8, learning_rate=0.02, batch_size=32)
    assert found["epochs"][-1] < 0.7 * found["epochs"][0]
    assert found["said"]["steps_per_epoch"] == 240 // 32
    assert found["traces"] == 1
    assert found["finite"]
    assert found["restored"]


def test_short_slices_give_the_same_training(worker, tmp_path, images):
    whole = train(worker, tmp_path, "image", images)
    sliced = train(worker, tmp_path, "image", images, limit_s=0.0)
    assert sliced["epochs"] == whole["epochs"]
    assert sliced["calls"] == 2 * whole["said"]["steps_per_epoch"]


def test_momentum_is_lowered_while_an_epoch_is_short_and_put_back(worker, tmp_path, images):
    found = train(worker, tmp_path, "image", images)
    assert found["before"]["bn.momentum"] == found["after"]["bn.momentum"] == 0.99
    assert found["during"]["bn.momentum"] == 0.9
    assert any("momentum 0.9" in note for note in found["said"]["notes"])


def test_recurrent_nets_train(worker, tmp_path, rows):
    found = train(worker, tmp_path, "lstm", rows)
    assert found["finite"]
    assert all(found["moved"])


DISTILL = {"temperature": 4.0, "weight": 0.9, "features": False}


@pytest.mark.parametrize("model", ["image_dropout", "lstm"])
def test_dropout_is_off_while_distilling_and_put_back(worker, tmp_path, images, rows, model):
    data = rows if model == "lstm" else images
    found = train(worker, tmp_path, model, data, distill=DISTILL, epochs=1)
    names = [name for name in found["before"] if name.endswith(("rate", "dropout"))]
    assert any(found["before"][name] for name in names)
    assert not any(found["during"][name] for name in names)
    assert found["after"] == found["before"]
    assert any("dropout is off" in note for note in found["said"]["notes"])


def test_without_labels_an_autoencoder_learns_its_input(worker, tmp_path):
    x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    path = tmp_path / "only_x.npz"
    np.savez(path, x_train=x, x_val=x[:8])
    found = train(
        worker, tmp_path, "autoencoder", str(path), epochs=20, learning_rate=0.1, batch_size=16
    )
    assert not found["loaded"]["labels"]
    assert found["epochs"][-1] < 0.5 * found["epochs"][0]


def test_frozen_layers_stay_as_they_are(worker, tmp_path, images):
    found = train(worker, tmp_path, "image_frozen", images)
    assert found["moved"][0] is False
    assert any(found["moved"][1:])
    assert any("1 layer with trainable=False" in note for note in found["said"]["notes"])


def test_a_model_without_anything_to_train_is_refused(worker, tmp_path, vectors):
    with pytest.raises(ModelError, match="nothing can be trained"):
        train(worker, tmp_path, "all_frozen", vectors)


def test_a_fixed_batch_dimension_is_the_batch_size(worker, tmp_path, images):
    found = train(worker, tmp_path, "image_fixed", images, batch_size=50)
    assert found["said"]["batch_size"] == 8
    assert any("batch dimension is fixed" in note for note in found["said"]["notes"])


def test_regularization_is_part_of_the_loss(worker, tmp_path, vectors):
    plain = train(worker, tmp_path, "softmax", vectors, fill=1.0, batch_size=64, epochs=1)
    found = train(worker, tmp_path, "regularized", vectors, fill=1.0, batch_size=64, epochs=1)
    weights, strength = 12, 0.5
    assert found["epochs"][0] - plain["epochs"][0] == pytest.approx(strength * weights, rel=1e-4)


def test_a_loss_that_becomes_nan_stops_at_its_step_and_changes_nothing(worker, tmp_path, images):
    path = tmp_path / "mine.py"
    path.write_text(
        "import tensorflow as tf\n"
        "steps = tf.Variable(0, trainable=False)\n"
        "def nan_at_5(y, outputs):\n"
        "    good = tf.reduce_mean(tf.square(outputs[:, 0]))\n"
        "    return tf.where(steps.assign_add(1) == 5, float('nan'), 1.0) * good\n"
    )
    found = train(worker, tmp_path, "image", images, loss=f"{path}:nan_at_5", batch_size=80)
    assert found["failed_at"] == 5
    assert found["finite"]


def test_values_that_overflow_do_not_reach_the_statistics(worker, tmp_path):
    x = np.full((40, 8, 8, 1), 3e38, np.float32)
    path = tmp_path / "huge.npz"
    np.savez(path, x_train=x, y_train=np.arange(40) % 3, x_val=x[:5], y_val=np.arange(5) % 3)
    found = train(worker, tmp_path, "image", str(path))
    assert found["failed_at"] == 1
    assert found["finite"]
    assert not any(found["moved"])


def test_a_loss_without_gradient_is_refused(worker, tmp_path, vectors):
    path = tmp_path / "flat.py"
    path.write_text("import tensorflow as tf\ndef flat(y, outputs):\n    return tf.constant(1.0)\n")
    with pytest.raises(DataError, match="no gradient reaches a weight"):
        train(worker, tmp_path, "softmax", vectors, loss=f"{path}:flat")


@pytest.mark.parametrize(("recorded", "optimizer", "distilling", "rate"), [
    (5e-4, "adam", False, 5e-5), (5e-4, "adam", True, 5e-4), (0.1, "sgd", False, 1e-4),
    (0.1, "adam", True, 2e-3), (6.6e-6, "adam", False, 1e-4), (None, None, True, 1e-3),
])  # fmt: skip
def test_the_learning_rate_is_relative_to_the_models_own(
    worker, recorded, optimizer, distilling, rate
):
    found = worker.call("rates", recorded=recorded, optimizer=optimizer, distilling=distilling)
    assert found[0] == pytest.approx(rate)


RUN = """
import json, sys
import training_cases
found = training_cases.Cases().train(*sys.argv[1:4], save=sys.argv[4], epochs=2)
print(json.dumps([found["sha256"], found["epochs"]]))
"""


def test_two_processes_write_the_same_bytes(worker, tmp_path, images):
    path = str(tmp_path / "m.keras")
    worker.call("write", model="image_dropout", path=path)
    found = []
    for number in range(2):
        saved, directory = str(tmp_path / "out.keras"), str(tmp_path / f"run-{number}")
        done = subprocess.run(
            [sys.executable, "-c", RUN, path, images, directory, saved],
            capture_output=True, text=True, check=False, env={
                **os.environ, "PYTHONPATH": str(Path(__file__).parent), "CUDA_VISIBLE_DEVICES": "-1"
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout.splitlines()[-1]))
    assert found[0] == found[1]
