"""The open model while a recipe changes it, step by step; runs in a worker (imports Keras)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, keras_layers, keras_loading, loading
from edgekit.compression import (
    channel_changes,
    channels,
    clustering,
    drawing,
    explaining,
    graph,
    holding,
    kernel_changes,
    pruning,
    quantizing,
    rebuilding,
    recalibration,
    reconstruction,
    saving,
    sensitivity,
    simplify,
    students,
    taylor,
    teaching,
    tfmot_keeping,
    training_session,
)  # fmt: skip
from edgekit.compression.channel_order import Scope
from edgekit.compression.clustering import Init
from edgekit.compression.holding import NOTHING, Held
from edgekit.compression.importance import Criterion
from edgekit.compression.quantized_twin import Twin
from edgekit.errors import ModelError
from edgekit.keras_source import Source
from edgekit.recipe_types import RecipeStep, Removal, Scheme
from edgekit.types import Role


class Compressor(Source):
    """A source whose model can be changed and saved."""

    _taylor: tuple[Any, NDArray[Any]] | None = None
    _sizes: Mapping[str, int] | None = None
    _session: training_session.Session | None = None
    _teacher: teaching.Teacher | None = None
    _held: Held = NOTHING
    _twin: Twin | None = None
    _changes: kernel_changes.Kernels | channel_changes.ChannelBundles | None = None

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
        self._held = holding.of_file(self._path)

    def held(self) -> dict[str, Any]:
        """What later steps must not undo: a `holding.Held` as plain data."""
        plain: dict[str, Any] = msgspec.to_builtins(self._held)
        return plain

    def describe(self) -> dict[str, Any]:
        """`parameters`, `macs` (None if no layer's are known) and `sparsity` of the model now.

        `sparsity` is the share of zeros among the weights of kernels, tables included.
        """
        model = self._layers_of_model()
        layers = list(keras_layers.of_model(model))
        counted = [layer.macs for layer in layers if layer.macs is not None]
        kernels = [weight for weight in model.get_weights() if weight.ndim > 1]
        zeros = sum(int(weight.size - np.count_nonzero(weight)) for weight in kernels)
        return {
            "parameters": int(model.count_params()),
            "macs": sum(counted) if counted else None,
            "sparsity": zeros / max(1, sum(weight.size for weight in kernels)),
        }

    def take_student(self, path: str, trust: bool) -> dict[str, Any]:
        """Puts another model in place of this one, which stays as the teacher.

        Returns:
            `notes`: what the user should know of how it was loaded.

        Raises:
            ModelError: It cannot be loaded, or has other inputs or outputs.
        """
        self._student_path = Path(path)
        student = keras_loading.load(
            loading.identify(path, trust=trust, isolated=False), trust=trust
        )
        self._replace(students.adopt(student, self._model()))
        self._held = holding.of_file(self._student_path)
        return {"notes": list(student.notes)}

    def explain(self, steps: list[dict[str, Any]], multiple: int) -> list[Any]:
        """What each step of a recipe would do to the model, which stays as it is.

        Args:
            steps: `recipe_types.RecipeStep`s as plain data, with budgets as numbers.
            multiple: What channel counts are rounded up to.

        Returns:
            An `explaining.Told` as plain data for each.

        Raises:
            ModelError: The model has no layers to work on, or one that cannot be rebuilt.
        """
        wanted = msgspec.convert(steps, list[RecipeStep])
        told = explaining.explain(self._layers_of_model(), wanted, multiple, self._path)
        return [explaining.as_plain(one) for one in told]

    def apply_simplify(self, for_inference: bool, probes: str | None) -> dict[str, Any]:
        """Removes what does not change the outputs.

        Args:
            for_inference: Also fold batch normalization and remove Dropout.
            probes: A directory of `edgekit.chunks` with real inputs to compare on.

        Returns:
            A `recipe_types.Simplification` as plain data.

        Raises:
            ModelError, ParityError: See `simplify.simplify`.
        """
        batches = list(chunks.read(Path(probes))) if probes else []
        changed, report = simplify.simplify(
            self._layers_of_model(), probes=batches, for_inference=for_inference
        )
        self._replace(changed)
        answer: dict[str, Any] = msgspec.to_builtins(report)
        return answer

    def apply_channels(
        self,
        criterion: Criterion,
        scope: Scope,
        multiple: int,
        ratio: float | None = None,
        max_macs: int | None = None,
        max_parameters: int | None = None,
        first: bool = True,
        seed: int = 0,
        curves: dict[str, sensitivity.Curve] | None = None,
    ) -> dict[str, Any]:
        """Removes the least important channels; see `channels.prune_channels`.

        `seed` is of the draw of samples, where the criterion looks at some. `first` is False for
        further cuts of the same step: the ratio is one of what was there before the first.

        Returns:
            See `channels.as_plain`.
        """
        model = self._layers_of_model()
        if criterion == "reconstruction":
            holding.refuse_adjustment(self._held)
        taken = graph.read(model)
        scores = None
        if criterion == "taylor":
            assert self._taylor is not None, "taylor_scores comes first"
            assert self._taylor[0] is model, "the scores are those of another model"
            scores = self._taylor[1]
        samples = self._unlabelled(seed) if criterion == "reconstruction" else None
        made = channels.prune_channels(
            taken, ratio, max_macs=max_macs, max_parameters=max_parameters, criterion=criterion,
            scope=scope, multiple=multiple, taylor=scores, samples=samples,
            whole=None if first else self._sizes, curves=curves,
        )  # fmt: skip
        if first:
            self._sizes = made.sizes
        self._taylor = None
        if made.removed:
            self._replace(rebuilding.rebuild(taken))
        return channels.as_plain(made)

    def apply_prune(
        self, sparsity: float | dict[str, float], pattern: str, scope: Scope, trained: bool
    ) -> dict[str, Any]:
        """Sets the smallest weights to zero; see `pruning.prune`.

        Later trainings hold the zeros. `sparsity` may be one per layer, by name.

        Returns:
            `applied` and `kept`: Removals as plain data; `held`: see `held`.
        """
        self._part_from_teacher()
        amount = pruning.Amount(sparsity, pattern, scope)
        applied, kept = pruning.prune(self._layers_of_model(), amount, trained=trained)
        self._held = Held(zeros=True)
        return self._told(applied, kept)

    def apply_cluster(
        self, clusters: int, init: Init, seed: int, for_int8: bool, trained: bool
    ) -> dict[str, Any]:
        """Moves weights to shared values; see `clustering.cluster`. Later trainings hold them.

        Returns:
            `applied` and `kept`: Removals as plain data; `held`: see `held`.
        """
        self._part_from_teacher()
        applied, kept = clustering.cluster(
            self._layers_of_model(), clusters, init, seed=seed, for_int8=for_int8, trained=trained
        )
        self._held = Held(zeros=True, clusters=clusters, for_int8=for_int8)
        return self._told(applied, kept)

    def _told(self, applied: list[Removal], kept: list[Removal]) -> dict[str, Any]:
        """What became of each layer, and what is held from now on."""
        plain: dict[str, Any] = msgspec.to_builtins({"applied": applied, "kept": kept})
        return {**plain, "held": self.held()}

    def changeable_kernels(self) -> list[dict[str, Any]]:
        """What `change_one` can then change; see `kernel_changes.Kernels.subjects`."""
        self._changes = kernel_changes.Kernels(self._layers_of_model())
        return self._changes.subjects()

    def changeable_channels(self, criterion: Criterion) -> list[dict[str, Any]]:
        """What `change_one` can then change; see `channel_changes.ChannelBundles.subjects`."""
        scores = self._taylor[1] if criterion == "taylor" and self._taylor else None
        model = self._layers_of_model()
        self._changes = channel_changes.ChannelBundles(model, criterion, scores)
        return self._changes.subjects()

    def change_one(self, name: str, change: dict[str, Any], samples: str, outputs: str) -> None:
        """Runs samples through the model while one layer is changed; see `Source.predict`.

        Args:
            name: One of the subjects of the last `changeable_…`.
            change: `share` or `bits`, as their method `changed` takes them.
            samples: A directory of `edgekit.chunks`.
            outputs: The directory to write.
        """
        assert self._changes is not None, "changeable_kernels or changeable_channels comes first"
        with self._changes.changed(name, **change):
            self.predict(samples, outputs)

    def _unlabelled(self, seed: int) -> reconstruction.Samples:
        """Some training samples without their labels, as often as they are asked for."""
        assert self._session is not None, "load_training comes first"
        data = self._session.data
        size = self._fixed_batch() or drawing.batch_size(self._model())
        batches = max(1, min(reconstruction.SAMPLES, data.count) // size)

        def draw() -> Iterator[list[NDArray[Any]]]:
            for inputs, _ in drawing.draw(data, reconstruction.SAMPLES, size, seed):
                yield inputs

        return reconstruction.Samples(draw, batches)

    def taylor_scores(self, samples: int, loss: str | None, seed: int = 0) -> dict[str, Any]:
        """Looks at training samples for the importance of channels; `apply_channels` then uses it.

        Args:
            samples: How many at most.
            loss: `file.py:function`, or None; see `losses.resolve`.
            seed: Of the draw.

        Returns:
            `samples`: how many were looked at.

        Raises:
            DataError: The labels do not fit the model, or the loss is not finite.
            ModelError: No layer has channels that could go.
        """
        assert self._session is not None, "load_training comes first"
        self._layers_of_model()
        task = self._session.task_loss(self._model(), loss)
        size = self._fixed_batch() or taylor.BATCH
        batches = drawing.draw(self._session.data, samples, size, seed)
        scores, seen = taylor.of_model(self._model(), task, batches)
        self._taylor = (self._model().model, scores)
        return {"samples": seen}

    def recalibrate(self, samples: int = recalibration.SAMPLES, seed: int = 0) -> dict[str, int]:
        """Measures the statistics of batch normalization again on training samples.

        Returns:
            `layers` that were set, and `samples`; see `recalibration.recalibrate`.

        Raises:
            DataError: The statistics are not finite.
        """
        assert self._session is not None, "load_training comes first"
        size = drawing.batch_size(self._model())
        batches = drawing.draw(self._session.data, samples, size, seed)
        return recalibration.recalibrate(self._layers_of_model(), (inputs for inputs, _ in batches))

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

    def take_weights(self, path: str, zeros: bool, clusters: int | None) -> dict[str, Any]:
        """Takes weights by layer that another engine has made of those of this model.

        Args:
            path: An .npz of `tfmot_keeping.write`.
            zeros: Whether zeros are to be held from now on.
            clusters: How many values a kernel has that are to be held, or None.

        Returns:
            `held`: see `held`.
        """
        taken = graph.read(self._layers_of_model())
        tfmot_keeping.put(taken, tfmot_keeping.read(Path(path)))
        self._replace(rebuilding.rebuild(taken))
        self._held = Held(zeros=zeros or self._held.zeros, clusters=clusters or self._held.clusters)
        return {"held": self.held()}

    def save(self, path: str) -> None:
        """Writes the model as .keras; see `saving.save`."""
        saving.save(self._layers_of_model(), Path(path))

    def check_saved(self, path: str, trust: bool) -> None:
        """Opens what was saved with Keras alone; see `saving.check`."""
        saving.check(self._layers_of_model(), Path(path), trust=trust)

    def interface(self) -> dict[str, Any]:
        """`inputs` and `outputs`: TensorSpecs of the model as it is now."""
        loaded = self._model()
        return {
            "inputs": msgspec.to_builtins(loaded.inputs),
            "outputs": msgspec.to_builtins(loaded.outputs),
        }

    def _layers_of_model(self) -> Any:
        model = self._model().model
        if model is None:
            raise ModelError(
                "the model carries its computation only, and no layers that could be changed",
                "name the .keras or .h5 file that it was exported from",
            )
        return model
