"""The open model while it learns: its training data, teacher and int8 twin; imports Keras."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgekit import held
from edgekit.compression import (
    graph,
    quantizing,
    teaching,
    training_session,
)  # fmt: skip
from edgekit.compression.quantized_twin import Twin
from edgekit.errors import ModelError
from edgekit.held import NOTHING, Held
from edgekit.keras_source import Source
from edgekit.recipe_types import Scheme
from edgekit.types import Role


class Learner(Source):
    """A source whose model can be trained, as it is or as its quantized twin."""

    _session: training_session.Session | None = None
    _teacher: teaching.Teacher | None = None
    _held: Held = NOTHING
    _twin: Twin | None = None

    def open(self, path: str, trust: bool = False) -> dict[str, Any]:
        """Opens a model in place of the one before; see `Source.open`."""
        self._path = self._student_path = Path(path)
        return super().open(path, trust)

    def begin(self) -> None:
        """Checks that there is a model of layers to work on, and keeps it as the teacher.

        Raises:
            ModelError: Only its computation is known (a SavedModel without layers), or it is
                subclassed.
        """
        graph.read(self._layers_of_model())
        self._origin = self._model()
        self._held = held.of_file(self._path)

    def held(self) -> dict[str, Any]:
        """What later steps must not undo: a `held.Held` as plain data."""
        plain: dict[str, Any] = msgspec.to_builtins(self._held)
        return plain

    def load_training(
        self,
        spec: str,
        preprocess: str,
        seed: int,
        group_size: int,
        augment: str | None,
        directory: str,
        role: Role = "train",
    ) -> dict[str, Any]:
        """Reads the train role of `--data` into files in `directory`, before preprocessing.

        Args:
            spec: The value of `--data`.
            preprocess: The value of `--preprocess`.
            seed: Of the roles and of the augmentation.
            group_size: Consecutive samples that are not separated.
            augment: `file.py:function`, or None; see `training_data.spool`.
            directory: For the files; deleted by the caller.
            role: Another role, for what looks at samples and does not train.

        Returns:
            `samples`, `labels` (whether there are any) and `augment`.

        Raises:
            DataError, UsageError: The data cannot be used.
        """
        # What is left of it if this process is killed goes with the staging directory.
        tempfile.tempdir = str(Path(directory).parent)
        self._session = training_session.open_session(
            spec, preprocess, self._model(), self._path, self._student_path, seed=seed,
            group_size=group_size, augment=augment, directory=Path(directory), role=role,
        )  # fmt: skip
        data = self._session.data
        labelled = data.labels is not None
        return {"samples": data.count, "labels": labelled, "augment": data.augment}

    def open_teacher(self, path: str | None, trust: bool) -> dict[str, Any]:
        """Opens what the next distillation learns from.

        Args:
            path: Any model; None for the source as it was opened.
            trust: Run code that the file carries.

        Returns:
            `notes`: what the user should know of it.

        Raises:
            ModelError, MissingExtra: See `teaching.open_teacher`.
        """
        self._teacher = (
            teaching.of_loaded(self._origin)
            if path is None
            else teaching.open_teacher(path, trust=trust)
        )
        return {"notes": list(self._teacher.notes)}

    def prepare_teacher(self, limit_s: float) -> dict[str, int]:
        """Has the teacher answer for about `limit_s` seconds; see `Lessons.prepare`."""
        assert self._session is not None, "load_training comes first"
        assert self._session.distillation is not None, "start_training comes first"
        return self._session.distillation.prepare(limit_s)

    def start_training(
        self,
        epochs: int,
        learning_rate: float | None,
        batch_size: int | None,
        seed: int,
        loss: str | None,
        distill: dict[str, Any] | None,
        holding: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Sets a training up; `advance` then does it.

        Args:
            epochs: Passes over the data.
            learning_rate: At its height; None for one that suits the model.
            batch_size: None for one that suits the number of samples.
            seed: Of shuffling, dropout and projections.
            loss: `file.py:function`, or None; see `losses.resolve`.
            distill: `temperature`, `weight` and `features`; None trains on the labels alone.
            holding: `prune`, a `pruning.Amount` as plain data: zeros that come while it trains.

        Returns:
            `steps_per_epoch`, `batch_size`, `learning_rate`, `loss`, and `notes`: what was chosen
            and from what.

        Raises:
            DataError: The labels do not fit the model.
            ModelError: It has nothing to train, or the teacher does not fit it.
        """
        assert self._session is not None, "load_training comes first"
        self._layers_of_model()
        self._part_from_teacher()
        return self._session.start(
            self._model(), self._teacher, epochs=epochs,
            learning_rate=learning_rate, batch_size=batch_size, seed=seed, loss=loss,
            distill=distill, held=self._held, gradual=(holding or {}).get("prune"), twin=self._twin,
        )  # fmt: skip

    def _part_from_teacher(self) -> None:
        """Has the source in a model of its own, before weights change in place."""
        if self._origin.model is not self._model().model:
            return
        learning, self._origin = self._origin.model, training_session.copy_of(self._origin)
        taught_by = self._teacher.loaded if self._teacher else None
        if taught_by is not None and taught_by.model is learning:
            self._teacher = teaching.of_loaded(self._origin)

    def advance(self, limit_s: float) -> dict[str, Any]:
        """Trains for about `limit_s` seconds; see `training.Trainer.advance`."""
        assert self._session is not None, "load_training comes first"
        assert self._session.trainer is not None, "start_training comes first"
        return self._session.trainer.advance(limit_s)

    def keep(self) -> None:
        """Remembers the weights of now, and the ranges of the twin if there is one."""
        model, ranges = self._model().model, self._twin.ranges() if self._twin else {}
        self._kept = (model, model.get_weights(), ranges)

    def restore(self) -> None:
        """Goes back to the weights and ranges that `keep` remembers."""
        model, weights, ranges = self._kept
        assert model is self._model().model, "the model is another one since keep"
        model.set_weights(weights)
        if self._twin is not None:
            self._twin.set_ranges(ranges)

    def end_training(self) -> None:
        """Puts back what training changed besides weights, and frees what it needed."""
        if self._session is not None:
            self._session.end()
        self._functions = {}

    def begin_quantization(
        self, scheme: Scheme, per_tensor: list[str], seed: int
    ) -> dict[str, Any]:
        """Makes the model's fake-quantized twin, with ranges of some training samples.

        Trainings train the twin from now on, and `predict` answers for it.

        Args:
            scheme: Whose int8.
            per_tensor: TFLite operators whose weights have one scale; "*" for all.
            seed: Of the draw of samples.

        Returns:
            `float_layers`: the layers that int8 leaves out, with the reason.

        Raises:
            DataError: A tensor is not finite on a sample.
        """
        assert self._session is not None, "load_training comes first"
        model = quantizing.folded(self._layers_of_model())
        if model is not self._model().model:
            self._replace(model)
        self._twin = quantizing.calibrated(
            self._model(), self._session.data, scheme, per_tensor, seed
        )
        self._loaded, self._functions = quantizing.judged(self._model(), self._twin), {}
        return {"float_layers": self._twin.rules.float_layers}

    def begin_refinement(self, seed: int) -> dict[str, int]:
        """Draws samples that int8 is refined on; `advance_refinement` then does it.

        Raises:
            DataError: There are too few.
        """
        assert self._twin is not None, "begin_quantization comes first"
        assert self._session is not None, "load_training comes first"
        self._refinement = quantizing.refinement(
            self._model(), self._twin, self._session.data, seed
        )
        return {"samples": self._refinement.samples}

    def advance_refinement(self, limit_s: float) -> dict[str, int]:
        """Refines for about `limit_s` seconds; see `refining.Refinement.advance`."""
        return self._refinement.advance(limit_s)

    def finish_refinement(self) -> dict[str, Any]:
        """What was done; where plain int8 is as good, the model is what it was, and in float."""
        report = self._refinement.report
        if report["kept"] == "plain":
            self._replace(self._layers_of_model())
            self._twin = None
        else:
            # weights moved each by itself
            self._held = Held(zeros=self._held.zeros, groups=self._held.groups)
        return report

    def finish_quantization(self, mode: Literal["qat", "refined"]) -> dict[str, Any] | None:
        """Rounds the kernels to their grids; returns a `Quantization` as plain data.

        None where refinement found nothing better than plain int8.
        """
        if self._twin is None:
            return None
        self._twin.put_on_grid()
        found: dict[str, Any] = msgspec.to_builtins(quantizing.record(self._twin, mode))
        return found

    def _layers_of_model(self) -> Any:
        model = self._model().model
        if model is None:
            raise ModelError(
                "the model carries its computation only, and no layers that could be changed",
                "name the .keras or .h5 file that it was exported from",
            )
        return model
