"""Pruning whose readers make up for what goes: nothing is lost where channels are redundant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import DataError
from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("reconstruction_cases:Cases", "reconstructing") as found:
            yield found


@pytest.mark.parametrize(
    ("kind", "options", "shape"),
    [
        ("Dense", {"units": 4}, [6]),
        ("Dense", {"units": 4, "use_bias": False}, [5, 6]),
        ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal"}, [9, 2]),
        ("Conv1D", {"filters": 4, "kernel_size": 4, "strides": 3, "padding": "same"}, [11, 2]),
        ("Conv1D", {"filters": 4, "kernel_size": 3, "dilation_rate": 2}, [9, 2]),
        ("Conv2D", {"filters": 4, "kernel_size": [3, 2], "padding": "same"}, [7, 6, 3]),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}, [7, 8, 3]),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "strides": 2}, [8, 7, 3]),
        ("Conv2D", {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "padding": "same"},
         [6, 7, 3]),
        ("Conv3D", {"filters": 2, "kernel_size": 2, "padding": "same"}, [4, 3, 5, 2]),
        ("SeparableConv2D", {"filters": 4, "kernel_size": 3, "depth_multiplier": 2,
                             "padding": "same"}, [6, 6, 3]),
        ("SeparableConv1D", {"filters": 4, "kernel_size": 3, "strides": 2}, [9, 3]),
    ],
)  # fmt: skip
def test_rows_times_weights_are_what_keras_computes(worker, kind, options, shape):
    found = worker.call("rows", kind=kind, options=options, shape=shape)
    assert found["places"]
    assert found["error"] < 1e-4


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("dense", {"first": [8, 8]}),
        ("convolutions", {"first": [4, 4], "second": [4, 4]}),
        ("residual", {"stem": [4, 4], "inner": [4, 4], "back": [4, 4]}),
        ("sequence", {"first": [4, 4], "next": [3, 3]}),
        ("depthwise", {"first": [4, 4], "each": [4, 4], "apart": [3, 3]}),
    ],
)
def test_redundant_channels_go_at_a_small_part_of_what_l1_loses(worker, name, removed):
    ours = worker.call("redundant", name=name, criterion="reconstruction")
    theirs = worker.call("redundant", name=name, criterion="l1")
    assert ours["removed"] == theirs["removed"] == removed
    assert ours["error"] < 0.25 * theirs["error"]


def test_where_all_that_goes_is_redundant_next_to_nothing_is_lost(worker):
    found = worker.call("redundant", name="dense", criterion="reconstruction")
    assert found["error"] < 1e-3
    assert found["told"]["out"] == pytest.approx(found["error"], abs=1e-3)


@pytest.mark.parametrize("name", ["concatenated", "concatenated_normalized"])
def test_what_is_told_of_a_reader_of_two_branches_is_what_its_outputs_show(worker, name):
    found = worker.call("told_and_true", name=name)
    assert 0 < found["true"] < 0.2
    assert found["told"] == pytest.approx(found["true"], rel=0.2)


def test_a_global_order_spares_the_layer_that_has_nothing_to_spare(worker):
    found = worker.call(
        "redundant", name="convolutions", criterion="reconstruction", scope="global"
    )
    assert found["removed"]["first"][0] >= 4, "half of it is redundant"
    assert found["removed"].get("second", [0])[0] <= 4


def test_a_layer_whose_weights_stay_as_they_are_is_told(worker):
    found = worker.call("redundant", name="transposed", criterion="reconstruction")
    assert found["removed"] == {"first": [4, 4]}
    assert found["told"] == {"up": None}


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize(
    "step", [{"ratio": 0.5, "scope": "layer"}, {"max_parameters": 1000, "scope": "global"}]
)
def test_the_compressor_prunes_without_labels_and_the_same_each_time(worker, tmp_path, batch, step):
    found = worker.call("by_data", directory=str(tmp_path), batch=batch, step=step)
    assert found["same"]
    assert found["made"]["removed"]
    assert all(0 <= share < 1 for share in found["made"]["reconstruction_error"].values())


def test_activations_that_are_not_finite_are_refused(worker):
    with pytest.raises(DataError, match="activations that the criterion reconstruction looks at"):
        worker.call("not_finite")
