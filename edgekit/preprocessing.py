"""`--preprocess`: how raw values become what the model was trained on.

Only float inputs change. Where a model has image-like inputs ([n, height, width] or with
channels), only those do; where it has none, all float inputs do (flattened images).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data_checks import is_integer, shape_text
from edgekit.errors import DataError, UsageError
from edgekit.types import Preprocess, TensorSpec

_FIXED = {
    "none": Preprocess("none"),
    "unit": Preprocess("unit", divide_by=255.0),
    "signed": Preprocess("signed", divide_by=127.5, mean=(1.0,)),
    # The constants of keras.applications.imagenet_utils.preprocess_input, modes torch and caffe.
    "imagenet-torch": Preprocess(
        "imagenet-torch", divide_by=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    ),
    "imagenet-caffe": Preprocess("imagenet-caffe", mean=(103.939, 116.779, 123.68), bgr=True),
}
NAMES = tuple(_FIXED)
ALLOWED = ", ".join(NAMES) + ", or mean=…,std=… in raw units (mean=123.7:116.8:103.9,std=58.4)"

IMAGE_CHANNELS = (1, 3, 4)


def parse(text: str) -> Preprocess:
    """Reads the value of `--preprocess`.

    `mean=…,std=…` gives (x − mean)/std in raw units, one value or one per channel, with colons
    between: `mean=123.7:116.8:103.9,std=58.4:57.1:57.4`. What is left out is 0 or 1.

    Raises:
        UsageError: It is none of the allowed values.
    """
    name = text.strip()
    if name in _FIXED:
        return _FIXED[name]
    found: dict[str, tuple[float, ...]] = {}
    for part in name.split(","):
        key, equals, values = part.partition("=")
        if not equals or key.strip() not in {"mean", "std"} or key.strip() in found:
            raise _unknown(text)
        found[key.strip()] = _numbers(values, text)
    mean, std = found.get("mean", ()), found.get("std", ())
    if any(value <= 0 for value in std):
        raise UsageError(f"--preprocess {text}: std must be above 0", f"allowed: {ALLOWED}")
    if len(mean) > 1 and len(std) > 1 and len(mean) != len(std):
        raise UsageError(
            f"--preprocess {text}: mean has {len(mean)} values and std {len(std)}",
            "give both one value, or one per channel",
        )
    return Preprocess(name, mean=mean, std=std)


def channel_axis(shape: Sequence[int | None]) -> int | None:
    """The axis that holds the channels of an image batch, or None for [n, height, width].

    The last axis where it has 1, 3 or 4 entries, else the second; the last of any other shape.
    """
    if len(shape) < 4:
        return None
    first = shape[1] in IMAGE_CHANNELS and shape[-1] not in IMAGE_CHANNELS
    return 1 if first else len(shape) - 1


def preprocessed_inputs(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs that `--preprocess` changes."""
    real = tuple(spec for spec in inputs if not is_integer(spec))
    images = tuple(spec for spec in real if len(spec.shape) >= 3)
    return images or real


def check(preprocess: Preprocess, inputs: Sequence[TensorSpec]) -> None:
    """Raises DataError where the values per channel do not fit the model's inputs."""
    wanted = max(len(preprocess.mean), len(preprocess.std))
    if wanted <= 1 and not preprocess.bgr:
        return
    for spec in preprocessed_inputs(inputs):
        axis = channel_axis(spec.shape) if preprocess.bgr else _values_axis(spec.shape)
        if axis is None or spec.shape[axis] not in {wanted, None}:
            got = "no channels" if axis is None else f"{spec.shape[axis]} channels"
            raise DataError(
                f"--preprocess {preprocess.text} is for {wanted} channels; "
                f"the input {spec.name} {shape_text(spec.shape)} has {got}",
                "give one value, or one per channel, as in mean=0.5,std=0.2",
            )


def apply(
    preprocess: Preprocess,
    x: Mapping[str, NDArray[np.generic]],
    inputs: Sequence[TensorSpec],
) -> dict[str, NDArray[np.generic]]:
    """Preprocesses the float inputs of a batch; the others come back as they are.

    Args:
        preprocess: From `parse`.
        x: Raw arrays of shape [n, …] by input name.
        inputs: The model's inputs.
    """
    changed = {spec.name: spec for spec in preprocessed_inputs(inputs)}
    return {
        name: _transform(preprocess, array, changed[name].shape) if name in changed else array
        for name, array in x.items()
    }


def _transform(
    preprocess: Preprocess, array: NDArray[np.generic], shape: Sequence[int | None]
) -> NDArray[np.float32]:
    axis = _values_axis(shape)
    result = np.asarray(array, dtype=np.float32)
    if preprocess.bgr and axis is not None:
        result = np.flip(result, axis)
    if preprocess.divide_by != 1.0:
        result = result / np.float32(preprocess.divide_by)
    if preprocess.mean:
        result = result - _per_channel(preprocess.mean, axis, result.ndim)
    if preprocess.std:
        result = result / _per_channel(preprocess.std, axis, result.ndim)
    return np.ascontiguousarray(result)


def _per_channel(
    values: tuple[float, ...], axis: int | None, dimensions: int
) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if len(values) == 1 or axis is None:
        return array
    return array.reshape([-1 if index == axis else 1 for index in range(dimensions)])


def _values_axis(shape: Sequence[int | None]) -> int | None:
    # What has no channels (vectors, sequences) has one value per feature, on its last axis.
    axis = channel_axis(shape)
    return len(shape) - 1 if axis is None and len(shape) > 1 else axis


def _numbers(values: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values.split(":"))
    except ValueError:
        raise _unknown(text) from None
    if not all(math.isfinite(number) for number in numbers):
        raise _unknown(text)
    return numbers


def _unknown(text: str) -> UsageError:
    return UsageError(f"--preprocess {text!r} is not known", f"allowed: {ALLOWED}")
