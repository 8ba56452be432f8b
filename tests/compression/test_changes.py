"""Layers that are changed in a live model: what is a kernel, what changes, what comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import ModelError
from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("change_cases:Cases", "changing") as found:
            yield found


def test_recurrent_attention_and_table_weights_are_kernels_and_biases_are_none(worker):
    assert worker.call("kernels", name="lstm") == {
        "encode": [[[6, 20], [-1]], [[5, 20], [-1]]],
        "decode": [[[5, 20], [-1]], [[5, 20], [-1]]],
        "out": [[[5, 2], [-1]]],
    }
    attention = worker.call("kernels", name="transformer")
    assert attention["embed"] == [[[20, 12], [-1]]]
    assert sorted(attention["attend"]) == sorted([[[12, 2, 6], [1, 2]]] * 3 + [[[2, 6, 12], [2]]])
    # a GRU's bias has two axes, one for each of its two kernels
    both_ways, spread, _ = worker.call("kernels", name="bidirectional").values()
    assert both_ways == [[[6, 12], [-1]], [[4, 12], [-1]]] * 2
    assert spread == [[[8, 3], [-1]]]


def test_output_channels_are_where_each_kind_of_layer_has_them(worker):
    assert worker.call("odd_kernels") == {
        "each": [["kernel", [-2, -1]]],
        "separable": [["depthwise_kernel", [-2, -1]], ["pointwise_kernel", [-1]]],
        "grow": [["kernel", [-2]]],
    }


def test_frozen_layers_are_left_out_where_they_cannot_make_up_for_what_goes(worker):
    every, trained = worker.call("trained_kernels", frozen=["encode"])
    assert every == ["encode", "decode", "out"]
    assert trained == ["decode", "out"]


def test_a_model_that_is_frozen_as_a_whole_is_refused(worker):
    with pytest.raises(ModelError, match="no layer of the model that is trained has a kernel"):
        worker.call("trained_kernels", frozen=["encode", "decode", "out"])


def test_only_the_kernels_of_that_layer_change_and_all_come_back(worker):
    found = worker.call("changed_weights", name="lstm", layer="encode", change={"share": 0.5})
    assert found["restored"]
    assert set(found["differ"]) == {
        "encode/lstm_cell/kernel", "encode/lstm_cell/recurrent_kernel",
    }  # fmt: skip
    assert all(zeros == [0.0, 0.5] for zeros in found["differ"].values())


@pytest.mark.parametrize(
    "name", ["plain_same", "residual", "depthwise_same", "concatenated", "flattened", "separable"]
)
def test_silenced_channels_are_as_good_as_removed(worker, name):
    found = worker.call("silenced", name=name)
    assert found["bundles"] > 1
    assert found["moved"]
    assert found["worst"] <= 1e-5
    assert found["restored"]
