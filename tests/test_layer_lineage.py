"""Which comparisons are of two networks: no layer of such is judged."""

from __future__ import annotations

import msgspec

from edgekit import layer_lineage
from edgekit.compare_sides import Side
from edgekit.compare_types import Compared, Unmatched
from edgekit.layer_matching import NO_SUCH_SHAPE
from edgekit.manifest_types import Manifest

PRUNED = Unmatched("conv", "CONV_2D", NO_SUCH_SHAPE)


def keras(path, sha256, made=None):
    about = Compared(path, sha256, "keras", "fp32", 9, "tensorflow")
    return Side(None, about, (), (), "keras", {}, made=made)


def tflite(made=None):
    about = Compared("m-int8.tflite", "t" * 64, "tflite", "int8", 9, "litert")
    return Side(None, about, (), (), "litert", {}, made=made)


def made_from(path, sha256, recipe=None):
    source = {"path": path, "sha256": sha256, "size_bytes": 9}
    artifact = {
        "path": "x", "sha256": "t" * 64, "format": "tflite", "precision": "int8", "size_bytes": 9,
        "gzip_bytes": 9, "files": [],
    }  # fmt: skip
    plain = {
        "versions": {}, "command": [], "request_sha256": "", "seed": 0, "artifact": artifact,
        "source": source, "model_name": "m", "recipe": recipe,
    }  # fmt: skip
    return msgspec.convert(plain, Manifest)


def test_an_artifact_of_a_compressed_model_names_the_recipe_and_the_better_reference() -> None:
    artifact = tflite(made_from("small.keras", "s" * 64, "channels50-int8"))
    found = layer_lineage.changed(keras("m.keras", "m" * 64), artifact, [PRUNED])
    assert "channels50-int8 lies between" in found.why
    assert "1 layer without a counterpart of the same shape" in found.why
    assert found.instead.startswith("compare with small.keras")


def test_an_artifact_of_the_reference_itself_is_the_same_network() -> None:
    artifact = tflite(made_from("small.keras", "s" * 64, "channels50-int8"))
    assert layer_lineage.changed(keras("small.keras", "s" * 64), artifact, [PRUNED]) is None


def test_other_shapes_tell_a_pruned_network_where_no_manifest_does() -> None:
    found = layer_lineage.changed(keras("m.keras", "m" * 64), tflite(), [PRUNED])
    assert "without a counterpart" in found.why
    assert "the compressed .keras" in found.instead


def test_a_foreign_artifact_with_the_same_shapes_is_judged() -> None:
    reshaped = Unmatched("flat", "RESHAPE", NO_SUCH_SHAPE)
    assert layer_lineage.changed(keras("m.keras", "m" * 64), tflite(), [reshaped]) is None


def test_a_compressed_model_beside_its_original_is_another_network() -> None:
    small = keras("small.keras", "s" * 64, made_from("m.keras", "m" * 64, "channels50"))
    found = layer_lineage.changed(keras("m.keras", "m" * 64), small, [])
    assert "channels50 lies between" in found.why
    assert "outputs and accuracy" in found.instead
