"""TensorFlow Model Optimization in a process of its own, behind the methods that training calls.

TFMOT takes tf_keras models only, and importing it makes the old Keras the process's `tf.keras`. So
a model comes here as a file, is replayed into tf_keras, and goes back as weights by layer.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tensorflow as tf

from edgekit.compression import (
    compile_config,
    graph,
    losses,
    tfmot_keeping,
    tfmot_quantization,
    tfmot_replay,
    tfmot_rules,
    tfmot_techniques,
    tfmot_training,
    training,
    training_data,
    training_plan,
    training_state,
)
from edgekit.compression.tfmot_rules import OWN_ENGINE
from edgekit.compression.tfmot_techniques import Technique
from edgekit.errors import ModelError, one_line
from edgekit.keras_loading import LOADER_ERRORS, Loaded
from edgekit.keras_source import Source
from edgekit.recipe_types import ClusterStep, PruneStep, QuantizeStep, RecipeStep
from edgekit.types import TensorSpec


class Engine(Source):
    """One step of one model."""

    _technique: Technique | None = None
    _passes: training.Passes | None = None
    _data: training_data.TrainingData | None = None
    _kept: tuple[np.ndarray[Any, Any], ...] = ()

    def begin(
        self, path: str, step: dict[str, Any], held: dict[str, Any], trust: bool
    ) -> dict[str, Any]:
        """Opens a model for a step.

        Args:
            path: A .keras file that edgekit wrote.
            step: A prune, cluster or quantize step as plain data.
            held: `zeros` and `clusters`: whether earlier steps pruned, and into how many values
                the last one clustered (None: none did).
            trust: Run code that the file carries.

        Returns:
            `treated` and `left`: layers by name, each with what happens to it and why.

        Raises:
            ModelError: A layer cannot be replayed, or none can be treated.
        """
        self.open(path, trust)
        self._origin = self._model()
        self._taken = graph.read(self._origin.model)
        self._step: Any = msgspec.convert(step, RecipeStep)
        self._held = held
        self._ruling = tfmot_rules.of_step(self._taken, self._step, zeros=bool(held["zeros"]))
        if not any(self._ruling.treated.values()):
            raise ModelError(f"TFMOT can {step['kind']} no layer of this model", OWN_ENGINE)
        return {"treated": self._ruling.treated, "left": self._ruling.left}

    def load_training(
        self, spooled: str, preprocess: str, seed: int, augment: str | None, source: str,
        directory: str,
    ) -> None:  # fmt: skip
        """Takes the training samples that the compressor has read.

        Args:
            spooled: The directory that it was given for them.
            preprocess: The value of `--preprocess`.
            seed: Of the augmentation.
            augment: `file.py:function`, or None.
            source: The model's original file, for how it was compiled.
            directory: For augmented samples.
        """
        tempfile.tempdir = str(Path(directory).parent)  # which goes with the staging directory
        self._data = training_data.reopen(
            Path(spooled), self._origin.inputs, preprocess,
            seed=seed, augment=augment, directory=Path(directory),
        )  # fmt: skip
        self._config = compile_config.read(Path(source))

    def apply_once(self) -> None:
        """Does the step without training."""
        self._wrap(steps=0, steps_per_epoch=0)

    def start_training(
        self,
        epochs: int,
        learning_rate: float | None,
        batch_size: int | None,
        seed: int,
        loss: str | None,
        distill: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """Sets a training up; see `Compressor.start_training`. Nobody teaches here.

        Returns:
            Also `first_epoch`: the first one that ends with a model as the step wants it.
        """
        assert distill is None, "TFMOT trains on labels alone"
        assert self._data is not None, "load_training comes first"
        task = losses.resolve(self._origin, self._data, self._config, loss)
        settings, notes = training_plan.plan(
            self._origin, self._data.count, self._config, epochs=epochs,
            learning_rate=learning_rate, batch_size=batch_size, seed=seed, distilling=False,
        )  # fmt: skip
        training.make_deterministic(seed)
        technique = self._wrap(
            steps=epochs * settings.steps_per_epoch, steps_per_epoch=settings.steps_per_epoch
        )
        variables, frozen = tfmot_keeping.trained(technique, self._taken, self._held)
        if not variables:
            raise ModelError("nothing can be trained: every layer is frozen", OWN_ENGINE)
        self._passes = training.Passes(
            self._data, settings,
            tfmot_training.step(technique.model, variables, task, settings),
            target_input=task.target_input,
        )  # fmt: skip
        return {
            "steps_per_epoch": settings.steps_per_epoch,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "loss": task.name,
            "first_epoch": -(-technique.settled_at // settings.steps_per_epoch),
            "notes": [*task.notes, *notes, *self._notes, *technique.notes, *frozen],
        }

    def advance(self, limit_s: float) -> dict[str, Any]:
        """Trains for about `limit_s` seconds; see `training.Passes.advance`."""
        assert self._passes is not None, "start_training comes first"
        state = self._passes.advance(limit_s)
        if state["epoch_done"]:
            self._wrapped().settle()
        return state

    def keep(self) -> None:
        """Remembers the weights of now, and what TFMOT keeps beside them."""
        self._kept = tuple(np.asarray(one) for one in self._wrapped().model.weights)

    def restore(self) -> None:
        """Goes back to what `keep` remembers."""
        for variable, value in zip(self._wrapped().model.weights, self._kept, strict=True):
            variable.assign(value)

    def end_training(self) -> None:
        """Frees what training needed."""
        self._passes = None

    def finish(self, path: str) -> dict[str, Any]:
        """Takes the wrappers off and writes the weights.

        Args:
            path: The .npz to write; see `tfmot_keeping.write`.

        Returns:
            `treated` as it turned out, and after quantization-aware training `collaboration`
            ("PQAT"), `ranges` and `float_layers`.
        """
        technique = self._wrapped()
        weights = technique.weights()
        self._check(weights)
        tfmot_keeping.write(Path(path), weights)
        if not isinstance(technique, tfmot_quantization.Quantizing):
            return {}
        return {
            "collaboration": technique.collaboration,
            "ranges": technique.ranges(),
            "float_layers": dict(sorted(self._ruling.left.items())),
        }

    def _check(self, weights: tfmot_techniques.Weights) -> None:
        """What earlier steps gave has to be there still, where this step is not to change it."""
        treated = set(self._ruling.treated)
        pruned = treated if isinstance(self._step, PruneStep) else set()
        changed = treated if isinstance(self._step, ClusterStep) else pruned
        tfmot_keeping.check(
            self._taken, weights, self._held,
            zeros_of=weights.keys() - pruned, clusters_of=weights.keys() - changed,
        )  # fmt: skip

    def _wrapped(self) -> Technique:
        assert self._technique is not None, "start_training or apply_once comes first"
        return self._technique

    def _wrap(self, *, steps: int, steps_per_epoch: int) -> Technique:
        momentum = self._momentum(steps_per_epoch)
        replayed = tfmot_replay.replay_graph(self._taken, momentum)
        try:
            self._technique = self._made(replayed, steps)
        except LOADER_ERRORS as error:
            raise ModelError(
                f"TFMOT cannot prepare this model: {one_line(str(error))[:300]}", OWN_ENGINE
            ) from None
        self._loaded = _callable(self._origin, self._technique.model)
        self._functions = {}
        return self._technique

    def _made(self, replayed: tfmot_replay.Replayed, steps: int) -> Technique:
        zeros, clusters = bool(self._held["zeros"]), self._held["clusters"]
        step, ruling = self._step, self._ruling
        if isinstance(step, PruneStep):
            return tfmot_techniques.Pruning(replayed, ruling, self._taken, step, steps)
        if isinstance(step, ClusterStep):
            return tfmot_techniques.Clustering(replayed, ruling, self._taken, step, zeros=zeros)
        assert isinstance(step, QuantizeStep), step
        return tfmot_quantization.Quantizing(
            replayed, ruling, self._taken, steps=steps, zeros=zeros, clusters=clusters is not None
        )

    def _momentum(self, steps_per_epoch: int) -> dict[str, float]:
        """See `training_state.Altered`."""
        self._notes: list[str] = []
        found = {}
        for layer in self._taken.layers.values():
            if layer.kind == "BatchNormalization" and steps_per_epoch:
                own = float(layer.config["momentum"])
                found[layer.name] = training_state.momentum(own, steps_per_epoch)
                if found[layer.name] != own:
                    told = (
                        f"batch normalization averages with momentum {found[layer.name]:g} while"
                        f" training: an epoch has {steps_per_epoch} steps"
                    )
                    self._notes = [told]
        return found


def _callable(origin: Loaded, model: Any) -> Loaded:
    """The wrapped model under the interface of the one that it was made from."""

    def call(tensors: Any) -> list[Any]:
        return list(tf.nest.flatten(model(list(tensors), training=False)))

    inputs: tuple[TensorSpec, ...] = origin.inputs
    return Loaded(call=call, inputs=inputs, outputs=origin.outputs, owner=model)
