"""What labels are, whether they fit the first output, and how a loss takes them.

Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.data_checks import shape_text
from edgekit.errors import DataError
from edgekit.keras_loading import Loaded
from edgekit.metric_rows import IGNORED_LABEL
from edgekit.types import Dimension

Form = Literal["classes", "rows", "values"]
"""What a loss wants: class numbers, one row per class number, or numbers of the output's shape."""

_CHUNK = 1 << 16
_ROW_TOLERANCE = 1e-3
_OWN = "or name your own loss: --loss file.py:function"


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """What all labels have in common.

    Attributes:
        shape: Of one sample's labels.
        low: The smallest.
        high: The largest; in dense labels the void 255 does not count.
        whole: No label has a fraction.
        rows: Each row along the last axis is non-negative and sums to 1.
        dense_void: They are dense (a class per pixel) and 255 occurs.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    whole: bool
    rows: bool
    dense_void: bool


@dataclass(frozen=True, slots=True)
class Target:
    """How a loss gets what it compares the output with.

    `prepare(y, output)` runs in the training step; `input` is the number of the model's input that
    is the target instead of labels; `note` is for the user.
    """

    prepare: Callable[[Any, Any], Any]
    input: int | None = None
    note: str = ""


def look(labels: NDArray[Any]) -> LabelFacts:
    """Reads all labels [n, …] once, in parts.

    Raises:
        DataError: Some are NaN or infinite.
    """
    shape = tuple(int(size) for size in labels.shape[1:])
    low, high, whole, void = np.inf, -np.inf, True, False
    rows = bool(shape) and shape[-1] > 1
    for start in range(0, len(labels), _CHUNK):
        part = np.asarray(labels[start : start + _CHUNK])
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise DataError("training labels hold NaN or infinite values", "correct y_train")
        whole = whole and (part.dtype.kind != "f" or not (part % 1).any())
        if rows:
            sums = part.sum(axis=-1, dtype=np.float64)
            rows = bool(part.min() >= 0 and np.abs(sums - 1).max() < _ROW_TOLERANCE)
        low = min(low, float(part.min()))
        inside = part[part != IGNORED_LABEL] if len(shape) > 1 else part
        void = void or inside.size < part.size
        high = max(high, float(inside.max())) if inside.size else high
    return LabelFacts(shape, low, high, bool(whole), rows, void)


def form_of(
    loaded: Loaded, facts: LabelFacts | None
) -> Literal["input", "classes", "rows", "binary", "values"]:
    """What the labels are by themselves and by the output's shape.

    Raises:
        DataError: There are none and the output is no reconstruction of an input, or their shape
            fits nothing.
    """
    wanted = loaded.outputs[0].shape[1:]
    same = facts is not None and _same(facts.shape, wanted)
    if facts is None or (not same and _reconstructed(loaded) is not None):
        _need_input(loaded, facts)
        return "input"
    zero_or_one = facts.whole and facts.low >= 0 and facts.high <= 1
    if same and facts.rows:
        return "rows"
    if same:
        return "binary" if zero_or_one else "values"
    if facts.whole and _same(facts.shape, wanted[:-1]):
        return "classes"
    raise _misfit(loaded, facts)


def fit(loaded: Loaded, facts: LabelFacts | None, form: Form, ignored: int | None = None) -> Target:
    """How labels become what a loss wants.

    Raises:
        DataError: They do not fit the output, with both numbers.
    """
    wanted = loaded.outputs[0].shape[1:]
    reconstructed = _reconstructed(loaded)
    if facts is None or (
        form == "values" and reconstructed is not None and not _same(facts.shape, wanted)
    ):
        _need_input(loaded, facts)
        number = reconstructed
        told = "" if facts is None else " on the input itself (the labels have another shape)"
        return Target(_as_is, number, told)
    classes = facts.whole and _same(facts.shape, wanted[:-1])
    if form == "classes":
        if classes:
            _check_range(loaded, facts, ignored)
            return Target(_numbers)
        if _same(facts.shape, wanted) and facts.rows:
            return Target(lambda y, _output: tf.argmax(y, axis=-1), note=" (of one-hot rows)")
        raise _misfit(loaded, facts)
    if _same(facts.shape, wanted):
        return Target(_as_is)
    if classes and wanted[-1] != 1:
        _check_range(loaded, facts, None)
        return Target(_one_hot, note=" (class numbers are made one-hot)")
    raise _misfit(loaded, facts)


def _as_is(y: Any, output: Any) -> Any:
    return tf.reshape(tf.cast(y, output.dtype), tf.shape(output))


def _numbers(y: Any, output: Any) -> Any:
    return tf.reshape(tf.cast(y, tf.int32), tf.shape(output)[:-1])


def _one_hot(y: Any, output: Any) -> Any:
    return tf.one_hot(_numbers(y, output), tf.shape(output)[-1], dtype=output.dtype)


def _same(got: tuple[int, ...], wanted: tuple[Dimension, ...]) -> bool:
    """Whether shapes agree but for axes of size 1 at the end."""
    left, right = list(got), list(wanted)
    while left[-1:] == [1]:
        left.pop()
    while right[-1:] == [1]:
        right.pop()
    return len(left) == len(right) and all(
        size is None or size == one for one, size in zip(left, right, strict=True)
    )


def _reconstructed(loaded: Loaded) -> int | None:
    """The number of the first input that the first output has the shape of."""
    wanted = loaded.outputs[0].shape[1:]
    for number, spec in enumerate(loaded.inputs):
        if len(wanted) > 0 and spec.shape[1:] == wanted and spec.dtype.startswith("float"):
            return number
    return None


def _need_input(loaded: Loaded, facts: LabelFacts | None) -> None:
    if _reconstructed(loaded) is not None:
        return
    assert facts is None, facts
    output = loaded.outputs[0]
    raise DataError(
        "training needs labels: the train data has none, and the output"
        f" '{output.name}' {shape_text(('n', *output.shape[1:]))} is shaped like no input",
        f"add y_train, distill from a teacher, {_OWN}",
    )


def _check_range(loaded: Loaded, facts: LabelFacts, ignored: int | None) -> None:
    output = loaded.outputs[0]
    classes = output.shape[-1]
    void = facts.dense_void and ignored != IGNORED_LABEL
    high = IGNORED_LABEL if void else facts.high
    if classes is None or (facts.low >= 0 and high < classes) or ignored in (facts.low, high):
        return
    shifted = facts.low == 1 and high == classes
    raise DataError(
        f"the training labels run from {facts.low:g} to {high:g}; the output '{output.name}' has"
        f" {classes} classes, 0 to {classes - 1}",
        "subtract 1 from the labels" if shifted else "check that the data fits the model",
    )


def _misfit(loaded: Loaded, facts: LabelFacts) -> DataError:
    output = loaded.outputs[0]
    kind = "whole numbers" if facts.whole else "numbers"
    return DataError(
        f"the training labels are {kind} of shape {shape_text(('n', *facts.shape))}; the output"
        f" '{output.name}' is {shape_text(('n', *output.shape[1:]))}",
        f"give labels of that shape, or class numbers of shape"
        f" {shape_text(('n', *output.shape[1:-1]))}, {_OWN}",
    )
