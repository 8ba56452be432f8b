"""What distillation minimises: weight · teacher + (1 − weight) · task.

The teacher's part is, for classes, T² · KL(teacher ‖ student) of softmaxes softened by the
temperature T (Hinton et al. 2015, arXiv 1503.02531; T² keeps the gradients' size), computed from
log-probabilities so that it stays finite where probabilities underflow; for sigmoids the binary
form of it; for values the squared error over the teacher's variance. `features` add the mean of
the hints' errors (see `hints`), and then the teacher runs beside the student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import output_kinds, softening, teaching
from edgekit.compression.live_teacher import Answer, LiveTeacher
from edgekit.compression.losses import TaskLoss
from edgekit.compression.output_kinds import Family, Output
from edgekit.compression.teaching import Lessons, Pupil, Teacher
from edgekit.compression.training import Forward, outputs_in_training
from edgekit.errors import ModelError
from edgekit.keras_loading import Loaded

if TYPE_CHECKING:
    from edgekit.compression.training_data import TrainingData

Array = NDArray[Any]


SQUARED_ERRORS = ("mse", "mean_squared_error", "MeanSquaredError")


@dataclass(frozen=True, slots=True)
class Match:
    """How one output is compared; `scale` is the teacher's variance, for values."""

    family: Family
    student_logits: bool
    teacher_logits: bool
    scale: float = 1.0

    def error(self, ours: Any, theirs: Any, temperature: float) -> Any:
        """The scalar error of a batch [n, …] against the teacher's answers."""
        if self.family == "values":
            return tf.reduce_mean(tf.square(ours - theirs)) / self.scale
        if self.family == "classes":
            return softening.kl_of_classes(
                theirs if self.teacher_logits else softening.log_of(theirs),
                ours if self.student_logits else softening.before(ours, "Softmax"),
                temperature,
            )
        return softening.kl_of_independent(
            theirs if self.teacher_logits else softening.logit_of(theirs),
            ours if self.student_logits else softening.before(ours, "Sigmoid"),
            temperature,
        )


class Distillation:
    """The objective (`training.Objective`) of a distillation."""

    def __init__(
        self,
        student: Loaded,
        task: TaskLoss | None,
        settings: Mapping[str, Any],
        lessons: Lessons | None,
        live: LiveTeacher | None,
        matches: list[Match],
        notes: tuple[str, ...],
        forward: Forward | None,
    ) -> None:
        self.variables = list(student.model.trainable_variables)
        self.variables += [one for hint in live.hints for one in hint.variables] if live else []
        self.notes = notes
        self._task, self._forward = task, forward or partial(outputs_in_training, student)
        self._temperature = float(settings["temperature"])
        self._weight = float(settings["weight"]) if task else 1.0
        self._lessons, self._live, self._matches = lessons, live, matches
        self._task_scale = _task_scale(task, matches)

    def prepare(self, limit_s: float) -> dict[str, int]:
        """Has the teacher answer for about `limit_s` seconds; see `Lessons.prepare`."""
        return self._lessons.prepare(limit_s) if self._lessons else {"done": 0, "total": 0}

    def taught(self, view: int, numbers: Array) -> Array | None:
        """The teacher's answers to samples of a view, from the files; None where it runs live."""
        return self._lessons.batch(view, numbers) if self._lessons else None

    def forward(self, inputs: list[Any]) -> Answer:
        """Runs the student in training mode, and the teacher in inference mode if it is live."""
        if self._live:
            return self._live.forward(inputs)
        return Answer(self._forward(inputs), [], [], [])

    def loss(self, answer: Answer, y: Any, taught: Any) -> Any:
        """The blend: weight · (outputs + features) + (1 − weight) · task."""
        theirs = answer.taught if taught is None else _split(taught, answer.outputs)
        errors = [
            match.error(ours, their, self._temperature)
            for match, ours, their in zip(self._matches, answer.outputs, theirs, strict=True)
        ]
        total = tf.add_n(errors) / len(errors)
        if self._live:
            total += self._live.error(answer)
        if self._task is None or self._weight >= 1:
            return total
        own = self._task(y, answer.outputs) / self._task_scale
        return self._weight * total + (1 - self._weight) * own


def objective(
    student: Loaded,
    teacher: Teacher,
    task: TaskLoss | None,
    settings: Mapping[str, Any],
    data: TrainingData,
    directory: Path,
    forward: Forward | None = None,
) -> Distillation:
    """What a distillation minimises.

    Args:
        student: The model that learns, of Keras layers.
        teacher: See `teaching.open_teacher` and `teaching.of_loaded`.
        task: The loss for the labels, or None where there are none: the teacher then has it all.
        settings: `temperature`, `weight` (the teacher's share), `features`.
        data: The training samples.
        directory: Where the teacher's answers are kept.
        forward: Runs the student in training mode, where that is not the model itself.

    Raises:
        ModelError: Teacher and student do not fit each other.
    """
    pupil = Pupil(teacher, student)
    numbers = teaching.spread(data.count)
    inputs, y = data.batch(0, numbers)
    answers = pupil.ask(inputs)
    matches, notes = _matches(student, pupil, task, answers, inputs)
    live = None
    if settings["features"]:
        live = LiveTeacher(student, pupil, settings["features"], inputs)
        notes.append(f"features: {', '.join(hint.name for hint in live.hints)}")
    notes.append(_shares(task, settings, matches))
    notes += _agreement(teacher, matches, answers, y)
    lessons = None if live else Lessons(pupil, data, directory)
    return Distillation(student, task, settings, lessons, live, matches, tuple(notes), forward)


def _split(taught: Any, outputs: list[Any]) -> list[Any]:
    """Parts a row of answers by the sizes of the student's outputs, and shapes them alike."""
    sizes = [tf.size(one) // tf.shape(one)[0] for one in outputs]
    parts = tf.split(taught, sizes, axis=1) if len(outputs) > 1 else [taught]
    return [
        tf.ensure_shape(tf.reshape(part, tf.shape(one)), one.shape)
        for part, one in zip(parts, outputs, strict=True)
    ]


def _matches(
    student: Loaded,
    pupil: Pupil,
    task: TaskLoss | None,
    answers: list[Array],
    inputs: Sequence[Array],
) -> tuple[list[Match], list[str]]:
    """How each output is compared. The task loss only says what the first one is."""
    matches: list[Match] = []
    notes: list[str] = []
    told = output_kinds.family_of_loss(task.name) if task else None
    for place, theirs in enumerate(answers):
        ours = _student_output(student, place, inputs)
        source = _teacher_output(pupil, place, theirs)
        family, note = output_kinds.agree(ours, source, told if place == 0 else None)
        scale = float(theirs.var())
        if family == "values" and not scale > 0:
            raise ModelError(
                f"the teacher ({pupil.teacher.name}) answers the same for all training samples",
                "check that --data and --preprocess are what the teacher was trained on",
            )
        matches.append(Match(family, ours.kind == "linear", source.kind == "linear", scale))
        notes += [note] if note else []
    return matches, notes


def _teacher_output(pupil: Pupil, place: int, answers: Array) -> Output:
    number = pupil.taught_by[place]
    spec, loaded = pupil.teacher.outputs[number], pupil.teacher.loaded
    model = loaded.model if loaded else None
    found = output_kinds.of_layers(model, number) if model is not None else None
    return found or output_kinds.of_numbers(spec.name, answers, spec.scale)


def _student_output(student: Loaded, place: int, inputs: Sequence[Array]) -> Output:
    found = output_kinds.of_layers(student.model, place)
    if found:
        return found
    answers = Pupil(teaching.of_loaded(student), student).ask(inputs)[place]
    return output_kinds.of_numbers(student.outputs[place].name, answers, None)


def _task_scale(task: TaskLoss | None, matches: list[Match]) -> float:
    """A squared error of the task is put in the unit of the teacher's, or it would drown it."""
    squared = task is not None and any(word in task.name for word in SQUARED_ERRORS)
    return matches[0].scale if squared else 1.0


def _shares(task: TaskLoss | None, settings: Mapping[str, Any], matches: list[Match]) -> str:
    errors = [_told(match.family, settings["temperature"]) for match in matches]
    what = errors[0] if len(errors) == 1 else f"mean of ({'; '.join(errors)})"
    if settings["features"]:
        what = f"({what} + error of the features)"
    if task is None:
        return f"there are no labels: the loss is the teacher's alone ({what})"
    weight = settings["weight"]
    own = f"{task.name}{' over the same' if _task_scale(task, matches) != 1 else ''}"
    return f"loss = {weight:g} · {what} + {1 - weight:g} · {own}"


def _told(family: Family, temperature: float) -> str:
    if family == "values":
        return "squared error over the teacher's variance"
    of = "class probabilities" if family == "classes" else "sigmoids"
    return f"KL divergence of {of} at temperature {temperature:g}"


def _agreement(
    teacher: Teacher, matches: list[Match], answers: list[Array], y: Array | None
) -> list[str]:
    """How often the teacher is right: one that is not has other classes or wants other input."""
    first = answers[0]
    if y is None or matches[0].family != "classes" or first.ndim != 2:
        return []
    labels = np.asarray(y)
    numbers = labels.argmax(axis=1) if labels.shape == first.shape else labels.reshape(-1)
    if numbers.shape != first.shape[:1]:
        return []
    share = float((first.argmax(axis=1) == numbers).mean())
    said = f"the teacher ({teacher.name}) is right on {share:.1%} of {len(first)} training samples"
    if share <= np.unique(numbers, return_counts=True)[1].max() / len(numbers):
        said += (
            ", no better than always naming the most frequent class: check that its classes stand"
            " in the same order, and that --preprocess is what it was trained on"
        )
    return [said]
