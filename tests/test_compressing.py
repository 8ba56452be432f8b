"""`edgekit compress` on the demo's model: what it writes, what it states, what it refuses."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekit import cli, compressing, compression_plan, conversion, manifest, registry
from edgekit.errors import (
    ConversionError,
    DataError,
    ModelError,
    OutputError,
    RecipeError,
    UsageError,
)
from edgekit.workers import Worker

MODEL = Path(str(resources.files("edgekit") / "demo_digits.keras"))
DATA = str(resources.files("edgekit") / "demo_digits.npz")

UNTRAINED = """name = "untrained"
[[step]]
kind = "channels"
ratio = 0.5
[[step]]
kind = "quantize"
precision = "int8"
"""

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory):
    output = tmp_path_factory.mktemp("lossless") / "m.keras"
    return output, compressing.compress(MODEL, recipe="lossless", output=output)


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("halved")
    output = directory / "m.keras"
    made = compressing.compress(MODEL, recipe=_recipe(directory), data=DATA, output=output)
    return output, made


def test_lossless_keeps_the_outputs_and_folds_normalization(lossless, keras_alone):
    output, made = lossless
    assert keras_alone.call("difference", before=str(MODEL), after=str(output), data=DATA) <= 1e-4
    kinds = keras_alone.call("kinds", path=str(output))
    assert "BatchNormalization" not in kinds
    assert "Dropout" not in kinds
    source, *_, last = made.steps
    assert last.detail["parameters_after"] < source.detail["parameters_after"]
    assert keras_alone.call("parameters", path=str(output)) == last.detail["parameters_after"]
    assert not made.warnings


def test_the_same_compression_gives_the_same_bytes(lossless, tmp_path):
    output, made = lossless
    again = compressing.compress(MODEL, recipe="lossless", output=tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_bytes() == output.read_bytes()
    assert again.steps == made.steps
    assert again.request_sha256 == made.request_sha256


def test_what_is_up_to_date_is_not_made_again(lossless):
    output, made = lossless
    written, said = output.stat().st_mtime_ns, []
    again = compressing.compress(MODEL, recipe="lossless", output=output, on_progress=said.append)
    assert again == made
    assert said == [f"{output} is up to date: nothing was run"]
    assert output.stat().st_mtime_ns == written


def test_a_planted_dead_channel_goes_and_is_listed(keras_alone, tmp_path):
    planted, output = tmp_path / "planted.keras", tmp_path / "m.keras"
    keras_alone.call("plant", source=str(MODEL), output=str(planted))
    made = compressing.compress(planted, recipe="int8", data=DATA, output=output)
    (removed,) = [one for one in made.steps[1].detail["removed"] if one["channels"]]
    assert (removed["layer"], removed["channels"], removed["remaining"]) == ("conv2d_1", 1, 31)
    assert removed["why"]
    # one 3 × 3 × 16 kernel, its normalization, and 3 × 3 × 32 weights that read it
    fewer = 3 * 3 * 16 + 4 + 3 * 3 * 32
    before, after = (step.detail["parameters_after"] for step in made.steps[:2])
    assert before - after == fewer
    difference = keras_alone.call("difference", before=str(planted), after=str(output), data=DATA)
    assert difference <= 1e-5


def test_without_simplification_dead_channels_stay(keras_alone, tmp_path):
    planted, output = tmp_path / "planted.keras", tmp_path / "m.keras"
    keras_alone.call("plant", source=str(MODEL), output=str(planted))
    made = compressing.compress(planted, recipe="int8", output=output, simplify=False)
    assert [step.name for step in made.steps] == ["source", "quantize"]
    assert keras_alone.call("difference", before=str(planted), after=str(output), data=DATA) == 0


def test_half_the_channels_really_go_and_the_price_is_stated(halved, keras_alone):
    output, made = halved
    source, simplified, pruned, planned = made.steps
    assert [step.name for step in made.steps] == ["source", "simplify", "channels", "quantize"]
    counts = {one["layer"]: one["remaining"] for one in pruned.detail["removed"]}
    assert counts == {"conv2d": 8, "conv2d_1": 16, "conv2d_2": 16, "dense": 20}
    assert pruned.detail["channels_removed"] == sum(counts.values())
    assert keras_alone.call("parameters", path=str(output)) == pruned.detail["parameters_after"]
    assert pruned.detail["size_bytes"] == output.stat().st_size == made.artifact.size_bytes
    assert pruned.detail["size_bytes"] < simplified.detail["size_bytes"]
    assert pruned.detail["gzip_bytes"] < source.detail["gzip_bytes"] / 2
    assert planned.detail["precision"] == made.planned_precision == "int8"
    for accuracy, path, role in (
        (source.detail["accuracy"]["value"], MODEL, "val"),
        (pruned.detail["accuracy"]["value"], output, "val"),
        (made.source_accuracy.value, MODEL, "test"),
        (made.accuracy.value, output, "test"),
    ):
        alone = keras_alone.call("top1", path=str(path), data=DATA, role=role)
        assert accuracy == pytest.approx(alone)
    assert made.accuracy.n == 600
    drop = source.detail["accuracy"]["value"] - pruned.detail["accuracy"]["value"]
    price, loss = made.warnings
    assert "without training" in price
    assert f"a drop of {100 * drop:.2f} %" in price
    assert "the result has lost accuracy" in loss
    assert made.paired.p_value < 0.001
    lost_samples = made.paired.only_source_right - made.paired.only_result_right
    assert lost_samples == round(600 * (made.source_accuracy.value - made.accuracy.value))


def test_convert_takes_the_planned_precision(halved, tmp_path):
    output, _ = halved
    artifact = tmp_path / "m.tflite"
    made = conversion.convert(output, data=DATA, output=artifact)
    assert made.artifact.precision == "int8"
    assert [parent.path for parent in made.parents] == [str(MODEL)]
    assert made.model_name == MODEL.stem


def test_a_planned_precision_gives_way_to_what_is_asked_and_needs_data(halved, tmp_path):
    output, _ = halved
    artifact = tmp_path / "m.tflite"
    assert conversion.plan(output, precision="fp16", **_rest(artifact)).precision == "fp16"
    with pytest.raises(ConversionError, match="the model's recipe planned int8"):
        conversion.plan(output, precision=None, **_rest(artifact))


def test_a_plan_for_a_file_that_changed_is_left_out_aloud(halved, tmp_path):
    output, _ = halved
    changed = tmp_path / output.name
    changed.write_bytes(MODEL.read_bytes())
    shutil.copy(f"{output}.edgekit.json", f"{changed}.edgekit.json")
    plan = conversion.plan(changed, precision=None, **_rest(tmp_path / "m.tflite"))
    assert plan.precision == "fp32"
    (said,) = plan.notes
    assert said.startswith("the target's own precision fp32 is used, and not int8, as the recipe")
    assert f"{changed.name} was changed since; --precision says which" in said
    asked = conversion.plan(changed, precision="fp16", **_rest(tmp_path / "m.tflite"))
    assert not asked.notes


def test_a_plan_that_the_target_does_not_run_is_refused(tmp_path):
    model, artifact = tmp_path / "m.keras", tmp_path / "m.xml"
    made = compressing.compress(MODEL, recipe="int16x8", target="host", output=model)
    assert "int16x8 is not expected to make the model faster on host" in made.warnings[0]
    options = {**_rest(artifact), "target": "host-openvino"}
    with pytest.raises(ConversionError, match="does not run int16x8"):
        conversion.plan(model, precision=None, **options)
    assert conversion.plan(model, precision="fp16", **options).precision == "fp16"


def test_a_plan_of_a_file_that_changed_since_is_not_followed(halved, tmp_path):
    output, _ = halved
    moved = tmp_path / "m.keras"
    moved.write_bytes(MODEL.read_bytes())
    sidecar = manifest.path_for(moved)
    sidecar.write_bytes(manifest.path_for(output).read_bytes())
    found = conversion.plan(moved, precision=None, **_rest(tmp_path / "m.tflite"))
    assert found.precision == "fp32"


def test_a_criterion_that_knows_nothing_of_a_layer_leaves_it_and_says_so(tmp_path):
    text = UNTRAINED.replace("ratio = 0.5", 'ratio = 0.5\ncriterion = "bn-scale"')
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, text), data=DATA, output=tmp_path / "m.keras"
    )
    step = made.steps[2].detail
    assert {one["layer"] for one in step["removed"]} == {"conv2d", "conv2d_1", "conv2d_2"}
    assert "no batch normalization" in {one["layer"]: one["why"] for one in step["kept"]}["dense"]


def test_a_budget_that_is_met_already_is_said(tmp_path):
    text = UNTRAINED.replace("ratio = 0.5", "max_parameters = 1000000")
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path, text), data=DATA, output=tmp_path / "m.keras"
    )
    assert "the model has 35,218 parameters already" in made.warnings[-1]


def test_without_data_the_price_is_said_to_be_unknown(tmp_path):
    made = compressing.compress(
        MODEL, recipe=_recipe(tmp_path), target="cortex-m7", output=tmp_path / "m.keras"
    )
    assert made.accuracy is None
    assert "it was not measured how much" in made.warnings[-1]
    multiple = made.steps[2].detail["multiple"]
    assert multiple > 1
    for one in made.steps[2].detail["removed"]:
        assert one["remaining"] % multiple == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"recipe": "nonsense"}, RecipeError, "no recipe named 'nonsense'"),
        ({"output": "m.tflite"}, UsageError, "does not end in .keras"),
        ({"recipe": "lossless", "simplify": False}, UsageError, "contradicts the recipe"),
        ({"data": "missing.npz"}, DataError, "does not exist"),
        ({"target": "host-openvino", "recipe": "int16x8"}, ConversionError, "does not run"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(tmp_path, options, error, words):
    given = {"recipe": "int8", "output": "m.keras", **options}
    output = tmp_path / str(given.pop("output"))
    with pytest.raises(error, match=words) as raised:
        compressing.compress(MODEL, output=output, **given)
    assert raised.value.fix or error is DataError
    assert not list(tmp_path.iterdir())


def test_other_formats_and_the_model_itself_are_refused(tmp_path, tiny_cnn_tflite):
    with pytest.raises(ModelError, match="compress changes Keras layers"):
        compressing.compress(tiny_cnn_tflite, recipe="int8", output=tmp_path / "m.keras")
    with pytest.raises(UsageError, match="is the model itself"):
        compressing.compress(MODEL, recipe="int8", output=MODEL, force=True)


def test_a_savedmodel_without_layers_is_refused(tmp_path, tiny_cnn_savedmodel):
    with pytest.raises(ModelError, match="carries its computation only"):
        compressing.compress(tiny_cnn_savedmodel, recipe="int8", output=tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_a_saved_model_that_is_not_the_one_in_memory_is_refused(tmp_path):
    damaged = tmp_path / "m.keras"
    damaged.write_bytes(MODEL.read_bytes()[:-500])
    with Worker(compressing.COMPRESSOR, "the compressor") as worker:
        worker.call("open", path=str(MODEL))
        worker.call("check_saved", path=str(MODEL), trust=False)
        with pytest.raises(ModelError, match="Keras cannot load the compressed model"):
            worker.call("check_saved", path=str(damaged), trust=False)
        with pytest.raises(OutputError, match="cannot write"):
            worker.call("save", path=str(tmp_path / "missing" / "m.keras"))
        worker.call(
            "apply_channels", ratio=0.5, max_macs=None, max_parameters=None, criterion="l2",
            scope="global", multiple=1,
        )  # fmt: skip
        with pytest.raises(ModelError, match="loads other weights"):
            worker.call("check_saved", path=str(MODEL), trust=False)


def test_the_command_prints_a_table_and_json(tmp_path, capsys):
    output = tmp_path / "m.keras"
    recipe = _recipe(tmp_path)
    line = ["compress", str(MODEL), "--recipe", recipe, "--data", DATA, "-o", str(output)]
    assert cli.main([*line, "--dry-run"]) == 0
    assert "channels ratio 0.5" in capsys.readouterr().out
    assert not output.exists()
    assert cli.main(line) == 0
    shown = capsys.readouterr().out
    assert "9,038" in shown
    assert "without training" in shown
    assert cli.main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "untrained"


def _recipe(directory, text=UNTRAINED):
    path = directory / "recipe.toml"
    path.write_text(text)
    return str(path)


def _rest(output):
    return {
        "target": "host", "data": None, "preprocess": None, "metric": None, "input_type": None,
        "output_type": None, "batch": "1", "max_drop": None, "output": output, "seed": 0,
        "trust": False, "simplify": True,
    }  # fmt: skip


def test_an_edited_metric_is_a_changed_request(tmp_path):
    metric = tmp_path / "metric.py"
    found = []
    for value in (0.25, 0.5):
        metric.write_text(f"def constant(x, y, outputs):\n    return {value}\n")
        asked = compression_plan.Request(
            model=MODEL, recipe="lossless", data=DATA, metric=f"{metric}:constant",
            output=tmp_path / "m.keras",
        )  # fmt: skip
        found.append(compression_plan.resolve(asked).request_sha256)
    assert found[0] != found[1]


RECONSTRUCTED = """name = "r"
[[step]]
kind = "channels"
ratio = 0.5
criterion = "reconstruction"
"""


def test_reconstruction_does_with_calibration_samples_alone(tmp_path):
    stored = np.load(DATA)
    np.savez(tmp_path / "d.npz", x_test=stored["x_test"], y_test=stored["y_test"])
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECONSTRUCTED)
    made = compressing.compress(
        MODEL, recipe=str(recipe), data=str(tmp_path / "d.npz"), output=tmp_path / "m.keras"
    )
    cut = next(step for step in made.steps if step.name == "channels")
    assert cut.detail["removed"]
    assert set(cut.detail["reconstruction_error"]) == {"conv2d_1", "conv2d_2", "dense", "digit"}
    recipe.write_text(UNTRAINED)
    by_norm = compressing.compress(
        MODEL, recipe=str(recipe), data=str(tmp_path / "d.npz"), output=tmp_path / "n.keras"
    )
    pruned = next(step for step in by_norm.steps if step.name == "channels").detail["accuracy"]
    assert cut.detail["accuracy"]["value"] > pruned["value"] + 0.1


def test_reconstruction_without_samples_names_the_option(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECONSTRUCTED)
    line = ["compress", str(MODEL), "--recipe", str(recipe), "-o", str(tmp_path / "m.keras")]
    assert cli.main(line) == 2
    assert "chooses by samples" in capsys.readouterr().err


def test_reconstruction_needs_no_labels_and_then_states_no_accuracy(tmp_path):
    stored = np.load(DATA)
    np.savez(tmp_path / "d.npz", x_train=stored["x_train"], x_test=stored["x_test"])
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECONSTRUCTED)
    made = compressing.compress(
        MODEL, recipe=str(recipe), data=str(tmp_path / "d.npz"), output=tmp_path / "m.keras"
    )
    cut = next(step for step in made.steps if step.name == "channels")
    assert cut.detail["removed"]
    assert cut.detail["accuracy"] is None
    assert made.accuracy is None
    assert any("has no labels: accuracy was not measured" in one for one in made.warnings)
