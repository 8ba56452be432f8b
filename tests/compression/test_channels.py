"""Channel pruning, in one worker: what is cut, what is left alone, and that the cut fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import DataError, ModelError, UsageError
from edgekit.workers import Worker

HALVED = {
    "plain_same": {"first": [4, 4], "second": [4, 4]},
    "normalized": {"first": [4, 4], "point": [4, 5], "wide": [2, 2]},
    "residual": {"stem": [3, 3], "back": [3, 3], "inner": [3, 4], "last": [2, 3]},
    "depthwise_same": {"first": [4, 4], "each": [8, 8], "point": [2, 3]},
    "concatenated": {"one": [2, 2], "two": [2, 3], "next": [2, 2]},
    "one_dimensional": {"first": [3, 3], "second": [3, 4], "third": [2, 3]},
    "flattened": {"first": [3, 3], "hidden": [5, 5], "hidden2": [4, 4]},
    "bounded": {"positive": [4, 4], "six": [4, 4], "unit": [3, 3], "last": [3, 4]},
    "separable": {"first": [3, 3], "second": [3, 3], "grow": [2, 3], "last": [2, 2]},
    "gated": {"first": [4, 4], "expand": [4, 4], "reduce": [2, 2], "next": [2, 3]},
    "nested": {"conv": [3, 3], "conv2": [3, 3]},
    "frozen": {},
}
"""[removed, remaining] per layer at ratio 0.5: half of each width, rounded down, outputs never."""


def _counted(found):
    """Parameters and MACs of the models before and after, as Keras and `inspect` have them."""
    return [list(pair) for pair in zip(found["parameters"], found["macs"], strict=True)]


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("channel_cases:Cases", "pruning") as found:
            yield found


@pytest.mark.parametrize("name", HALVED)
def test_at_ratio_zero_the_model_is_the_same_bit_by_bit(worker, name):
    found = worker.call("prune", name=name, ratio=0)
    assert found["identical"]
    assert not found["removed"]


@pytest.mark.parametrize("name", HALVED)
def test_half_of_every_width_goes_and_the_model_still_fits_together(worker, name):
    found = worker.call("prune", name=name, ratio=0.5)
    assert found["removed"] == HALVED[name]
    assert found["finite"]
    assert found["shapes"]
    assert found["names"]
    assert found["counted"] == _counted(found)


def test_what_went_are_the_channels_of_least_norm_and_nothing_else_changed(worker):
    silent = [("first", "second"), ("second", "scores")]
    assert worker.call("silenced", name="plain_same", silent=silent) <= 1e-5


def test_the_scale_of_a_batch_norm_can_decide(worker):
    assert worker.call("by_batch_norm") == [5.0, 8.0, 7.0, 6.0]


def test_what_is_kept_is_rounded_up_to_a_multiple(worker):
    found = worker.call("prune", name="flattened", ratio=0.6, options={"multiple": 4})
    assert found["removed"] == {"first": [2, 4], "hidden": [6, 4], "hidden2": [4, 4]}


def test_a_global_ratio_takes_that_share_of_all_channels(worker):
    found = worker.call("prune", name="plain_same", ratio=0.25, options={"scope": "global"})
    assert sum(removed for removed, _ in found["removed"].values()) == 4  # of 8 + 8


def test_what_keeps_its_channels_is_named_with_the_reason(worker):
    kept = worker.call("prune", name="frozen", ratio=0.5)["kept"]
    assert "is called more than once" in kept["before"]
    assert "the model's output 'side'" in kept["side"]
    assert "treat channels one by one" in kept["layer_norm"]


@pytest.mark.parametrize("ratio", [1, 1.5, -0.1])
def test_a_ratio_that_leaves_nothing_is_refused(worker, ratio):
    with pytest.raises(UsageError, match=r"allowed is 0 ≤ ratio < 1"):
        worker.call("prune", name="plain_same", ratio=ratio)


def _plain_macs(first, second):
    """Two 3x3 convolutions that keep 12x12 pixels, a mean, and three scores."""
    return 144 * 9 * (3 * first + first * second) + 3 * second


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("budget", [9000, 70_000, _plain_macs(8, 8) - 1])
def test_a_budget_of_macs_leaves_no_room_for_another_channel(worker, scope, budget):
    options = {"max_macs": budget, "scope": scope}
    found = worker.call("prune", name="plain_same", options=options)
    first, second = (found["removed"].get(name, [0, 8])[1] for name in ("first", "second"))
    assert found["macs"][1] == _plain_macs(first, second) <= budget
    assert first == 8 or _plain_macs(first + 1, second) > budget
    assert second == 8 or _plain_macs(first, second + 1) > budget
    assert found["budget"] == {
        "quantity": "macs", "asked": budget, "before": _plain_macs(8, 8),
        "reached": found["macs"][1], "met_already": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in HALVED if HALVED[name]])
@pytest.mark.parametrize("quantity", ["macs", "parameters"])
def test_every_architecture_keeps_to_a_budget_and_fits_together(worker, name, quantity):
    source = worker.call("prune", name=name, ratio=0)[quantity][0]
    options = {f"max_{quantity}": int(source * 0.7)}
    found = worker.call("prune", name=name, options=options)
    assert 0.4 * source < found[quantity][1] <= 0.7 * source
    assert found["finite"]
    assert found["shapes"]


def test_a_budget_that_is_met_already_takes_nothing_away(worker):
    found = worker.call("prune", name="residual", options={"max_parameters": 10**9})
    assert not found["removed"]
    assert found["identical"]
    assert found["budget"]["met_already"]


def test_a_budget_out_of_reach_says_how_far_it_can_go_and_who_holds_the_rest(worker):
    with pytest.raises(ModelError) as caught:
        worker.call("prune", name="plain_same", options={"max_macs": 100})
    least = _plain_macs(1, 1)
    assert "max_macs is 100 and cannot be met" in caught.value.message
    assert f"{least:,} of {_plain_macs(8, 8):,} MACs remain, most of them in 'first' (Conv2D)" in (
        caught.value.message
    )
    assert f"max_macs = {least}" in caught.value.fix


def test_a_budget_keeps_counts_at_multiples_and_gives_back_what_fits(worker):
    options = {"max_macs": _plain_macs(4, 8), "multiple": 4}
    found = worker.call("prune", name="plain_same", options=options)
    assert found["removed"] == {"first": [4, 4]}
    options = {"max_macs": _plain_macs(4, 8) - 1, "multiple": 4}
    found = worker.call("prune", name="plain_same", options=options)
    assert found["removed"] == {"first": [4, 4], "second": [4, 4]}


def test_macs_of_an_input_of_any_length_are_no_budget(worker):
    with pytest.raises(ModelError, match=r"MACs of 'conv' .* are not known"):
        worker.call("of_any_length", max_macs=1000)
    worker.call("of_any_length", max_parameters=100)


@pytest.mark.parametrize("amount", [{}, {"max_parameters": 500, "max_macs": 10}])
def test_exactly_one_amount_is_taken(worker, amount):
    with pytest.raises(UsageError, match="channels takes one of ratio, max_macs and max_param"):
        worker.call("prune", name="plain_same", options=amount)


def test_no_layer_collapses_in_a_global_order_unless_nearly_everything_goes(worker):
    size, remaining = worker.call("guarded", ratio=0.5)
    assert remaining == size - int(0.9 * size)
    assert worker.call("guarded", ratio=0.95)[1] == max(1, size - int(0.95 * size))


@pytest.mark.parametrize(
    "name", ["plain_same", "residual", "gated", "concatenated", "flattened", "normalized"]
)
def test_importance_by_data_is_the_slope_of_the_loss_along_a_gate(worker, name):
    found = worker.call("taylor", name=name, ratio=0.25)
    assert found["error"] < 0.02
    assert found["samples"] == 8
    assert found["removed"]
    assert found["finite"]


@pytest.mark.parametrize("batch", [None, 2])
def test_the_compressor_prunes_by_training_data_to_a_budget(worker, tmp_path, batch):
    found = worker.call("by_data", directory=str(tmp_path), batch=batch)
    assert found["seen"] == {"samples": 40}
    assert found["made"]["macs_after"] == found["now"]["macs"] <= found["limit"]
    assert found["made"]["parameters_after"] == found["now"]["parameters"]
    assert found["made"]["removed"] == [
        {"layer": "conv", "kind": "Conv2D", "channels": 4, "remaining": 4,
         "why": "least important by taylor", "done": ""}
    ]  # fmt: skip
    assert found["measured"]["layers"] == 1
    assert found["measured"]["samples"] >= 32


def test_importance_by_data_that_is_not_finite_is_refused(worker):
    with pytest.raises(DataError, match=r"gradient of the loss, .* is not finite on the training"):
        worker.call("taylor_of_nan")


def test_statistics_measured_again_are_those_of_the_data(worker):
    found = worker.call("recalibrated", batches=[40])
    assert found["mean"] < 1e-4
    assert found["variance"] < 1e-4
    assert found["second"] < 1e-3
    assert found["frozen"]
    assert found["kernels"]
    assert (found["layers"], found["samples"]) == (2, 40)


def test_statistics_of_several_batches_are_those_of_all_samples(worker):
    found = worker.call("recalibrated", batches=[30, 10, 25])
    assert found["mean"] < 1e-4
    assert found["variance"] < 1e-4
    assert found["samples"] == 65


def test_statistics_that_are_not_finite_leave_the_model_as_it_was(worker):
    found = worker.call("recalibrated", batches=[8], value=float("inf"))
    assert "statistics of batch normalization are not finite on this data" in found["message"]
    assert found["same"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121"])
def test_applications_are_the_same_at_zero_and_a_third_as_large_at_a_half(worker, name):
    assert worker.call("prune", name=name, ratio=0)["identical"]
    half = worker.call("prune", name=name, ratio=0.5)
    assert half["finite"]
    assert half["parameters"][1] < 0.35 * half["parameters"][0]
    assert half["counted"] == _counted(half)
