"""What each built-in metric keeps of a batch, and how the figure comes out of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data_checks import shape_text
from edgekit.errors import DataError
from edgekit.intervals import bootstrap

Array = NDArray[Any]
Rows = NDArray[np.float64]

IGNORED_LABEL = 255
"""The label of pixels that `iou` leaves out (the void of PASCAL VOC)."""

_ONE_HOT_TOLERANCE = 1e-3
_PROBABILITY_SLACK = 0.01
_HINT = "name another --metric, or judge it with file.py:function"


def are_classes(labels: Array, classes: int | None) -> bool:
    """Whether labels are class numbers or one-hot rows for that many classes."""
    try:
        class_numbers(labels, classes, "")
    except DataError:
        return False
    return True


def are_numbers(labels: Array) -> bool:
    """Whether labels are one whole number for each sample."""
    return labels.ndim == 1 and not (labels.astype(np.float64) % 1).any()


def class_numbers(labels: Array, classes: int | None, metric: str) -> NDArray[np.int64]:
    """Labels as class numbers [n], from whole numbers [n] or [n, 1], or one-hot rows [n, classes].

    Raises:
        DataError: They are neither, or a number is not below `classes`.
    """
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim == 2 and flat.shape[1] == classes:
        rows = flat.astype(np.float64)
        if np.abs(rows.sum(axis=1) - 1).max() < _ONE_HOT_TOLERANCE and rows.min() >= 0:
            return np.asarray(rows.argmax(axis=1), dtype=np.int64)
    if flat.ndim != 1 or (flat.astype(np.float64) % 1).any():
        raise DataError(
            f"{metric} takes labels of shape [n] with class numbers, or one-hot [n, {classes}]; "
            f"got {shape_text(('n', *labels.shape[1:]))} {labels.dtype}",
            _HINT,
        )
    numbers = flat.astype(np.int64)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or (classes is not None and high >= classes):
        shifted = low == 1 and high == classes
        raise DataError(
            f"labels run from {low} to {high}; the model has {classes} classes, 0 to "
            f"{classes - 1 if classes else '?'}",
            "subtract 1 from the labels" if shifted else "check that the data fits the model",
        )
    return numbers


def top(labels: Array | None, output: Array, k: int) -> Rows:
    """1 where the label is among the k highest scores, else 0. Ties go to the lower class."""
    name = f"top{k}"
    scores = _class_scores(output, name)
    classes = scores.shape[1]
    if classes <= k:
        raise DataError(f"{name} of {classes} classes says nothing", _HINT)
    truth = class_numbers(_needed(labels, name), classes, name)[:, None]
    own = np.take_along_axis(scores, truth, axis=1)
    ahead = (scores > own) | ((scores == own) & (np.arange(classes) < truth))
    found: Rows = (ahead.sum(axis=1) < k).astype(np.float64)
    return found


def flags(rows: Rows) -> NDArray[np.bool_]:
    """Which samples are right."""
    return rows > 0


def scores(labels: Array | None, output: Array, metric: str) -> Rows:
    """[score, label] per sample: the one output, or of two the second minus the first.

    For probabilities and logits alike, that difference orders samples as the second class's
    probability does.
    """
    found = output.reshape(len(output), -1).astype(np.float64)
    if found.shape[1] not in {1, 2}:
        raise DataError(
            f"{metric} takes one or two scores per sample; the output is "
            f"{shape_text(('n', *output.shape[1:]))}",
            _HINT,
        )
    truth = class_numbers(_needed(labels, metric), 2, metric)
    score = found[:, 0] if found.shape[1] == 1 else found[:, 1] - found[:, 0]
    two = np.full(len(score), found.shape[1] == 2)
    return np.stack([score, truth, two], axis=1)


def binary_correct(rows: Rows) -> NDArray[np.bool_]:
    """Which samples are right: a difference of two scores is above 0 for class 1.

    A single output is a probability (threshold 0.5) if it stays within 0…1 over the whole role,
    else a logit (threshold 0).
    """
    score, truth, two = rows.T
    inside = score.min() >= -_PROBABILITY_SLACK and score.max() <= 1 + _PROBABILITY_SLACK
    threshold = 0.5 if inside and not two.any() else 0.0
    right: NDArray[np.bool_] = (score > threshold) == (truth > 0)
    return right


def auc_with_interval(rows: Rows) -> tuple[float, tuple[float, float] | None]:
    """Area under the ROC curve and its bootstrap interval.

    Raises:
        DataError: Only one of the two classes occurs.
    """
    score, truth = rows[:, 0], rows[:, 1] > 0
    if truth.all() or not truth.any():
        raise DataError(
            f"auc needs both labels 0 and 1; all {len(rows)} labels are {int(truth[0])}",
            "give samples of both classes",
        )
    _, group = np.unique(score, return_inverse=True)
    everything = np.ones(len(rows))
    value = _auc(everything, truth, group)
    interval = bootstrap(
        lambda drawn: _auc(np.bincount(drawn, minlength=len(rows)), truth, group), len(rows)
    )
    return value, interval


def squared_error(x: Array | None, labels: Array | None, output: Array) -> Rows:
    """The mean squared error of each sample, against the labels, or the input where none are."""
    wanted = x if labels is None else labels
    if wanted is None:
        raise DataError("mse needs labels, or the input that an autoencoder reconstructs", _HINT)
    if wanted.size != output.size or len(wanted) != len(output):
        what = "the input" if labels is None else "the labels"
        raise DataError(
            f"mse takes {what} in the output's shape {shape_text(output.shape)}; "
            f"got {shape_text(wanted.shape)}",
            _HINT if labels is None else "leave labels out to compare with the input; or " + _HINT,
        )
    error = output.astype(np.float64) - wanted.reshape(output.shape).astype(np.float64)
    rows: Rows = np.square(error).reshape(len(output), -1).mean(axis=1)
    return rows


def overlaps(labels: Array | None, output: Array) -> Rows:
    """Intersections and unions in pixels of each sample, [n, 2·classes].

    The output is a score per class on its last axis (or the second), or one mask score, which is
    a probability (threshold 0.5).
    """
    truth = _needed(labels, "iou")
    truth = truth[..., 0] if truth.ndim == 4 and truth.shape[-1] == 1 else truth
    axis = _class_axis(output, truth)
    if output.shape[axis] == 1:
        found = np.take(output, 0, axis=axis) > 0.5
        classes = 2
    else:
        found, classes = np.argmax(output, axis=axis), output.shape[axis]
    counted = truth != IGNORED_LABEL
    strange = counted & ((truth < 0) | (truth >= classes))
    if strange.any():
        raise DataError(
            f"iou: labels hold {truth[strange][0]}; the model has {classes} classes, 0 to "
            f"{classes - 1} ({IGNORED_LABEL} is left out)",
            "check that the data fits the model",
        )
    shared, joined = [], []
    for label in range(classes):
        here, there = (truth == label) & counted, (found == label) & counted
        shared.append((here & there).sum(axis=(1, 2)))
        joined.append((here | there).sum(axis=(1, 2)))
    return np.stack([*shared, *joined], axis=1).astype(np.float64)


def mean_iou(rows: Rows) -> float:
    """Mean over the classes that occur of intersection / union, each over all pixels."""
    shared, joined = np.split(rows.sum(axis=0), 2)
    present = joined > 0
    return float((shared[present] / joined[present]).mean()) if present.any() else math.nan


def _auc(weights: Array, truth: NDArray[np.bool_], group: NDArray[np.intp]) -> float:
    # Mann-Whitney: the share of (positive, negative) pairs in order, ties counting half.
    positive = np.bincount(group, weights * truth)
    negative = np.bincount(group, weights * ~truth)
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else math.nan


def _needed(labels: Array | None, metric: str) -> Array:
    if labels is None:
        raise DataError(f"{metric} needs labels, and the data gives none", "add them (y_test)")
    return labels


def _class_scores(output: Array, metric: str) -> Array:
    scores = output.reshape(len(output), -1)
    if scores.shape[1] != output.shape[-1]:
        raise DataError(
            f"{metric} takes an output of shape [n, classes]; it is "
            f"{shape_text(('n', *output.shape[1:]))}",
            "name --metric iou for segmentation, or judge it with file.py:function",
        )
    return scores


def _class_axis(output: Array, truth: Array) -> int:
    if output.ndim == 4 and truth.ndim == 3:
        for axis in (3, 1):
            if tuple(np.delete(output.shape, axis)) == truth.shape:
                return axis
    raise DataError(
        "iou takes labels [n, height, width] and an output [n, height, width, classes]; got "
        f"{shape_text(truth.shape)} and {shape_text(output.shape)}",
        _HINT,
    )
