"""What a model file says of its training, read as data."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import h5py
import pytest

from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("training_cases:Cases", "training") as found:
            yield found


def legacy(path, config):
    with h5py.File(path, "w") as file:
        file.attrs["training_config"] = json.dumps(config)
    return str(path)


def test_what_keras_3_saves_is_read(worker, tmp_path):
    for suffix in (".keras", ".h5"):
        path = str(tmp_path / f"m{suffix}")
        compiled = {"loss": "mse", "optimizer": "adamw"}
        worker.call("write", model="softmax", path=path, compiled=compiled)
        loss, optimizer, rate = worker.call("config", path=path)
        assert (loss, optimizer) == ("mse", "adamw")
        assert rate == pytest.approx(1e-3)


def test_a_model_without_compile_has_none(worker, tmp_path):
    path = str(tmp_path / "m.keras")
    worker.call("write", model="softmax", path=path)
    assert worker.call("config", path=path) is None


@pytest.mark.parametrize(("optimizer", "rate"), [
    ({"learning_rate": 0.004, "decay": 0.0}, 0.004),
    ({"lr": 0.02}, 0.02),
    ({"learning_rate": {"class_name": "CosineDecay",
      "config": {"initial_learning_rate": 0.03, "decay_steps": 9}}}, 0.03),
    ({"learning_rate": {"class_name": "CosineDecay",
      "config": {"initial_learning_rate": 0.0, "warmup_target": 0.05}}}, 0.05),
    ({"learning_rate": {"class_name": "PiecewiseConstantDecay",
      "config": {"boundaries": [5], "values": [0.07, 0.01]}}}, 0.07),
    ({"learning_rate": -1.0}, None),
    ({"learning_rate": "fast"}, None),
    ({}, None),
])  # fmt: skip
def test_the_learning_rate_is_the_first_of_a_schedule(worker, tmp_path, optimizer, rate):
    config = {"loss": "mse", "optimizer_config": {"class_name": "Custom>Adam", "config": optimizer}}
    found = worker.call("config", path=legacy(tmp_path / "m.h5", config))
    assert found == ["mse", "adam", rate]


def test_the_optimizer_in_a_loss_scaler_counts(worker, tmp_path):
    inner = {"class_name": "SGD", "config": {"learning_rate": 0.1}}
    outer = {"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": inner}}
    path = legacy(tmp_path / "m.h5", {"loss": "mae", "optimizer_config": outer})
    assert worker.call("config", path=path) == ["mae", "sgd", 0.1]


@pytest.mark.parametrize("stored", ["{", "[]", "null", '{"loss": {"a": [1]}, "optimizer": 3}'])
def test_damage_is_as_good_as_nothing(worker, tmp_path, stored):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["training_config"] = stored
    found = worker.call("config", path=str(path))
    assert found is None or found[1:] == [None, None]


def test_a_damaged_config_in_an_archive_is_as_good_as_nothing(worker, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
    assert worker.call("config", path=str(path)) is None
