"""Random noise in place of samples, and calibration samples unlike those that judge."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import preprocessing
from edgekit.data_checks import is_integer
from edgekit.types import Batch, Role, TensorSpec

Array = NDArray[Any]

_LEAST_SIDE = 8
_LEAST_PAIRS = 10_000
_UNCORRELATED = 0.05
_KS_DISTANCE = 0.03
_KS_VALUES = 50_000

_LEAST_SAMPLES = 8
_FAR_APART = 1.0
_SURE = 6.0
_OUTSIDE_SHARE = 0.05
_LEAST_VALUES = 1000
_LEAST_FOR_RANGE = 15


def noise(calib: Batch, inputs: Sequence[TensorSpec]) -> str:
    """A warning where image-like samples are random numbers, or an empty string.

    Neighbouring pixels of images correlate by 0.5 and more, those of spectrograms along time at
    least. Noise shows no correlation along either axis, and a uniform or normal histogram.
    """
    for spec in preprocessing.preprocessed_inputs(inputs):
        array = calib.x[spec.name]
        axes = _image_axes(spec, array)
        if axes is None:
            continue
        correlations = [_neighbours(array, axis) for axis in axes]
        if max(abs(value) for value in correlations) >= _UNCORRELATED:
            continue
        shape = _histogram(array)
        # Sequences of embeddings are normal and uncorrelated too; images are neither.
        if shape == "uniform" or (shape == "normal" and array.ndim == 4):
            return (
                f"the samples of {spec.name} look like random noise: neighbouring values correlate "
                f"by {correlations[0]:+.3f} and {correlations[1]:+.3f} (images: above 0.5) and "
                f"are {shape}ly distributed; give real samples with --data"
            )
    return ""


def shift(calib: Batch, judged: Batch, inputs: Sequence[TensorSpec], role: Role = "test") -> str:
    """A warning where calibration and judging samples are far apart, or an empty string.

    Compared are the samples' means and standard deviations (Cohen's d above 1, and six standard
    errors), and how many values of most judging samples are outside the calibration range.
    """
    for spec in inputs:
        first, second = calib.x[spec.name], judged.x[spec.name]
        if is_integer(spec) or min(len(first), len(second)) < _LEAST_SAMPLES:
            continue
        names = (spec.name, role)
        found = _far_apart(*names, first, second) or _outside(*names, first, second)
        if found:
            return found
    return ""


def _image_axes(spec: TensorSpec, array: Array) -> tuple[int, int] | None:
    channels = preprocessing.channel_axis(spec.shape)
    if array.ndim not in {3, 4}:
        return None
    if channels is not None and array.shape[channels] not in preprocessing.IMAGE_CHANNELS:
        return None
    rows, columns = [axis for axis in range(1, array.ndim) if axis != channels]
    if min(array.shape[rows], array.shape[columns]) < _LEAST_SIDE or array.size < _LEAST_PAIRS:
        return None
    return rows, columns


def _neighbours(array: Array, axis: int) -> float:
    values = np.moveaxis(array, axis, 0).astype(np.float64)
    before, after = values[:-1].ravel(), values[1:].ravel()
    spread = before.std() * after.std()
    if spread == 0:
        return 1.0  # constant images are no noise
    return float(((before - before.mean()) * (after - after.mean())).mean() / spread)


def _histogram(array: Array) -> str:
    """Uniform, normal or other, by the Kolmogorov-Smirnov distance."""
    values = array.ravel().astype(np.float64)
    values = np.sort(values[:: -(-len(values) // _KS_VALUES)])
    ranks = (np.arange(len(values)) + 0.5) / len(values)
    span, spread = values[-1] - values[0], values.std()
    if np.abs((values - values[0]) / span - ranks).max() < _KS_DISTANCE:
        return "uniform"
    inverse = NormalDist(float(values.mean()), float(spread)).cdf
    grid = np.linspace(0, len(values) - 1, 500).astype(np.intp)
    expected = np.array([inverse(float(value)) for value in values[grid]])
    return "normal" if np.abs(expected - ranks[grid]).max() < _KS_DISTANCE else "other"


def _far_apart(name: str, role: Role, calib: Array, judged: Array) -> str:
    pairs = [array.reshape(len(array), -1).astype(np.float64) for array in (calib, judged)]
    floor = 1e-3 * max(float(values.std()) for values in pairs)
    for figure, summarize in (("mean", np.mean), ("standard deviation", np.std)):
        first, second = (summarize(values, axis=1) for values in pairs)
        pooled = max(floor, float(np.sqrt((first.var() + second.var()) / 2)))
        distance = abs(float(first.mean() - second.mean())) / pooled if pooled else 0.0
        if distance > _FAR_APART and distance > _SURE * np.sqrt(1 / len(first) + 1 / len(second)):
            return (
                f"calibration and {role} samples are far apart: the {figure} of a sample of {name} "
                f"is {first.mean():.3g} ± {first.std():.2g} in calibration and "
                f"{second.mean():.3g} ± {second.std():.2g} in {role}; check that both are made and "
                "scaled alike"
            )
    return ""


def _outside(name: str, role: Role, calib: Array, judged: Array) -> str:
    if len(calib) < _LEAST_FOR_RANGE or calib.size < _LEAST_VALUES:
        return ""
    low, high = calib.min(), calib.max()
    shares = ((judged < low) | (judged > high)).reshape(len(judged), -1).mean(axis=1)
    # One bright image among eight has many values outside: half of the samples have to agree.
    if np.median(shares) <= _OUTSIDE_SHARE:
        return ""
    return (
        f"calibration and {role} samples are far apart: {shares.mean():.1%} of {role} values of "
        f"{name} are outside the calibration range {low:.3g} to {high:.3g}; calibrate on samples "
        f"like those of {role}"
    )
