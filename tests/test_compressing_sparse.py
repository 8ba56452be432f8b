"""Recipes that prune and cluster, on the demo's model and data: what holds, up to the artifact."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekit import compressing, conversion, manifest, registry, tflite_file
from edgekit.compression_plan import Request, resolve, steps
from edgekit.errors import GateError, RecipeError, UsageError
from edgekit.recipe_files import load
from edgekit.recipe_types import ChannelsStep

MODEL = Path(str(resources.files("edgekit") / "demo_digits.keras"))
DATA = str(resources.files("edgekit") / "demo_digits.npz")
KERNELS = {"conv2d": 144, "conv2d_1": 4608, "conv2d_2": 9216, "dense": 20480, "digit": 400}

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)


def recipe(directory: Path, *written: str, name: str = "r") -> Path:
    path = directory / f"{name}.toml"
    path.write_text(f'name = "{name}"\n' + "".join(f"[[step]]\n{step}\n" for step in written))
    return path


PRUNE = 'kind = "prune"\nsparsity = 0.75\nepochs = 2'
CLUSTER = 'kind = "cluster"\nclusters = 12\nepochs = 1'
FINETUNE = 'kind = "finetune"\nepochs = 1'
INT8 = 'kind = "quantize"'


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sparse")
    made = compressing.compress(
        MODEL, recipe=recipe(directory, PRUNE, FINETUNE, CLUSTER, FINETUNE, INT8), data=DATA,
        output=directory / "m.keras",
    )  # fmt: skip
    return directory / "m.keras", made


@pytest.fixture(scope="module")
def artifact(compressed, tmp_path_factory):
    output = tmp_path_factory.mktemp("artifact") / "m.tflite"
    conversion.convert(compressed[0], data=DATA, output=output)
    return output


def zeros_of(keras_alone, path: Path) -> dict[str, float]:
    return keras_alone.call("zeros", path=str(path))


@pytest.mark.slow
def test_each_layer_has_the_share_of_zeros_that_was_asked_for(compressed, keras_alone):
    _, made = compressed
    prune = next(step.detail for step in made.steps if step.name == "prune")
    assert prune["sparsity"] == pytest.approx(0.75, abs=1e-4)
    said = {one["layer"]: one["done"] for one in prune["applied"]}
    assert said == {
        layer: f"{round(0.75 * size):,} of {size:,} zero" for layer, size in KERNELS.items()
    }
    assert not prune["kept"]
    history = prune["training"][0]["history"]
    assert prune["training"][0]["best_epoch"] == 2  # the ramp ends in the second
    assert [one["epoch"] for one in history] == [0, 1, 2]
    assert prune["training"][0]["learning_rate"] == 0.001


@pytest.mark.slow
def test_zeros_and_shared_bytes_reach_the_int8_artifact(compressed, artifact, keras_alone):
    output, made = compressed
    names = [step.name for step in made.steps]
    assert names == [
        "source", "simplify", "prune", "finetune", "simplify", "cluster", "finetune", "simplify",
        "quantize",
    ]  # fmt: skip
    kept = zeros_of(keras_alone, output)
    constants = [
        tensor.data.view(np.int8)
        for tensor in tflite_file.read(artifact).main.tensors
        if tensor.constant and tensor.dtype == "int8" and len(tensor.shape) > 1
    ]
    assert len(constants) == len(KERNELS)
    for values in constants:
        assert np.unique(values).size <= 12
    found = {values.size: int((values == 0).sum()) for values in constants}
    assert found == dict(kept.values())
    assert sum(zeros for _, zeros in kept.values()) >= 0.7 * sum(size for size, _ in kept.values())


@pytest.mark.slow
def test_training_with_int8_simulated_keeps_zeros_and_shared_bytes(tmp_path):
    qat = 'kind = "quantize"\nmode = "qat"\nepochs = 1\nlearning_rate = 0.001'
    output, artifact = tmp_path / "m.keras", tmp_path / "m.tflite"
    once = [text.replace("epochs = 2", "epochs = 1") for text in (PRUNE, CLUSTER, qat)]
    made = compressing.compress(MODEL, recipe=recipe(tmp_path, *once), data=DATA, output=output)
    converted = conversion.convert(output, data=DATA, max_drop=0.5, output=artifact)
    assert converted.calibration.chosen == "trained"
    kernels = [
        tensor.data.view(np.int8)
        for tensor in tflite_file.read(artifact).main.tensors
        if tensor.constant and tensor.dtype == "int8" and len(tensor.shape) > 1
    ]
    assert len(kernels) == len(KERNELS)
    for values in kernels:
        assert np.unique(values).size <= 12
        assert (values == 0).mean() >= 0.7
    # Two of the 600 samples: the artifact is what the twin was, give or take a rounding.
    assert abs(converted.accuracy.value - made.accuracy.value) <= 0.0034


@pytest.mark.slow
def test_a_float_artifact_stores_its_zeros_sparsely(compressed, tmp_path):
    output = tmp_path / "m.tflite"
    made = conversion.convert(compressed[0], precision="fp32", data=DATA, output=output)
    names = made.steps[-1].detail["sparse"]
    assert any("dense" in name for name in names)
    assert output.stat().st_size < 0.5 * 4 * sum(KERNELS.values())
    operators = [one.name for one in tflite_file.read(output).main.operators]
    assert operators.count("DENSIFY") == len(names)
    dense = tmp_path / "dense.tflite"
    plain = conversion.convert(
        compressed[0], precision="fp32", data=DATA, sparse=False, output=dense
    )
    assert not plain.steps[-1].detail["sparse"]
    assert dense.stat().st_size > 0.9 * 4 * sum(KERNELS.values())
    assert "DENSIFY" not in [one.name for one in tflite_file.read(dense).main.operators]
    assert plain.artifact.gzip_bytes < made.artifact.gzip_bytes


@pytest.mark.slow
def test_the_result_is_about_as_good_as_its_source(compressed, keras_alone):
    output, made = compressed
    alone = keras_alone.call("top1", path=str(output), data=DATA, role="test")
    assert made.accuracy.value == pytest.approx(alone)
    assert made.accuracy.value > made.source_accuracy.value - 0.04


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(compressed, tmp_path):
    output, made = compressed
    again = compressing.compress(
        MODEL, recipe=recipe(tmp_path, PRUNE, FINETUNE, CLUSTER, FINETUNE, INT8), data=DATA,
        output=tmp_path / "m.keras",
    )  # fmt: skip
    assert (tmp_path / "m.keras").read_bytes() == output.read_bytes()
    assert again.steps == made.steps


@pytest.mark.slow
def test_a_compressed_model_that_is_trained_again_keeps_zeros_and_values(
    compressed, keras_alone, tmp_path
):
    output, _ = compressed
    first = compressing.compress(
        output, recipe=recipe(tmp_path, FINETUNE, INT8), data=DATA, output=tmp_path / "a.keras"
    )
    held = first.steps[0].detail["held"]
    assert (held["zeros"], held["clusters"], held["for_int8"]) == (True, 12, True)
    second = compressing.compress(
        tmp_path / "a.keras", recipe=recipe(tmp_path, FINETUNE, name="s"), data=DATA,
        output=tmp_path / "b.keras",
    )  # fmt: skip
    assert second.steps[0].detail["held"]["clusters"] == 12
    assert zeros_of(keras_alone, output) == zeros_of(keras_alone, tmp_path / "b.keras")
    assert keras_alone.call("levels", path=str(tmp_path / "b.keras")) <= 12


def test_a_model_changed_by_others_is_not_held_to_anything(compressed, tmp_path):
    output, _ = compressed
    copy = tmp_path / "m.keras"
    copy.write_bytes(output.read_bytes() + b" ")
    text = manifest.path_for(output).read_text()
    manifest.path_for(copy).write_text(text)
    made = compressing.compress(copy, recipe="lossless", output=tmp_path / "o.keras")
    assert not any(made.steps[0].detail["held"].values())
    (said,) = made.warnings
    assert said.startswith("zeros or shared values that the recipe r gave m.keras are not held")
    assert "m.keras was changed since" in said


def test_without_data_weights_go_at_once_and_a_pattern_that_fits_nothing_is_said(
    keras_alone, tmp_path
):
    large = 'kind = "prune"\nsparsity = 0.5\npattern = "99x99"\nepochs = 0'
    half = 'kind = "prune"\nsparsity = 0.5\nepochs = 0'
    shared = 'kind = "cluster"\nclusters = 50\nepochs = 0'
    made = compressing.compress(
        MODEL, recipe=recipe(tmp_path, large, half, shared), output=tmp_path / "m.keras"
    )
    names = [step.name for step in made.steps]
    assert names == ["source", "simplify", "prune", "prune", "simplify", "cluster"]
    (warning,) = made.warnings
    assert warning.startswith("prune: no layer was changed")
    assert len(made.steps[2].detail["kept"]) == len(KERNELS)
    zeros = zeros_of(keras_alone, tmp_path / "m.keras")
    assert sorted(zeros.values()) == [[size, size // 2] for size in sorted(KERNELS.values())]
    assert len(made.steps[-1].detail["applied"]) == len(KERNELS)


@pytest.mark.slow
def test_a_constant_schedule_prunes_before_it_trains(tmp_path):
    made = compressing.compress(
        MODEL, recipe=recipe(tmp_path, f'{PRUNE}\nschedule = "constant"\nweight = 0'), data=DATA,
        output=tmp_path / "m.keras", epochs=1,
    )  # fmt: skip
    prune = made.steps[2].detail
    assert prune["recalibrated"]["layers"] == 3
    assert "teacher" not in prune
    assert prune["training"][0]["history"][0]["accuracy"]["value"] < 0.98
    assert prune["sparsity"] == pytest.approx(0.75, abs=1e-4)


@pytest.mark.slow
def test_a_loss_that_breaks_off_pruning_leaves_the_share_that_was_asked_for(tmp_path):
    loss = tmp_path / "loss.py"
    loss.write_text("def broken(y, outputs):\n    return outputs[..., 0] / 0.0\n")
    with pytest.raises(GateError, match="no finite number at training step 1"):
        compressing.compress(
            MODEL, recipe=recipe(tmp_path, f"{PRUNE}\nweight = 0"), data=DATA,
            output=tmp_path / "m.keras", loss=f"{loss}:broken",
        )  # fmt: skip
    written = json.loads(manifest.path_for(tmp_path / "m.keras").read_text())
    assert written["steps"][2]["detail"]["sparsity"] == pytest.approx(0.75, abs=1e-4)


def test_normalization_is_folded_before_weights_share_values(tmp_path):
    asked = Request(model=MODEL, recipe="r", output="o.keras")
    kinds = [
        type(step).__name__ for step in steps(asked, load(recipe(tmp_path, PRUNE, CLUSTER, INT8)))
    ]
    assert kinds == [
        "SimplifyStep", "PruneStep", "SimplifyStep", "ClusterStep", "SimplifyStep", "QuantizeStep",
    ]  # fmt: skip


def test_epochs_of_the_command_line_hold_between_cuts_too(tmp_path):
    cuts = 'kind = "channels"\nratio = 0.5\niterations = 3\nepochs = 2'
    request = functools.partial(
        Request, model=MODEL, data=DATA, output=tmp_path / "m.keras", epochs=7
    )
    plan = resolve(request(recipe=recipe(tmp_path, cuts)))
    assert [one.epochs for one in plan.steps if isinstance(one, ChannelsStep)] == [7]
    once = 'kind = "channels"\nratio = 0.5\ncriterion = "taylor"'
    with pytest.raises(UsageError, match="--epochs says nothing"):
        resolve(request(recipe=recipe(tmp_path, once)))


def test_a_manifest_that_says_what_to_hold_makes_another_request(compressed, tmp_path):
    copied = tmp_path / "m.keras"
    copied.write_bytes(compressed[0].read_bytes())
    request = Request(model=copied, recipe="finetune", data=DATA, output=tmp_path / "out.keras")
    alone = resolve(request)
    beside = manifest.path_for(copied)
    beside.write_bytes(manifest.path_for(compressed[0]).read_bytes())
    known = resolve(request)
    assert alone.request_sha256 != known.request_sha256
    assert not alone.notes
    assert not known.notes


def test_epochs_of_the_command_line_say_nothing_where_nothing_trains(tmp_path):
    once = recipe(tmp_path, 'kind = "prune"\nsparsity = 0.5\nepochs = 0')
    with pytest.raises(UsageError, match="--epochs says nothing"):
        compressing.plan(MODEL, recipe=once, output=tmp_path / "m.keras", epochs=3)
    with pytest.raises(UsageError, match=r"trains \(step prune\), and --data was not given"):
        compressing.plan(MODEL, recipe="prune80-int8", output=tmp_path / "m.keras")


@pytest.mark.slow
def test_reconstruction_would_undo_a_pruned_source(compressed, tmp_path):
    output, _ = compressed
    with pytest.raises(Exception, match="adjusts weights freely") as raised:
        compressing.compress(
            output, recipe="reconstruct50-int8", data=DATA, output=tmp_path / "o.keras"
        )
    assert not isinstance(raised.value, RecipeError)
    assert not (tmp_path / "o.keras").exists()
