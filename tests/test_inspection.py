"""inspect: the whole way through the child process, on every format and on real models."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from edgekit import compressing, inspection, registry
from edgekit.errors import ModelError, ProfileError, RecipeError
from edgekit.inspect_types import RecipeFindings
from edgekit.recipe_types import Removal

MODEL = Path(str(resources.files("edgekit") / "demo_digits.keras"))
GRAPHS = Path(__file__).parent / "converters" / "int8_graphs.py"
needs_keras = pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)


def test_inspect_reads_a_keras_model(tiny_cnn_keras):
    info = inspection.inspect(tiny_cnn_keras)
    assert (info.format, info.generation, info.precision) == ("keras", "keras3", "fp32")
    assert [(spec.name, spec.shape) for spec in info.inputs] == [("image", (None, 8, 8, 1))]
    assert [layer.name for layer in info.layers] == [
        "conv", "norm", "relu", "pool", "flat", "classes",
    ]  # fmt: skip
    assert info.parameters == 3 * 3 * 6 + 4 * 6 + 4 * 4 * 6 * 10 + 10
    assert info.size_bytes == tiny_cnn_keras.stat().st_size


def test_an_unknown_target_is_refused_before_the_model_is_looked_at(tmp_path):
    with pytest.raises(ProfileError):
        inspection.inspect(tmp_path / "nothing.keras", targets=("no-such-board",))


def test_a_missing_model_is_refused_without_a_child_process(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.loading.Worker", None)
    with pytest.raises(ModelError, match="there is no"):
        inspection.inspect(tmp_path / "nothing.keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("mlperf_tiny_ic_resnet8/pretrainedResnet.h5", 78_666, 12_501_632),
        ("mlperf_tiny_ad_autoencoder/ad01.h5", 269_992, 264_192),
        ("mlperf_tiny_sww_conv1d/str_ww_ref_model.h5", 47_707, 826_368),
    ],
)
def test_published_keras_2_models_are_replayed(edgekit_data, name, parameters, macs):
    # Parameters: the numbers stored in the file, counted with h5py.
    info = inspection.inspect(edgekit_data / name)
    assert info.generation == "keras2"
    assert (info.parameters, info.macs, info.uncounted) == (parameters, macs, ())
    difference = float(info.notes[0].split("difference ")[1].split()[0])
    assert difference <= 2e-6


def recipe(directory: Path, *steps: str) -> Path:
    path = directory / "r.toml"
    path.write_text('name = "r"\n' + "".join(f"[[step]]\n{step}\n" for step in steps))
    return path


def explained(directory: Path, *steps: str, target: str | None = None) -> RecipeFindings:
    return inspection.explain(MODEL, recipe(directory, *steps), target=target)[1]


HALF = 'kind = "channels"\nratio = 0.5'


@needs_keras
@pytest.mark.parametrize("target", [None, "host"])
def test_a_recipe_is_explained_as_compress_then_carries_it_out(tmp_path, target):
    told = explained(tmp_path, HALF, target=target)
    made = compressing.compress(
        MODEL, recipe=recipe(tmp_path, HALF), target=target, output=tmp_path / "m.keras"
    )
    done = next(step.detail for step in made.steps if step.name == "channels")
    assert [step.kind for step in told.steps] == ["simplify", "channels"]
    channels = told.steps[1]
    assert channels.applies
    assert channels.applies == msgspec.convert(done["removed"], tuple[Removal, ...])
    assert channels.stays == msgspec.convert(done["kept"], tuple[Removal, ...])


@needs_keras
def test_a_budget_is_a_share_of_the_source_and_what_it_leaves_is_counted(tmp_path):
    share = 'kind = "channels"\nmax_macs = 0.4'
    _, step = explained(tmp_path, share, target="host").steps
    assert step.applies
    assert 1 / 0.4 <= step.claim.macs < 4
    assert step.claim.latency is None


@needs_keras
def test_a_budget_out_of_reach_is_a_finding_and_the_next_step_is_explained_too(tmp_path):
    steps = explained(tmp_path, 'kind = "channels"\nmax_parameters = 3', 'kind = "quantize"').steps
    (finding,) = steps[1].findings
    assert finding.severity == "error"
    assert "max_parameters is 3 and cannot be met" in finding.problem
    assert not steps[1].applies
    assert steps[2].kind == "quantize"


@needs_keras
def test_what_data_decides_is_said_to_be_open(tmp_path):
    taylor = f'{HALF}\ncriterion = "taylor"\niterations = 3'
    _, step, last = explained(tmp_path, taylor).steps
    assert (last.kind, last.settings) == ("simplify", "for_inference True")
    assert any("taylor decides on training data; shown is l1" in note for note in step.notes)
    assert any("in 3 parts and trains between" in note for note in step.notes)


@needs_keras
def test_a_training_step_says_which_loss_and_names_layers_that_it_lacks(tmp_path):
    steps = explained(
        tmp_path, 'kind = "finetune"', 'kind = "distill"\nfeatures = ["no_such_layer"]'
    ).steps
    assert any("layers are trained" in note for note in steps[1].notes)
    own = "the loss is the one that the model was compiled with: sparse_categorical_crossentropy"
    assert own in steps[1].notes
    (finding,) = steps[2].findings
    assert finding.layer == "no_such_layer"


@needs_keras
def test_what_the_target_does_not_run_is_found_and_without_a_target_asked_for(tmp_path):
    fp16 = 'kind = "quantize"\nprecision = "fp16"'
    on_board = explained(tmp_path, fp16, target="cortex-m7").steps[-1]
    assert any("does not run fp16" in finding.problem for finding in on_board.findings)
    anywhere = explained(tmp_path, fp16).steps[-1]
    assert not anywhere.findings
    assert any("add --target" in note for note in anywhere.notes)


@needs_keras
@pytest.mark.parametrize(
    ("target", "scales"), [("cortex-m7", "one scale"), ("host", "a scale per")]
)
def test_scales_of_weights_are_explained_as_the_target_has_them(tmp_path, target, scales):
    step = explained(tmp_path, 'kind = "quantize"\nmode = "qat"', target=target).steps[-1]
    told = {one.kind: one.why for one in step.applies}
    assert scales in told["Dense"]
    assert "a scale per channel" in told["Conv2D"]


def test_a_recipe_says_nothing_of_a_model_without_keras_layers(tiny_cnn_tflite):
    with pytest.raises(ModelError, match="recipes change Keras layers"):
        inspection.explain(tiny_cnn_tflite, "int8")


def test_an_unknown_recipe_is_refused_before_the_model_is_looked_at(tmp_path):
    with pytest.raises(RecipeError):
        inspection.explain(tmp_path / "nothing.keras", "no-such-recipe")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit", "inspect", *arguments],
        text=True, capture_output=True, check=False,
    )  # fmt: skip


@needs_keras
def test_the_command_shows_and_encodes_what_a_recipe_would_do(tmp_path):
    asked = (str(MODEL), "--recipe", str(recipe(tmp_path, HALF, 'kind = "quantize"')))
    told = json.loads(command(*asked, "--target", "host", "--json").stdout)["recipe"]
    assert [step["kind"] for step in told["steps"]] == ["simplify", "channels", "quantize"]
    assert told["steps"][2]["claim"]["technique"] == "int8"
    shown = command(*asked, "--target", "host").stdout
    assert "2. channels ratio 0.5" in shown
    assert all(f"goes: {one['channels']} of" in shown for one in told["steps"][1]["applies"])
    assert "3.35× as fast" in shown


def test_several_targets_and_a_recipe_contradict_each_other():
    done = command("m.keras", "--recipe", "int8", "--target", "host", "--target", "cortex-m7")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --recipe was given with 2 targets")


@needs_keras
def test_a_target_is_asked_about_what_the_model_is_already(tmp_path):
    spec = importlib.util.spec_from_file_location("int8_graphs", GRAPHS)
    graphs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(graphs)
    path = tmp_path / "m.tflite"
    path.write_bytes(graphs.small_cnn())
    told = json.loads(command(str(path), "--target", "nvidia-t4", "--json").stdout)
    assert told["model"]["precision"] == "int8"
    assert told["targets"][0]["precision"] == "int8"
    asked = (str(path), "--target", "nvidia-t4", "--precision", "fp16", "--json")
    assert json.loads(command(*asked).stdout)["targets"][0]["precision"] == "fp16"
