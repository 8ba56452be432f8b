"""`--preprocess` against numpy formulas and Keras' own preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import preprocess_names, preprocessing
from edgekit.errors import DataError, UsageError
from edgekit.types import TensorSpec

IMAGE = (TensorSpec("image", (None, 4, 5, 3), "float32"),)
RAW = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.float32)


def run(text: str, raw: NDArray[np.float32] = RAW) -> NDArray[np.generic]:
    return preprocessing.apply(preprocess_names.parse(text), {"image": raw}, IMAGE)["image"]


def test_none_leaves_every_bit_alone() -> None:
    np.testing.assert_array_equal(run("none"), RAW)


def test_unit_and_signed_are_bit_equal_to_their_formulas() -> None:
    np.testing.assert_array_equal(run("unit"), RAW / np.float32(255))
    np.testing.assert_array_equal(run("signed"), RAW / np.float32(127.5) - np.float32(1))


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_imagenet_modes_are_those_of_keras_applications(mode: str) -> None:
    # Constants and order as in keras.applications.imagenet_utils._preprocess_numpy_input.
    if mode == "torch":
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        expected = (RAW / 255.0 - mean) / std
    else:
        expected = RAW[..., ::-1] - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(run(f"imagenet-{mode}"), expected, rtol=1e-6, atol=1e-5)


def test_mean_and_std_are_per_channel_in_raw_units() -> None:
    expected = (RAW - np.array([1, 2, 3])) / np.array([4, 5, 6])
    np.testing.assert_allclose(run("mean=1:2:3,std=4:5:6"), expected, rtol=1e-6)
    np.testing.assert_allclose(run("std=2,mean=10"), (RAW - 10) / 2, rtol=1e-6)
    np.testing.assert_allclose(run("mean=-1"), RAW + 1, rtol=1e-6)


def test_channels_first_images_are_normalised_along_their_own_axis() -> None:
    inputs = (TensorSpec("image", (None, 3, 4, 5), "float32"),)
    raw = np.ascontiguousarray(np.moveaxis(RAW, -1, 1))
    for text in ("mean=1:2:3,std=4:5:6", "imagenet-caffe"):
        found = preprocessing.apply(preprocess_names.parse(text), {"image": raw}, inputs)["image"]
        np.testing.assert_array_equal(np.moveaxis(found, 1, -1), run(text))


def test_only_image_inputs_change_where_there_are_some() -> None:
    inputs = (
        *IMAGE,
        TensorSpec("age", (None, 1), "float32"),
        TensorSpec("tokens", (None, 7), "int32"),
    )
    x = {
        "image": RAW,
        "age": np.array([[30.0], [60.0]], np.float32),
        "tokens": np.ones((2, 7), np.int32),
    }
    found = preprocessing.apply(preprocess_names.parse("unit"), x, inputs)
    np.testing.assert_array_equal(found["image"], RAW / np.float32(255))
    assert found["age"] is x["age"]
    assert found["tokens"] is x["tokens"]


def test_flattened_images_change_where_the_model_has_nothing_else() -> None:
    inputs = (TensorSpec("flat", (None, 6), "float32"),)
    raw = np.arange(12, dtype=np.float32).reshape(2, 6)
    found = preprocessing.apply(preprocess_names.parse("unit"), {"flat": raw}, inputs)["flat"]
    np.testing.assert_array_equal(found, raw / np.float32(255))


def test_a_quantized_input_counts_as_real_numbers() -> None:
    quantized = TensorSpec("image", (None, 4, 5, 3), "int8", scale=1.0, zero_point=-128)
    assert preprocessing.preprocessed_inputs((quantized,)) == (quantized,)


@pytest.mark.parametrize(
    "text",
    ["", "Unit", "255", "/255", "mean=", "mean=a", "mean=1,mean=2", "mean=1;std=2", "std=nan",
     "mean=inf", "scale=2", "mean=1:2,std=1:2:3", "std=0", "std=-1"],
)  # fmt: skip
def test_a_bad_value_is_a_usage_error_in_one_line_that_says_what_is_allowed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        preprocess_names.parse(text)
    line = str(caught.value)
    assert "\n" not in line
    assert "imagenet-caffe" in line or "one per channel" in line


def test_values_per_channel_that_do_not_fit_name_the_input_and_its_channels() -> None:
    grey = (TensorSpec("grey", (None, 28, 28, 1), "float32"),)
    with pytest.raises(DataError, match=r"3 channels; the input grey \[\?, 28, 28, 1\] has 1"):
        preprocessing.check(preprocess_names.parse("imagenet-torch"), grey)
    rows = (TensorSpec("rows", (None, 28, 28), "float32"),)
    with pytest.raises(DataError, match="no channels"):
        preprocessing.check(preprocess_names.parse("imagenet-caffe"), rows)
    preprocessing.check(preprocess_names.parse("mean=0.5,std=0.2"), grey)
    preprocessing.check(preprocess_names.parse("imagenet-torch"), IMAGE)
