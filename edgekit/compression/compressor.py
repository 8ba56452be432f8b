"""The open model while a recipe changes it, step by step; runs in a worker (imports Keras)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, held, keras_layers, keras_loading, loading
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
    rebuilding,
    recalibration,
    reconstruction,
    saving,
    sensitivity,
    simplify,
    students,
    taylor,
    tfmot_keeping,
)  # fmt: skip
from edgekit.compression.channel_order import Scope
from edgekit.compression.clustering import Init
from edgekit.compression.importance import Criterion
from edgekit.compression.learner import Learner
from edgekit.held import Held
from edgekit.recipe_types import RecipeStep, Removal, pattern_of


class Compressor(Learner):
    """A source whose model can be changed and saved."""

    _taylor: tuple[Any, NDArray[Any]] | None = None
    _sizes: Mapping[str, int] | None = None
    _changes: kernel_changes.Kernels | channel_changes.ChannelBundles | None = None

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
        self._held = held.of_file(self._student_path)
        return {"notes": list(student.notes)}

    def explain(
        self, steps: list[dict[str, Any]], multiple: int, per_tensor: list[str]
    ) -> list[Any]:
        """What each step of a recipe would do to the model, which stays as it is.

        Args:
            steps: `recipe_types.RecipeStep`s as plain data, with budgets as numbers.
            multiple: What channel counts are rounded up to.
            per_tensor: TFLite operators whose weights get one int8 scale; "*" for all.

        Returns:
            An `explaining.Told` as plain data for each.

        Raises:
            ModelError: The model has no layers to work on, or one that cannot be rebuilt.
        """
        wanted = msgspec.convert(steps, list[RecipeStep])
        told = explaining.explain(self._layers_of_model(), wanted, multiple, self._path, per_tensor)
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
            self._layers_of_model(), probes=batches, for_inference=for_inference,
            channels=not self._held.groups,
        )  # fmt: skip
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
        groups = self._held.groups or pattern_of(pattern).kind == "N:M"
        self._held = Held(zeros=True, groups=groups)
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
        self._held = Held(True, clusters, for_int8, groups=self._held.groups)
        return self._told(applied, kept)

    def _told(self, applied: list[Removal], kept: list[Removal]) -> dict[str, Any]:
        """What became of each layer, and what is held from now on."""
        plain: dict[str, Any] = msgspec.to_builtins({"applied": applied, "kept": kept})
        return {**plain, "held": self.held()}

    def changeable_kernels(self, trained: bool = False) -> list[dict[str, Any]]:
        """What `change_one` can then change; see `kernel_changes.Kernels.subjects`."""
        self._changes = kernel_changes.Kernels(self._layers_of_model(), trained=trained)
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

    def take_weights(
        self, path: str, zeros: bool, clusters: int | None, groups: bool
    ) -> dict[str, Any]:
        """Takes weights by layer that another engine has made of those of this model.

        Args:
            path: An .npz of `tfmot_keeping.write`.
            zeros: Whether zeros are to be held from now on.
            groups: Whether they stand in groups, as `held.Held` has it.
            clusters: How many values a kernel has that are to be held, or None.

        Returns:
            `held`: see `held`.
        """
        taken = graph.read(self._layers_of_model())
        tfmot_keeping.put(taken, tfmot_keeping.read(Path(path)))
        self._replace(rebuilding.rebuild(taken))
        self._held = Held(
            zeros or self._held.zeros, clusters or 0, groups=groups or self._held.groups
        )
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
