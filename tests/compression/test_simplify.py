"""Lossless simplification, in one worker: what goes, what stays, and that outputs do not move."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import ModelError
from edgekit.workers import Worker

PLANTED = {
    "plain_same": {"first": 2, "second": 2},
    "plain_valid": {"first": 3, "second": 2},
    "normalized": {"first": 3, "wide": 1},
    "residual": {"stem": 1, "back": 1, "inner": 2},
    "depthwise_same": {"first": 3, "each": 6, "point": 1},
    "depthwise_valid": {"first": 4, "each": 8, "point": 1},
    "concatenated": {"one": 1, "two": 2},
    "one_dimensional": {"first": 2, "second": 1, "third": 1},
    "flattened": {"first": 2, "hidden": 2, "hidden2": 1},
    "bounded": {"positive": 1, "six": 2, "last": 1},
    "separable": {"first": 2, "second": 1, "grow": 1},
    "gated": {"first": 2, "expand": 2, "reduce": 1},
    "nested": {"conv": 1, "conv2": 2},
    "frozen": {},
    "batch_statistics": {},
}
"""Channels that can go, by hand: see each model's `plant` for why."""
MODELS = {
    "mlperf_tiny_ad_autoencoder/ad01.h5": 0,
    "mlperf_tiny_ic_resnet8/pretrainedResnet.h5": 0,
    "mlperf_tiny_sww_conv1d/str_ww_ref_model.h5": 0,
}
"""Trained models, and how many of their channels are provably dead."""
ZOO = (
    "lstm", "bidirectional", "transformer", "dictionaries", "siamese", "frozen_body",
    "body_at_the_end", "adapted", "with_lambda", "half_precision", "grouped",
)  # fmt: skip
STANDING = ("concatenated", "bounded", "batch_statistics")
"""Architectures with a normalization that has no kernel of its own before it."""
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("simplify_cases:Cases", "simplifying") as found:
            yield found


@pytest.mark.parametrize("name", PLANTED)
def test_all_that_was_planted_goes_and_nothing_else(worker, name):
    found = worker.call("architecture", name=name, planted=True)
    assert found["channels"] == PLANTED[name], found["why"]
    assert found["difference"] <= TOLERANCE
    assert found["names"] == found["names_before"]
    assert found["source_untouched"]
    assert found["stable"], "a second pass finds more"
    assert found["parameters"] == found["counted"]
    assert (found["reported"] is None) == (not PLANTED[name])


@pytest.mark.parametrize("name", PLANTED)
def test_a_model_with_nothing_to_remove_is_returned_as_it_is(worker, name):
    found = worker.call("architecture", name=name, planted=False)
    assert found["same_object"], found["why"]
    assert found["source_untouched"]
    assert found["reported"] is None


@pytest.mark.parametrize("name", PLANTED)
def test_a_rebuilt_model_is_the_same_bit_by_bit(worker, name):
    assert worker.call("architecture", name=name, planted=False)["rebuilt_identical"]


@pytest.mark.parametrize("name", PLANTED)
def test_for_inference_outputs_stay_within_rounding(worker, name):
    found = worker.call("architecture", name=name, planted=True, options={"for_inference": True})
    assert found["difference"] <= TOLERANCE
    assert found["names"] == found["names_before"]
    assert "BatchNormalization" not in found["kinds"] or name in STANDING


@pytest.mark.parametrize("name", PLANTED)
def test_no_value_ever_leaves_its_bounds(worker, name):
    outside, inside = worker.call("escapes", name=name)
    assert not outside
    assert inside > 3


@pytest.mark.parametrize("name", ZOO)
def test_every_kind_of_model_is_rebuilt_bit_by_bit_and_left_alone(worker, name):
    found = worker.call("zoo", name=name)
    assert found["rebuilt_identical"]
    assert found["same_object"], found["why"]
    before, after = found["trainable"]
    assert before == after
    before, after = found["structures"]
    assert before == after


def test_what_is_dead_and_has_to_stay_is_named_with_the_reason(worker):
    kept = worker.call("architecture", name="plain_same", planted=True)["kept"]
    assert kept == [["first", 1, "constant, but the zero padding of 'second' would show"]]
    kept = worker.call("architecture", name="flattened", planted=True)["kept"]
    assert kept == [["out", 1, "constant, but they are the model's output 'out'"]]


def test_shared_and_unknown_layers_freeze_and_are_named(worker):
    found = worker.call("architecture", name="frozen", planted=True)
    assert {"shared", "layer_norm"} <= set(found["frozen"])
    reasons = {layer: why for layer, _, why in found["kept"]}
    assert reasons["before"] == "constant, but 'shared' (Conv2D) is called more than once"
    assert "'layer_norm' (LayerNormalization) is not known" in reasons["free"]
    assert "the model's output 'side'" in reasons["side"]


def test_why_a_channel_went_is_said(worker):
    why = worker.call("architecture", name="plain_valid", planted=True)["why"]
    assert why["first"] == "2 always 0, 1 constant, moved into the next bias"
    assert why["second"] == "1 always 0, 1 read by no weight"


def test_a_proof_that_needs_bounded_inputs_says_so_and_goes_without_them(worker):
    faint = worker.call("architecture", name="faint", planted=True)
    assert faint["channels"] == {"first": 2}
    assert faint["why"]["first"] == "2 always 0 (2 of them for inputs within ±65536)"
    strict = worker.call(
        "architecture", name="faint", planted=True, options={"input_limit": float("inf")}
    )
    assert strict["same_object"]


def test_identities_go_and_the_one_that_names_an_output_stays(worker):
    found = worker.call("architecture", name="identities", planted=False)
    assert found["identities"] == [
        "same_scale", "no_padding", "linear", "pool_one", "same_shape", "join_one", "in_order",
        "hand_on", "flat_again",
    ]  # fmt: skip
    assert found["difference"] == 0.0
    assert found["kept"] == [
        ["out", None, "its activation is linear, but its name is the name of an output"]
    ]


def test_dropout_goes_only_from_a_model_that_is_not_trained_any_more(worker):
    trained = worker.call("architecture", name="identities", planted=False)
    shipped = worker.call(
        "architecture", name="identities", planted=False, options={"for_inference": True}
    )
    assert set(shipped["identities"]) - set(trained["identities"]) == {"drop"}


def test_a_layer_that_loses_every_channel_keeps_one(worker):
    found = worker.call("architecture", name="all_dead", planted=True)
    assert found["channels"] == {"first": 7, "next": 3}  # and 'next' is constant then
    assert found["difference"] <= TOLERANCE


def test_given_probes_are_compared_and_a_wrong_model_is_refused(worker):
    assert worker.call("disagreement") == "ParityError"


def test_a_subclassed_model_is_refused_with_what_to_do(worker):
    with pytest.raises(ModelError, match=r"'own' \(_Subclassed\) is not made of.*functional API"):
        worker.call("error", name="subclassed")


def test_before_export_a_count_that_is_a_multiple_of_8_stays_one(worker, tmp_path):
    found = worker.call("export", name="plain", planted=True, directory=str(tmp_path))
    removed, kept = found["report"]["removed"], found["report"]["kept"]
    assert [(one["layer"], one["channels"], one["remaining"]) for one in removed] == [
        ("first", 8, 8)
    ]
    assert [(one["layer"], one["channels"]) for one in kept] == [("first", 3)]
    assert kept[0]["why"].startswith("removable, but the channel count stays a multiple of 8")
    assert found["difference"] <= TOLERANCE


@pytest.mark.parametrize("name", ["plain", "dropout"])
def test_before_export_nothing_is_rebuilt_for_what_leaves_no_operator(worker, tmp_path, name):
    found = worker.call("export", name=name, planted=False, directory=str(tmp_path))
    assert found["same"]
    assert found["report"]["removed"] == []


def test_before_export_an_identity_that_becomes_an_operator_goes(worker, tmp_path):
    found = worker.call("export", name="cropping", planted=False, directory=str(tmp_path))
    assert [one["layer"] for one in found["report"]["removed"]] == ["crop"]
    assert found["difference"] == 0.0


def test_before_export_a_model_that_cannot_be_rebuilt_stays_and_says_why(worker, tmp_path):
    found = worker.call("export", name="forgetful", planted=False, directory=str(tmp_path))
    assert found["report"] is None
    assert "_Forgetful" in found["obstacle"]
    assert "cannot be made from its own config" in found["obstacle"]
    assert found["same"]
    assert found["difference"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121"])
def test_applications_keep_their_outputs_and_rebuild_bit_by_bit(worker, name):
    plain = worker.call("application", name=name, size=64, planted=False)
    assert plain["rebuilt_identical"]
    planted = worker.call("application", name=name, size=64, planted=True)
    assert planted["parameters"][1] < planted["parameters"][0]
    for found in (plain, planted, plain["inference"], planted["inference"]):
        assert found["difference"] <= TOLERANCE
        assert found["names"] == found["names_before"]
        assert found["parameters"] == found["counted"]


@pytest.mark.skipif("EDGEKIT_DATA" not in os.environ, reason="EDGEKIT_DATA names no data")
@pytest.mark.parametrize("name", MODELS)
def test_trained_models_keep_their_outputs(worker, name):
    found = worker.call("file", path=str(Path(os.environ["EDGEKIT_DATA"]) / name))
    assert sum(found["channels"].values()) == MODELS[name]
    assert found["rebuilt_identical"]
    assert found["same_object"] == (MODELS[name] == 0)
    assert found["inference"]["difference"] <= TOLERANCE
    assert found["inference"]["names"] == found["names_before"]
