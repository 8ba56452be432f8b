"""Channel pruning, in one worker: what is cut, what is left alone, and that the cut fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import UsageError
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0", "DenseNet121"])
def test_applications_are_the_same_at_zero_and_a_third_as_large_at_a_half(worker, name):
    assert worker.call("prune", name=name, ratio=0)["identical"]
    half = worker.call("prune", name=name, ratio=0.5)
    assert half["finite"]
    assert half["parameters"][1] < 0.35 * half["parameters"][0]
