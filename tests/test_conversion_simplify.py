"""Lossless simplification inside convert, judged by the artifacts alone."""

import subprocess
import sys

import numpy as np
import pytest

import edgekit
from edgekit import conversion, manifest, printing_convert

BUILD = """
import sys, keras
L = keras.layers
keras.utils.set_random_seed(1)
x = image = keras.Input((8, 8, 3), name="image")
x = L.ReLU()(L.BatchNormalization(name="norm")(L.Conv2D(16, 3, name="first")(x)))
x = L.Dropout(0.2)(L.Conv2D(8, 3, activation="relu", name="second")(x))
model = keras.Model(image, L.Dense(4, name="scores")(L.GlobalAveragePooling2D()(x)))
model.save(sys.argv[1] + "/clean.keras")
gamma, beta, mean, variance = model.get_layer("norm").get_weights()
gamma[:9], beta[:9] = 0, -1
model.get_layer("norm").set_weights([gamma, beta, mean, variance])
model.save(sys.argv[1] + "/dead.keras")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", BUILD, str(place)], check=True, capture_output=True)
    x = np.random.default_rng(0).standard_normal((32, 8, 8, 3)).astype("float32")
    np.savez(place / "data.npz", x=x, y=np.zeros(32, int))
    return place


def both(models, name):
    """The manifests with and without simplification, and the artifacts' bytes."""
    found = []
    for simplify in (True, False):
        output = models / f"{name}-{simplify}.tflite"
        made = edgekit.convert(
            models / f"{name}.keras", precision="fp32", data=str(models / "data.npz"),
            simplify=simplify, output=output,
        )  # fmt: skip
        found.append((made, output.read_bytes()))
    return found


def test_dead_channels_go_and_the_manifest_and_the_page_say_so(models):
    (made, small), (whole, large) = both(models, "dead")
    step = made.steps[0]
    assert [one.name for one in made.steps] == ["simplify", "convert"]
    assert [one.name for one in whole.steps] == ["convert"]
    # eight of nine: 16 filters are a multiple of 8, and 8 are again
    assert [(one["layer"], one["channels"]) for one in step.detail["removed"]] == [("first", 8)]
    lost = 8 * (27 + 1) + 8 * 4 + 8 * 9 * 8
    assert step.detail["parameters_before"] - step.detail["parameters_after"] == lost
    assert len(small) < len(large) - 8 * (27 + 72) * 4
    assert made.parity.max_rel < 1e-5
    facts = dict(printing_convert._facts(made, models / "dead-True.tflite"))
    assert facts["simplified"].startswith("8 dead channels removed: ")
    assert "simplified" not in dict(printing_convert._facts(whole, models / "x"))


def test_a_model_with_nothing_to_remove_gives_the_same_bytes_either_way(models):
    (made, one), (_, other) = both(models, "clean")
    assert one == other
    assert made.steps[0].detail["removed"] == []
    assert "simplified" not in dict(printing_convert._facts(made, models / "x"))


def test_no_simplify_is_another_request(models):
    options = {
        "target": "host", "precision": "fp32", "data": None, "preprocess": None, "metric": None,
        "input_type": None, "output_type": None, "batch": "1", "max_drop": None, "seed": 0,
        "trust": False, "output": models / "m.tflite",
    }  # fmt: skip
    plans = [
        conversion.plan(models / "clean.keras", **options, simplify=simplify)
        for simplify in (True, False)
    ]
    assert [plan.simplify for plan in plans] == [True, False]
    assert plans[0].request_sha256 != plans[1].request_sha256


def test_dead_channels_stay_where_zeros_stand_in_groups_of_inputs(models, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'name = "r"\n[[step]]\nkind = "prune"\nsparsity = 0.5\npattern = "2:4"\nepochs = 0\n'
    )
    pruned, artifact = tmp_path / "m.keras", tmp_path / "m.tflite"
    edgekit.compress(models / "dead.keras", recipe=recipe, output=pruned, simplify=False)

    def removed():
        made = edgekit.convert(pruned, precision="fp32", output=artifact, force=True)
        step = next(one for one in made.steps if one.name == "simplify")
        return made.request_sha256, sum(one["channels"] or 0 for one in step.detail["removed"])

    held, none = removed()
    assert none == 0
    manifest.path_for(pruned).unlink()  # nobody knows of the groups now
    unknown, some = removed()
    assert some == 8  # of nine; the target likes multiples of eight
    assert unknown != held
