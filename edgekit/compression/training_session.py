"""What training needs from one call of the worker to the next: data, loss, trainer, best weights.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekit.compression import (
    compile_config,
    distillation,
    graph,
    holding,
    losses,
    rebuilding,
    training,
    training_data,
    training_plan,
)  # fmt: skip
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.range_training import RangeTraining
from edgekit.compression.teaching import Teacher
from edgekit.compression.training_data import TrainingData
from edgekit.data import open_data
from edgekit.errors import DataError, ModelError
from edgekit.held import NOTHING, Held
from edgekit.keras_loading import Loaded, of_model
from edgekit.types import Role

WITHOUT_REGULARIZATION = (
    "the model's weight regularization is left out: it was chosen for kernels that no normalization"
    " was folded into"
)


class Session:
    """Training data that is there, and the training that goes on, if one does."""

    def __init__(self, data: TrainingData, source: Path, student: Path, directory: Path) -> None:
        self.data = data
        self._config = compile_config.read(source)
        self._student_config = compile_config.read(student) if student != source else self._config
        self._directory = directory
        self._trainings = 0
        self.trainer: training.Trainer | None = None
        self.distillation: distillation.Distillation | None = None
        self._constraints: list[holding.Holding] = []

    def task_loss(self, student: Loaded, user: str | None = None) -> losses.TaskLoss:
        """The loss for the labels; see `losses.resolve`."""
        return losses.resolve(student, self.data, self._config, user)

    def start(
        self,
        student: Loaded,
        teacher: Teacher | None,
        *,
        epochs: int,
        learning_rate: float | None,
        batch_size: int | None,
        seed: int,
        loss: str | None,
        distill: Mapping[str, Any] | None,
        held: Held = NOTHING,
        gradual: Mapping[str, Any] | None = None,
        twin: Twin | None = None,
    ) -> dict[str, Any]:
        """Sets a training up, of the model's quantized twin if there is one.

        See `Compressor.start_training`, and `holding.constraints`.
        """
        task = self._task(student, loss, distilling=distill is not None)
        settings, notes = training_plan.plan(
            student, self.data.count, self._student_config, epochs=epochs,
            learning_rate=learning_rate, batch_size=batch_size, seed=seed,
            distilling=distill is not None, quantizing=twin is not None,
        )  # fmt: skip
        trainable = student.model.trainable_variables
        if not trainable:
            raise ModelError(
                "nothing can be trained: all layers of the model have trainable=False",
                "set model.trainable = True and save it again, or leave this step out",
            )
        training.make_deterministic(seed)
        objective: training.Objective
        ranges = RangeTraining(twin) if twin else None
        forward = ranges.forward if ranges else None
        said = [*(task.notes if task else ())]
        if distill is None:
            assert task is not None
            objective = training.TaskObjective(student, task, forward)
        else:
            assert teacher is not None, "open_teacher comes first"
            objective = self._distillation(student, teacher, task, distill, forward)
            said += objective.notes
        if twin and student.model.losses:
            said.append(WITHOUT_REGULARIZATION)
        self._constraints = holding.constraints(student.model, held, gradual)
        self.trainer = training.Trainer(
            student, self.data, objective, settings,
            target_input=task.target_input if task else None, distilling=distill is not None,
            constraints=[*self._constraints, *([ranges] if ranges else [])],
            regularized=twin is None,
        )  # fmt: skip
        return {
            "steps_per_epoch": settings.steps_per_epoch,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "loss": self._name(task, distill),
            "notes": [*said, *notes, *self.trainer.notes],
        }

    def end(self) -> None:
        """Puts back what training changed besides weights, and lets go of everything else."""
        if self.trainer is not None:
            self.trainer.end()
        for constraint in self._constraints:
            constraint.settle()
        self._constraints = []
        self.trainer = self.distillation = None
        shutil.rmtree(self._answers(), ignore_errors=True)

    def _task(
        self, student: Loaded, loss: str | None, *, distilling: bool
    ) -> losses.TaskLoss | None:
        """The task loss; None where a teacher can do without: no labels and no own loss."""
        unlabelled = self.data.labels is None and loss is None
        try:
            return self.task_loss(student, loss)
        except DataError:
            if distilling and unlabelled:
                return None
            raise

    def _distillation(
        self,
        student: Loaded,
        teacher: Teacher,
        task: losses.TaskLoss | None,
        distill: Mapping[str, Any],
        forward: training.Forward | None,
    ) -> distillation.Distillation:
        self._trainings += 1
        directory = self._answers()
        directory.mkdir()
        self.distillation = distillation.objective(
            student, teacher, task, distill, self.data, directory, forward
        )
        return self.distillation

    def _answers(self) -> Path:
        """Where the teacher's answers lie while a training needs them."""
        return self._directory / f"teacher-{self._trainings}"

    def _name(self, task: losses.TaskLoss | None, distill: Mapping[str, Any] | None) -> str:
        own = task.name if task else ""
        return own if distill is None else f"distillation{f' and {own}' if own else ''}"


def open_session(
    spec: str,
    preprocess: str,
    student: Loaded,
    source: Path,
    student_path: Path,
    *,
    seed: int,
    group_size: int,
    augment: str | None,
    directory: Path,
    role: Role = "train",
) -> Session:
    """Reads the training data; see `Compressor.load_training`."""
    dataset = open_data(
        spec, inputs=student.inputs, preprocess=preprocess, seed=seed, group_size=group_size
    )
    directory.mkdir(parents=True, exist_ok=True)
    data = training_data.spool(dataset, seed=seed, augment=augment, directory=directory, role=role)
    return Session(data, source, student_path, directory)


def copy_of(loaded: Loaded) -> Loaded:
    """A model of its own with the same weights."""
    copied = rebuilding.rebuild(graph.read(loaded.model))
    return of_model(copied, loaded.generation, loaded.notes)
