"""`--preprocess`: how raw values become what the model was trained on.

Only float inputs change. Where a model has image-like inputs ([n, height, width] or with
channels), only those do; where it has none, all float inputs do (flattened images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data_checks import is_integer, shape_text
from edgekit.errors import DataError
from edgekit.types import Preprocess, TensorSpec

IMAGE_CHANNELS = (1, 3, 4)


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
