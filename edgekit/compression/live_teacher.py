"""A teacher that runs beside the student, so that inner activations can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import hints
from edgekit.compression.teaching import Pupil, Teacher
from edgekit.errors import ModelError
from edgekit.keras_loading import Loaded

Array = NDArray[Any]

PROBE_ELEMENTS = 1 << 22
"""Numbers of one activation that are looked at, over all samples."""


class Answer(NamedTuple):
    """What a forward pass gave; the teacher's where it runs beside the student."""

    outputs: list[Any]
    features: list[Any]
    taught: list[Any]
    taught_features: list[Any]


class LiveTeacher:
    """Student and teacher side by side, with their inner activations."""

    def __init__(
        self, student: Loaded, pupil: Pupil, asked: bool | Sequence[str], inputs: Sequence[Array]
    ) -> None:
        teacher = _layered(pupil.teacher)
        pairs = hints.find(student.model, teacher, asked)
        self._outputs = len(student.outputs)
        self._feeds, self._taught_by = pupil.feeds, pupil.taught_by
        self._student = _with_features(student.model, [pair.student for pair in pairs])
        self._teacher = _with_features(teacher, [pair.teacher for pair in pairs])
        self._places = len(teacher.outputs)
        seen = [one[: _probes(pairs)] for one in inputs]
        ours = _look(self._student, seen, self._outputs)
        theirs = _look(self._teacher, [seen[one] for one in self._feeds], self._places)
        self.hints = [hints.Hint(*one) for one in zip(pairs, ours, theirs, strict=True)]

    def forward(self, inputs: list[Any]) -> Answer:
        """Both models on the same inputs."""
        ours = self._student(list(inputs), training=True)
        theirs = self._teacher([inputs[one] for one in self._feeds], training=False)
        outputs, features = ours[: self._outputs], ours[self._outputs :]
        taught = [
            tf.reshape(theirs[place], tf.shape(one))
            for place, one in zip(self._taught_by, outputs, strict=True)
        ]
        return Answer(outputs, features, taught, theirs[self._places :])

    def error(self, answer: Answer) -> Any:
        """The mean error of the hints."""
        pairs = zip(self.hints, answer.features, answer.taught_features, strict=True)
        return tf.add_n([hint.error(*both) for hint, *both in pairs]) / len(self.hints)


def _probes(pairs: Sequence[hints.Pair]) -> int:
    shapes = [one.shape for pair in pairs for one in (pair.student, pair.teacher)]
    largest = max(math.prod(int(size or 1) for size in shape[1:]) for shape in shapes)
    return max(8, PROBE_ELEMENTS // largest)


def _layered(teacher: Teacher) -> Any:
    model = teacher.loaded.model if teacher.loaded else None
    if model is None:
        raise ModelError(
            f"features need a teacher of Keras layers, and {teacher.name} shows its outputs only",
            "give the .keras or .h5 file that it was made from, or features = false",
        )
    return model


def _with_features(model: Any, features: list[Any]) -> Any:
    return keras.Model(list(model.inputs), [*model.outputs, *features])


def _look(model: Any, inputs: Sequence[Array], outputs: int) -> list[Array]:
    """The features of a model made by `_with_features`, on real samples at inference."""
    size = model.inputs[0].shape[0] or 32
    made = []
    for start in range(0, max(1, len(inputs[0]) - size + 1), size):
        part = [np.resize(one[start : start + size], (size, *one.shape[1:])) for one in inputs]
        answers = keras.tree.flatten(model(part, training=False))
        made.append([np.asarray(one) for one in answers[outputs:]])
    return [np.concatenate(one) for one in zip(*made, strict=True)]
