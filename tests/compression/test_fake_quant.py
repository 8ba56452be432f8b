"""Simulated int8: the rounding, which tensors are rounded, and how ranges move."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("quantizing_cases:Cases", "quantizing") as found:
            yield found


def asymmetric(x, low, high):
    """The TFLite specification's int8, in float64: real = scale · (q − zero_point)."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero_point = round(-128 - low / scale)
    return scale * (np.clip(np.rint(x / scale) + zero_point, -128, 127) - zero_point)


@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.1), (0.0, 5.7), (-0.4, 0.0), (0.5, 3.0)])
def test_activations_round_as_the_tflite_specification_says(worker, low, high):
    x = np.random.default_rng(0).uniform(-4, 6, 500)
    rounded, _ = worker.call("activations", values=x.tolist(), low=low, high=high, symmetric=False)
    scale = (max(high, 0) - min(low, 0)) / 255
    assert np.abs(rounded - asymmetric(x, low, high)).max() < 1e-3 * scale


def test_symmetric_activations_have_255_points_around_zero(worker):
    x = np.random.default_rng(0).uniform(-4, 6, 500)
    rounded, _ = worker.call("activations", values=x.tolist(), low=-1.0, high=2.54, symmetric=True)
    expected = np.clip(np.rint(x / 0.02), -127, 127) * 0.02
    assert np.abs(np.array(rounded) - expected).max() < 1e-5


def test_the_gradient_passes_inside_the_range_and_stops_outside(worker):
    values = [-2.0, -0.9, 0.0, 0.031, 1.9, 2.5]
    _, gradient = worker.call("activations", values=values, low=-1.0, high=2.0, symmetric=False)
    assert gradient == [0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("shape", "channels"), [((3, 3, 4, 5), [3]), ((3, 3, 4, 2), [2, 3]), ((6, 4), [])]
)
def test_weights_round_to_127_steps_of_each_channels_largest(worker, shape, channels):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    kernel.reshape(-1)[::7] = 0.0
    others = tuple(axis for axis in range(len(shape)) if axis not in channels)
    scale = np.abs(kernel.astype(np.float64)).max(axis=others, keepdims=True) / 127
    expected = np.rint(kernel / scale) * scale
    found = worker.call("weights", values=kernel.tolist(), channels=channels)
    for one in ("traced", "once", "again"):
        assert np.abs(np.array(found[one]) - expected).max() < 1e-6
        assert (np.array(found[one])[kernel == 0] == 0).all()
    assert (np.array(found["gradient"]) == 1).all()


def test_what_is_rounded_is_what_litert_rounds(worker):
    found = worker.call("rules", model="residual")
    free = [name for name, limits in found["sites"].items() if limits is None]
    assert set(free) == {
        "image", "relu", "relu6", "pointwise", "joined", "bent/sum", "cat", "wide", "classes/sum",
    }  # fmt: skip
    assert found["sites"]["classes"] == [0.0, 255 / 256]
    assert found["sites"]["bent"] == [-1.0, 127 / 128]
    assert found["kernels"]["depthwise"] == [[2, 3]]
    assert found["kernels"]["wide"] == [[1]]
    assert not found["float"]


def test_outside_litert_outputs_stay_in_float(worker):
    found = worker.call("rules", model="residual", scheme="openvino")
    assert "classes" not in found["sites"]
    assert "wide" in found["sites"]
    assert "pool" in found["sites"]


def test_dense_layers_have_one_scale_where_the_target_wants_it(worker):
    found = worker.call("rules", model="residual", per_tensor=["FULLY_CONNECTED"])
    assert found["kernels"]["wide"] == [[]]
    assert found["kernels"]["conv"] == [[3]]
    everything = worker.call("rules", model="residual", per_tensor=["*"])
    assert everything["kernels"]["conv"] == [[]]


def test_a_transposed_convolution_has_its_channels_before_its_inputs(worker):
    assert worker.call("rules", model="upward")["kernels"]["up"] == [[2]]


def test_recurrent_and_attention_layers_are_named_with_the_reason(worker):
    found = worker.call("rules", model="mixed")
    assert set(found["float"]) == {"attention", "lstm"}
    assert "state" in found["float"]["lstm"]
    assert "products" in found["float"]["attention"]
    assert {"conv1d", "attention", "lstm", "out"} <= set(found["sites"])


@pytest.mark.parametrize("model", ["residual", "mixed", "upward"])
def test_a_twin_that_does_not_round_is_the_model(worker, model):
    assert worker.call("float_again", model=model) < 1e-5


def test_zeros_stay_zero_simulated_and_on_the_grid(worker):
    assert worker.call("zeros", model="dense") == [True, True]


def test_ranges_follow_the_batches_and_then_stand_still(worker):
    found = worker.call("ranges", model="dense", momentum_steps=50)
    low, high = found["x"]
    assert found["before"]["given"] == pytest.approx([low, high])
    moved = high * (0.99**50 + 2 * (1 - 0.99**50))  # the moving average of 2 x, from x
    assert found["during"]["given"][1] == pytest.approx(moved, rel=1e-4)
    assert found["after"] == found["during"]
