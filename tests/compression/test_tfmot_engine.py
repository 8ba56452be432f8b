"""TFMOT's engine: the replay into tf_keras, what each technique does, and what comes back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit import registry
from edgekit.errors import ModelError
from edgekit.workers import Worker

pytestmark = [
    pytest.mark.skipif(
        bool(registry.missing(registry.ENGINES["tfmot"])), reason="TFMOT is not installed"
    ),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("tfmot_cases:Cases", "TFMOT") as found:
            yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """96 images of three classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 96)
    x = (rng.random((96, 8, 8, 1)) + y[:, None, None, None]).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    return str(path)


@pytest.fixture(scope="module")
def saved(worker, tmp_path_factory):
    """`saved(name)` → the path of a model of `tfmot_cases`."""
    directory = tmp_path_factory.mktemp("models")

    def write(name):
        path = directory / f"{name}.keras"
        if not path.exists():
            worker.call("write", model=name, path=str(path))
        return str(path)

    return write


@pytest.fixture
def run(worker, tmp_path):
    """`run(model, step, **options)`; see `tfmot_cases.Cases.run`."""
    return lambda model, step, **options: worker.call(
        "run", model=model, step=step, place=str(tmp_path), **options
    )


def zeros(kernel):
    return float((np.asarray(kernel) == 0).mean())


def test_the_rules_are_those_of_tfmots_own_registries(worker):
    theirs, ours = worker.call("registries"), worker.call("rules")
    assert set(ours["prune"]) == set(theirs["prune"]) - {"RNN"}
    assert set(ours["cluster"]) == set(theirs["cluster"]) - {"RNN"}
    assert set(ours["quantize"]) | {"Activation"} == set(theirs["quantize"])


@pytest.mark.parametrize("model", ["mixed", "attention", "nested", "words"])
def test_a_model_is_the_same_in_tf_keras(worker, model):
    assert worker.call("difference", model=model) < 1e-5


def test_a_layer_that_is_another_in_tf_keras_is_named(worker):
    with pytest.raises(ModelError, match=r"'hard' \(Dense\) has the activation hard_sigmoid"):
        worker.call("difference", model="custom")


def test_pruning_reaches_its_sparsity_in_every_layer_that_it_names(run, saved, data):
    step = {"kind": "prune", "sparsity": 0.75, "engine": "tfmot"}
    made = run(saved("mixed"), step, data=data, epochs=2)
    assert made["begun"]["left"] == {"depthwise": "TFMOT prunes no depthwise kernels"}
    treated = made["begun"]["treated"]
    assert set(treated) == {"conv", "point", "conv1d", "lstm", "classes"}
    for key, kernel in made["after"].items():
        name = key.partition(".")[0]
        wanted = 0.75 if name in treated else 0.0
        assert abs(zeros(kernel) - wanted) <= 1 / np.size(kernel), key
    # Batch normalization is not folded: the statistics that were trained have to come back too.
    assert made["difference"] < 1e-5
    assert made["said"]["first_epoch"] == 1


def test_pruning_that_is_broken_off_reaches_its_sparsity_all_the_same(run, saved, data):
    step = {"kind": "prune", "sparsity": 0.75, "engine": "tfmot"}
    made = run(saved("mixed"), step, data=data, epochs=2, broken_off=True)
    kernel, before = (np.asarray(made[when]["classes.0"]) for when in ("after", "before"))
    assert abs(zeros(kernel) - 0.75) <= 1 / kernel.size
    assert (kernel == np.where(kernel == 0, 0, before)).all()
    assert made["difference"] < 1e-5


def test_patterns_hold_in_the_layers_that_they_fit(run, saved):
    step = {"kind": "prune", "sparsity": 0.5, "pattern": "1:4", "engine": "tfmot", "epochs": 0}
    made = run(saved("mixed"), step)
    left = made["begun"]["left"]
    assert "takes kernels of 2 or 4 axes, not 3" in left["conv1d"]
    assert "1 inputs, fewer than the 4" in left["conv"]
    kernel = np.asarray(made["after"]["point.0"])  # [1, 1, inputs, outputs]
    groups = kernel.reshape(2, 4, 8)
    assert (np.count_nonzero(groups, axis=1) == 1).all()
    step["pattern"] = "2x4"
    made = run(saved("mixed"), step)
    assert set(made["begun"]["treated"]) == {"lstm"}
    assert "more than one block of 2x4 each way" in made["begun"]["left"]["classes"]
    blocks = np.asarray(made["after"]["lstm.0"]).reshape(4, 2, 6, 4).transpose(0, 2, 1, 3)
    counts = np.count_nonzero(blocks.reshape(24, 8), axis=1)
    assert sorted(set(counts.tolist())) == [0, 8]
    assert (counts == 0).mean() == pytest.approx(0.5)


def test_clusters_are_at_most_as_many_as_asked_and_zeros_stay(run, saved, data, tmp_path):
    pruned = str(tmp_path / "pruned.keras")
    step = {"kind": "prune", "sparsity": 0.5, "engine": "tfmot", "epochs": 0}
    run(saved("mixed"), step, output=pruned)
    step = {"kind": "cluster", "clusters": 16, "engine": "tfmot"}
    held = {"zeros": True, "clusters": None, "groups": False}
    made = run(pruned, step, data=data, epochs=1, held=held, random=False)
    assert set(made["begun"]["left"]) == {"depthwise"}
    # Nine of the eighteen weights of `classes` are zero: nine others and zero are ten values.
    assert "classes: 10" in " ".join(made["said"]["notes"])
    for key, kernel in made["after"].items():
        if not key.startswith("depthwise"):
            assert np.unique(kernel).size <= 16, key
            assert not np.asarray(kernel)[np.asarray(made["before"][key]) == 0].any(), key
    assert made["difference"] < 1e-5


def test_quantization_leaves_what_tfmot_refuses_and_puts_the_rest_on_a_grid(run, saved, data):
    step = {"kind": "quantize", "mode": "qat", "engine": "tfmot"}
    made = run(saved("mixed"), step, data=data, epochs=1)
    refused = "stays float: TFMOT does not quantize this kind of layer"
    assert made["begun"]["left"] == {"conv1d": refused, "lstm": refused}
    assert made["finished"]["float_layers"].keys() == {"conv1d", "lstm"}
    assert made["finished"]["collaboration"] == "QAT"
    on_grid(made["after"]["conv.0"], axes=(0, 1, 2))
    on_grid(made["after"]["point.0"], axes=(0, 1, 2))
    on_grid(made["after"]["classes.0"], axes=(0, 1))
    ranges = made["finished"]["ranges"]
    assert {"image", "relu", "depthwise", "point", "add"} <= set(ranges)
    assert all(low <= 0 < high for low, high in ranges.values())
    assert "start at ±6" in " ".join(made["said"]["notes"])


def test_a_kernel_before_a_relu_layer_is_quantized(run, saved, data):
    step = {"kind": "quantize", "mode": "qat", "engine": "tfmot"}
    made = run(saved("plain"), step, data=data, epochs=1)
    assert made["begun"]["left"] == {}
    on_grid(made["after"]["conv.0"], axes=(0, 1, 2))
    on_grid(made["after"]["second.0"], axes=(0, 1, 2))
    assert "conv" not in made["finished"]["ranges"]  # what lies between the two is not quantized
    assert {"image", "relu", "second"} <= set(made["finished"]["ranges"])


def on_grid(kernel, axes):
    """Whole multiples of the largest magnitude over 127, per channel or for all."""
    values = np.asarray(kernel)
    steps = values / (np.abs(values).max(axis=axes, keepdims=True) / 127)
    assert np.abs(steps - np.round(steps)).max() < 1e-3
    assert np.abs(steps).max() == pytest.approx(127)
