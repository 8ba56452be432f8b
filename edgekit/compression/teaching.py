"""The teacher of a distillation: a model in any loadable form, and its answers, computed once.

Answers to the training samples go to memory-mapped files, one for each view of the data, so that
every later epoch looks them up. With augmentation this is function matching with a finite number of
views: the teacher sees exactly what the student sees (Beyer et al. 2022, arXiv 2106.05237).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, keras_source, loading, registry
from edgekit.data_checks import shape_text
from edgekit.errors import ModelError
from edgekit.keras_loading import Loaded
from edgekit.types import Dimension, ModelInfo, TensorSpec
from edgekit.workers import scratch

if TYPE_CHECKING:
    from edgekit.compression.training_data import TrainingData

Array = NDArray[Any]
PROBES = 256
"""Real samples on which a teacher is looked at before it teaches."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """An open model that only answers.

    `source` is what its family's `Source` class made; `loaded` is there for Keras models, whose
    inner activations can be seen.
    """

    name: str
    source: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    loaded: Loaded | None = None
    notes: tuple[str, ...] = ()


class _KerasTeacher(keras_source.Source):
    def __init__(self, loaded: Loaded | None = None) -> None:
        super().__init__()
        self._loaded = loaded

    @property
    def loaded(self) -> Loaded:
        """The open model."""
        return self._model()


def open_teacher(path: str, *, trust: bool) -> Teacher:
    """Opens a teacher: .keras, .h5, SavedModel, .tflite or .onnx.

    Raises:
        ModelError: It cannot be read, trusted or run.
        MissingExtra: What reads it is not installed.
    """
    file = loading.identify(path, trust=trust, isolated=False)
    if file.family == "keras":
        keras_teacher = _KerasTeacher()
        keras_teacher.open(path, trust)
        return _of_keras(path, keras_teacher, keras_teacher.loaded.notes)
    source = registry.source(file.family).Source()
    info = msgspec.convert(source.open(path, trust), type=ModelInfo)
    quantized = info.precision not in (None, "fp32", "fp16")
    coarse = f"the teacher computes in {info.precision}; its float original would teach more"
    return Teacher(path, source, info.inputs, info.outputs, notes=(coarse,) if quantized else ())


def of_loaded(loaded: Loaded) -> Teacher:
    """An open Keras model as teacher: by default the source, as it was before compression."""
    return _of_keras("the source model", _KerasTeacher(loaded))


def _of_keras(name: str, source: _KerasTeacher, notes: tuple[str, ...] = ()) -> Teacher:
    loaded = source.loaded
    return Teacher(name, source, loaded.inputs, loaded.outputs, loaded, notes)


# ---------------------------------------------------------------------- matching student's tensors


def match_inputs(teacher: Teacher, student: Sequence[TensorSpec]) -> list[int]:
    """For each of the teacher's inputs the student's input that feeds it.

    Matched by name, else by order where number and shapes agree.

    Raises:
        ModelError: The two take different inputs.
    """
    return _match(
        teacher, teacher.inputs, student, "inputs", _may_be,
        "give a teacher that takes what the student takes (put resizing or scaling into it)",
    )  # fmt: skip


def match_outputs(teacher: Teacher, student: Sequence[TensorSpec]) -> list[int]:
    """For each of the student's outputs the teacher's output that teaches it.

    Matched by name, else by order. Axes of size 1 do not count: many .tflite have them.

    Raises:
        ModelError: The shapes differ, as with another number of classes.
    """
    return _match(
        teacher, student, teacher.outputs, "outputs", _same_without_ones,
        "give a teacher of the same task, with the same classes in the same order",
    )  # fmt: skip


def _match(
    teacher: Teacher,
    wanted: Sequence[TensorSpec],
    offered: Sequence[TensorSpec],
    what: str,
    agree: Any,
    fix: str,
) -> list[int]:
    places = {spec.name: place for place, spec in enumerate(offered)}
    by_order = list(range(len(wanted)))
    by_name = [places.get(spec.name, -1) for spec in wanted]
    if len(wanted) != len(offered) and -1 in by_name:
        raise _differ(teacher, wanted, offered, what, fix)
    found = by_order if -1 in by_name else by_name
    pairs = [(spec, offered[place]) for spec, place in zip(wanted, found, strict=True)]
    if not all(agree(left.shape, right.shape) for left, right in pairs):
        raise _differ(teacher, wanted, offered, what, fix)
    return found


def _differ(
    teacher: Teacher, one: Sequence[TensorSpec], other: Sequence[TensorSpec], what: str, fix: str
) -> ModelError:
    mine = teacher.inputs if what == "inputs" else teacher.outputs
    student = other if mine is one else one
    return ModelError(
        f"the teacher ({teacher.name}) has the {what} {_named(mine)}, and the student"
        f" {_named(student)}",
        fix,
    )


def _named(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {shape_text(('n', *spec.shape[1:]))}" for spec in specs)


def _may_be(left: Sequence[Dimension], right: Sequence[Dimension]) -> bool:
    return len(left) == len(right) and all(
        one is None or other is None or one == other
        for one, other in zip(left[1:], right[1:], strict=True)
    )


def _same_without_ones(left: Sequence[Dimension], right: Sequence[Dimension]) -> bool:
    one, other = ([size for size in shape[1:] if size != 1] for shape in (left, right))
    return _may_be((None, *one), (None, *other))


# --------------------------------------------------------------------------------------- answers


class Pupil:
    """Asks a teacher what a student with these inputs and outputs has to know."""

    def __init__(self, teacher: Teacher, student: Loaded) -> None:
        self.teacher = teacher
        self._feeds = match_inputs(teacher, student.inputs)
        self._taught_by = match_outputs(teacher, student.outputs)
        self._outputs = student.outputs

    @property
    def feeds(self) -> list[int]:
        """For each of the teacher's inputs the place of the student's input."""
        return self._feeds

    @property
    def taught_by(self) -> list[int]:
        """For each of the student's outputs the place of the teacher's output."""
        return self._taught_by

    def ask(self, inputs: Sequence[Array]) -> list[Array]:
        """The teacher's answers [n, …] float32 for the student's inputs, output by output.

        Raises:
            ModelError: The teacher fails on them, or answers with NaN or infinite values.
        """
        given = {
            spec.name: np.asarray(inputs[place])
            for spec, place in zip(self.teacher.inputs, self._feeds, strict=True)
        }
        with scratch() as directory:
            chunks.write(directory / "in", [given])
            self.teacher.source.predict(str(directory / "in"), str(directory / "out"))
            answers = chunks.read_all(directory / "out")
        return [self._checked(answers, place) for place in self._taught_by]

    def _checked(self, answers: chunks.Arrays, place: int) -> Array:
        spec = self.teacher.outputs[place]
        answer = np.asarray(answers[spec.name], dtype=np.float32)
        bad = ~np.isfinite(answer.reshape(len(answer), -1)).all(axis=1)
        if bad.any():
            raise ModelError(
                f"the teacher ({self.teacher.name}) answers with NaN or infinite values in"
                f" '{spec.name}' for {int(bad.sum())} of {len(answer)} training samples",
                "check that --data and --preprocess are what the teacher was trained on",
            )
        return answer


class Lessons:
    """A teacher's answers to all views of the training data, as memory-mapped files.

    All outputs of a sample stand side by side in one row of float32, which `distillation` parts.
    """

    def __init__(self, pupil: Pupil, data: TrainingData, directory: Path) -> None:
        self._pupil, self._data = pupil, data
        self._directory = directory
        self._views: list[Array] = []
        self._done = 0
        self._work = self._blocks()
        self.total = data.count * data.views

    def prepare(self, limit_s: float) -> dict[str, int]:
        """Works for about `limit_s` seconds; samples `done` of `total`, in all views.

        Raises:
            ModelError: See `Pupil.ask`.
            DataError: The augmentation fails.
            OSError: The disk is full.
        """
        started = time.monotonic()
        for size in self._work:
            self._done += size
            if time.monotonic() - started >= limit_s:
                break
        return {"done": self._done, "total": self.total}

    def batch(self, view: int, numbers: Array) -> Array:
        """What was answered to samples of a view [n, width]."""
        rows: Array = self._views[view][numbers]
        return rows

    def _blocks(self) -> Iterator[int]:
        for view in range(self._data.views):
            while not self._data.prepare(view, limit_s=1.0):
                yield 0
            start = 0
            for inputs in self._data.blocks(view):
                answers = self._pupil.ask(inputs)
                size = len(answers[0])
                rows = np.concatenate([one.reshape(size, -1) for one in answers], axis=1)
                if start == 0:
                    self._views.append(self._new_file(view, rows.shape[1]))
                self._views[view][start : start + size] = rows
                start += size
                yield size

    def _new_file(self, view: int, width: int) -> Array:
        path = self._directory / f"taught-{view}.npy"
        return np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=(self._data.count, width)
        )


def spread(count: int, wanted: int = PROBES) -> Array:
    """Sample numbers spread evenly over the data, which may be sorted by class."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))
