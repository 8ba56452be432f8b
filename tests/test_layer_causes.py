"""What figures are taken for a layer's cause: planted one at a time, and none where healthy."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import layer_causes, layer_remedies
from edgekit.compare_types import Compared, Layer
from edgekit.layer_statistics import PairSums
from edgekit.layer_types import Tap, WeightFacts

DRAW = np.random.default_rng(11)


def tap(family="conv", low=-4.0, high=4.0, weights=None):
    step = (high - low) / 255
    return Tap(
        "t", ("t",), "CONV_2D", family, (1, 6, 6, 8), (), step=step, low=low, high=high,
        weights=weights,
    )  # fmt: skip


def causes(looked_at, expected, found):
    sums = PairSums(looked_at, -1)
    for one, other in zip(expected, found, strict=True):
        sums.add(one[None], other[None])
    return {cause.kind: cause.evidence for cause in layer_causes.causes(looked_at, sums)}


def on_grid(values, looked_at):
    """Values as the tap's integers hold them."""
    low, high, step = looked_at.low, looked_at.high, looked_at.step
    return low + np.rint((np.clip(values, low, high) - low) / step) * step


VALUES = DRAW.normal(0, 1, (20, 6, 6, 8)).clip(-4, 4)


def test_rounding_alone_is_no_cause() -> None:
    assert causes(tap(), VALUES, on_grid(VALUES, tap())) == {}


def test_outliers_that_the_range_cuts_off_carry_the_error() -> None:
    values = VALUES.copy()
    values[0, 0, 0, :3] = [90.0, -75.0, 60.0]  # 3 of 5,760: below a tenth of a per cent
    found = causes(tap(), values, on_grid(values, tap()))
    assert list(found) == ["range-clipped"]
    assert "cuts outliers off: 0.05% lie outside, up to 90.0" in found["range-clipped"]


def test_a_range_that_outliers_widened_leaves_few_levels() -> None:
    wide = tap(low=-200.0, high=200.0)
    found = causes(wide, VALUES, on_grid(VALUES, wide))
    levels = np.unique(np.rint(VALUES / wide.step)).size
    assert levels <= 7
    used = int(found["few-levels"].partition("use ")[2].partition(" of")[0])
    assert 2 <= used <= levels
    assert "of 256 levels" in found["few-levels"]


def test_one_scaled_channel_is_named_with_its_factor() -> None:
    values = VALUES.copy()
    values[..., 5] *= 0.25
    found = causes(tap(), VALUES, on_grid(values, tap()))
    assert "channel 5 of 8" in found["scaled-channel"]
    assert "0.25 ×" in found["scaled-channel"]


def test_per_tensor_weights_with_a_wide_spread_name_the_steps_of_the_smallest_channel() -> None:
    weights = WeightFacts(8, 8, largest=12.7, median=1.0, smallest=0.15, step=0.1)
    looked_at = tap(weights=weights)
    found = causes(looked_at, VALUES, on_grid(VALUES, looked_at))
    assert "1.5 steps" in found["channel-spread"]


def test_per_channel_weights_have_no_spread_to_suffer_from() -> None:
    weights = WeightFacts(8, 8, largest=12.7, median=1.0, smallest=0.15)
    looked_at = tap(weights=weights)
    assert causes(looked_at, VALUES, on_grid(VALUES, looked_at)) == {}


def test_a_softmax_whose_rows_are_all_certain_is_saturated() -> None:
    looked_at = tap("softmax", 0.0, 255 / 256)
    rows = np.full((30, 10), 1e-5)
    rows[:, 3] = 1 - 9e-5
    found = causes(looked_at, rows, on_grid(rows, looked_at))
    assert "100% of the reference's rows" in found["saturated"]
    spread = np.full((30, 10), 0.1)
    assert "saturated" not in causes(looked_at, spread, on_grid(spread, looked_at))


def test_four_bits_and_overflow_speak_for_themselves() -> None:
    weights = WeightFacts(4, 8, 1.0, 0.5, 0.4)
    looked_at = tap(weights=weights)
    assert "16 levels" in causes(looked_at, VALUES, VALUES)["few-weight-levels"]
    broken = VALUES.copy()
    broken[0, 0, 0, 0] = np.inf
    found = causes(Tap("t", ("t",), "Conv", "conv", (1, 6, 6, 8), ()), VALUES, broken)
    assert list(found) == ["not-finite"]


@pytest.mark.parametrize("axis", [0, -1])
def test_the_channel_axis_is_that_of_the_reference(axis) -> None:
    values = VALUES.copy()
    values[:, 2] *= 3 if axis == 0 else 1
    values[..., 2] *= 3 if axis == -1 else 1
    sums = PairSums(Tap("t", ("t",), "Conv", "conv", (1, 6, 6, 8), ()), axis)
    for one, other in zip(VALUES, values, strict=True):
        sums.add(one[None], other[None])
    found = sums.channel()
    assert found is not None
    assert (found.number, found.channels) == (2, VALUES.shape[1:][axis])
    assert found.gain == pytest.approx(3.0)


@pytest.mark.parametrize("format_name", ["tflite", "openvino", "onnx", "tensorrt"])
def test_max_drop_is_offered_for_each_format_that_edgekit_keeps_layers_of_in_float(
    format_name,
) -> None:
    artifact = Compared("m", "0" * 64, format_name, "int8", 1, "a runtime")
    layer = Layer("conv", "Conv", "conv", "name", (1, 4), 3.0, 20.0, 1.0, 0.5, bad=True)
    told = layer_remedies.suggestion(artifact, layer)
    assert "--max-drop" in told
    assert "edgekit cannot" not in told
