"""inspect --sensitivity and the recipes' "auto": figures, order, evidence, and what is refused."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

import pytest

from edgekit import (
    automatic_shares,
    chunks,
    cli,
    compressing,
    inspection,
    intervals,
    layer_sensitivity,
    recipe_files,
    recipe_steps,
    registry,
    schemas,
)
from edgekit.compression_state import Work
from edgekit.data import open_data
from edgekit.errors import ModelError
from edgekit.layer_changes import Changing
from edgekit.recipe_types import PruneStep
from edgekit.types import TensorSpec
from edgekit.workers import Worker

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
)


@pytest.fixture(scope="module")
def planting():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("sensitivity_cases:Cases", "planting") as worker:
            yield worker


@pytest.fixture(scope="module")
def planted(planting, tmp_path_factory):
    """A directory with dense.keras, conv.keras, bare.keras, and data with and without labels."""
    directory = tmp_path_factory.mktemp("planted")
    planting.call("plant", directory=str(directory))
    planting.call("plant_channels", directory=str(directory))
    planting.call("bare", path=str(directory / "bare.keras"))
    return directory


@pytest.fixture(scope="module")
def measured(planted):
    data = str(planted / "dense.npz")
    return layer_sensitivity.measure(planted / "dense.keras", data=data)[1]


def test_every_figure_is_that_of_a_kernel_changed_by_hand(measured, planted, planting):
    assert [effect.change for effect in measured.layers[0].effects] == list(
        layer_sensitivity.CHANGES
    )
    for layer in measured.layers:
        for effect in layer.effects:
            expected = planting.call(
                "by_hand", stem=str(planted / "dense"), layer=layer.layer, change=effect.change
            )
            assert effect.sqnr_db == pytest.approx(expected["sqnr_db"], abs=0.02)
            assert effect.accuracy == pytest.approx(expected["accuracy"])
            assert effect.drop == pytest.approx(0.9 - expected["accuracy"])
            p_value = intervals.mcnemar_exact(expected["lost"], expected["won"])
            assert effect.p_value == pytest.approx(p_value)


def test_the_planted_layers_are_found_worst_and_best(measured):
    assert [layer.layer for layer in measured.layers] == ["spread", "head", "redundant"]
    worst, _, best = measured.layers
    assert worst.sensitive
    assert not best.sensitive
    assert (worst.weights, worst.kind) == (256, "Dense")


def test_the_samples_are_those_that_choose_and_the_source_is_stated_once(measured):
    assert (measured.role, measured.samples, measured.seed) == ("val", 300, 0)
    assert measured.accuracy.n == 300
    assert measured.accuracy.value == pytest.approx(0.9)
    low, high = measured.accuracy.ci95
    assert low < 0.9 < high


def test_what_samples_cannot_show_is_no_difference(measured):
    effects = {(layer.layer, one.change): one for layer in measured.layers for one in layer.effects}
    assert effects["spread", "prune90"].different
    assert not any(effects["redundant", change].different for change in layer_sensitivity.CHANGES)
    assert not any(one.different for one in effects.values() if one.p_value >= 0.05)


def test_without_labels_there_is_sqnr_and_no_accuracy(planted, measured):
    data = str(planted / "dense-bare.npz")
    _, found = layer_sensitivity.measure(planted / "dense.keras", data=data)
    assert found.accuracy is None
    assert any("has no labels" in text for text in found.warnings)
    assert [layer.layer for layer in found.layers] == [layer.layer for layer in measured.layers]
    for layer, labelled in zip(found.layers, measured.layers, strict=True):
        for one, other in zip(layer.effects, labelled.effects, strict=True):
            assert one.sqnr_db == other.sqnr_db
            assert (one.accuracy, one.drop, one.different) == (None, None, None)
    assert found.layers[0].sensitive


def test_a_change_that_ruins_the_numbers_ends_nothing(planting, planted):
    planting.call("fragile", directory=str(planted))
    data = str(planted / "fragile.npz")
    _, found = layer_sensitivity.measure(planted / "fragile.keras", data=data)
    effects = {one.change: one for one in found.layers[0].effects}
    assert effects["prune50"].sqnr_db == 200  # those weights were zero
    assert (effects["prune90"].sqnr_db, effects["prune90"].accuracy) == (-200, None)
    assert effects["int8"].accuracy is not None


def _line(planted, *options):
    return ["inspect", str(planted / "dense.keras"), "--sensitivity", *options]


def test_the_command_prints_a_table_and_json_by_its_schema(planted, capsys):
    jsonschema = pytest.importorskip("jsonschema", reason="the package jsonschema is not installed")
    asked = _line(planted, "--data", str(planted / "dense.npz"))
    assert cli.main(asked) == 0
    printed = capsys.readouterr()
    assert "300 of the val role (seed 0)" in printed.out
    assert "layer 1/3" in printed.err
    assert printed.out.index("spread") < printed.out.rindex("redundant")
    assert cli.main([*asked, "--json", "-q"]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    told = json.loads(printed.out)
    jsonschema.Draft202012Validator(schemas.json_schema("inspect")).validate(told)
    assert [layer["layer"] for layer in told["sensitivity"]["layers"]] == [
        "spread", "head", "redundant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sensitivity"], "--sensitivity was given without --data"),
        (["--sensitivity", "--data", "d.npz", "--recipe", "int8"], "--recipe asks what becomes"),
        (["--data", "d.npz"], "--data says nothing without --sensitivity"),
        (["--metric", "top1"], "--metric says nothing without --sensitivity"),
        (["--sensitivity", "--data", "d.npz", "--metric", "f1"], "'f1' is not known"),
    ],
)
def test_options_that_say_nothing_are_refused_from_the_command_line_alone(options, words, capsys):
    assert cli.main(["inspect", "m.keras", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_model_without_layers_or_kernels_is_one_line(planted, tmp_path, capsys):
    data = ["--sensitivity", "--data", str(planted / "dense.npz")]
    graphs = runpy.run_path(str(Path(__file__).parent / "converters" / "int8_graphs.py"))
    (tmp_path / "m.tflite").write_bytes(graphs["small_cnn"]())
    assert cli.main(["inspect", str(tmp_path / "m.tflite"), *data]) == 1
    assert "--sensitivity changes the kernels of Keras layers" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no layer of the model has a kernel"):
        layer_sensitivity.measure(planted / "bare.keras", data=data[-1])


def test_an_unknown_target_is_refused_before_anything_is_measured(planted, capsys):
    asked = _line(planted, "--data", str(planted / "dense.npz"), "--target", "no-such-board")
    assert cli.main(asked) == 1
    assert "layer 1/3" not in capsys.readouterr().err


AUTO = 'name = "auto"\n[[step]]\nkind = "channels"\nratio = "auto"\n'


def test_auto_takes_channels_where_they_do_least_and_keeps_the_evidence(planted, tmp_path):
    recipe = tmp_path / "auto.toml"
    recipe.write_text(AUTO + "overall = 0.25\n")
    made = compressing.compress(
        planted / "conv.keras", recipe=recipe, data=str(planted / "conv-bare.npz"),
        output=tmp_path / "m.keras",
    )  # fmt: skip
    cut = next(step for step in made.steps if step.name == "channels").detail
    assert {one["layer"]: one["channels"] for one in cut["removed"]} == {"redundant": 4}
    assert cut["sensitivity"]["role"] == "val"
    (iteration,) = cut["sensitivity"]["measured"]
    curves = iteration["curves"]
    assert set(curves) == {"redundant", "spread"}
    assert [share for share, _ in curves["spread"]] == list(automatic_shares.CHANNEL_SHARES)
    at_half = automatic_shares.CHANNEL_SHARES.index(0.5)
    assert curves["redundant"][at_half][1] > curves["spread"][at_half][1] + 20


def test_a_budget_says_how_far_auto_goes(planted, tmp_path):
    recipe = tmp_path / "auto.toml"
    recipe.write_text(AUTO + "max_parameters = 0.6\n")
    made = compressing.compress(
        planted / "conv.keras", recipe=recipe, data=str(planted / "conv.npz"),
        output=tmp_path / "m.keras",
    )  # fmt: skip
    cut = next(step for step in made.steps if step.name == "channels").detail
    whole = made.steps[0].detail["parameters_after"]
    assert cut["budget"]["reached"] <= int(0.6 * whole)
    gone = {one["layer"]: one["channels"] for one in cut["removed"]}
    assert gone["redundant"] >= 4 > gone.get("spread", 0)


def test_auto_gives_the_redundant_layer_the_largest_share_of_zeros(planted, tmp_path):
    said: list[str] = []
    with Worker(inspection.COMPRESSOR, "compressing") as worker:
        worker.call("open", path=str(planted / "dense.keras"))
        spec = TensorSpec("x", (None, 16), "float32")
        dataset = open_data(str(planted / "dense-bare.npz"), inputs=[spec])
        chunks.write(tmp_path / "judging", [dataset.sample("val", 200).x])
        work = Work(None, worker, None, tmp_path, said.append, lambda _share, _text: None)
        work.judging, work.role = tmp_path / "judging", "val"
        shares, evidence = automatic_shares.of_weights(work, PruneStep("auto", overall=0.5), "s")
    sizes = {"redundant": 256, "spread": 256, "head": 48}
    total = sum(shares[name] * size for name, size in sizes.items())
    assert total == pytest.approx(0.5 * 560)
    assert shares["redundant"] > shares["spread"]
    assert shares["redundant"] >= 0.9
    assert evidence["overall"] == 0.5
    assert {one["layer"]: one["share"] for one in evidence["measured"]} == shares
    assert said == ["s: sensitivity of 3 layers, 6 passes each over 200 val samples"]


def test_auto_without_samples_names_the_option(planted, tmp_path, capsys):
    recipe = tmp_path / "auto.toml"
    recipe.write_text(AUTO)
    line = ["compress", str(planted / "conv.keras"), "--recipe", str(recipe), "-o"]
    assert cli.main([*line, str(tmp_path / "m.keras")]) == 2
    error = capsys.readouterr().err
    assert "chooses by the sensitivity of layers (step channels)" in error
    assert "labels are not needed" in error


def test_inspect_says_that_samples_decide_the_shares(planted, tmp_path):
    recipe = tmp_path / "auto.toml"
    recipe.write_text(AUTO)
    step = inspection.explain(planted / "conv.keras", recipe)[1].steps[1]
    assert step.settings.startswith("ratio auto")
    assert any("decided by its sensitivity on samples" in note for note in step.notes)
    assert {one.layer: one.channels for one in step.applies} == {"redundant": 4, "spread": 4}


def test_a_recipe_that_is_shown_says_auto(tmp_path, capsys):
    recipe = tmp_path / "auto.toml"
    recipe.write_text(AUTO + "overall = 0.4\n")
    assert cli.main(["recipes", "show", str(recipe)]) == 0
    assert "ratio auto, overall 0.4" in capsys.readouterr().out
    assert recipe_steps.looks(recipe_files.load(recipe).step[0])


def test_outputs_of_a_changed_layer_leave_no_files(planted, tmp_path):
    with Worker(inspection.COMPRESSOR, "compressing") as worker:
        worker.call("open", path=str(planted / "dense.keras"))
        subjects = worker.call("changeable_kernels")
        spec = TensorSpec("x", (None, 16), "float32")
        dataset = open_data(str(planted / "dense.npz"), inputs=[spec])
        chunks.write(tmp_path / "samples", [dataset.sample("val", 8).x])
        changing = Changing(worker, tmp_path / "samples", subjects)
        curve = changing.curve("spread", (0.5, 0.9))
        again = changing.curve("spread", (0.5, 0.9))
    assert curve == again
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
