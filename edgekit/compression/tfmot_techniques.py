"""Pruning, clustering and quantization-aware training by TFMOT: how a model gets in and out.

Each technique wraps layers of a tf_keras model, is told when an epoch ends, and gives the weights
back by layer. Importing TFMOT switches `tf.keras` of this process to the old Keras: only for a
worker of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from numpy.typing import NDArray
from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster

from edgekit.compression import tfmot_rules
from edgekit.compression.graph import Graph
from edgekit.compression.tfmot_replay import Replayed
from edgekit.prune_schedule import RAMP_SHARE
from edgekit.recipe_types import ClusterStep, PruneStep

Array = NDArray[Any]
Weights = dict[str, list[Array]]
"""By the layer's name in the Keras 3 graph."""

MOST_FREQUENT = 100
"""TFMOT's own distance between two updates of the masks, where the ramp is long enough."""
RAMP_UPDATES = 10


class Technique(Protocol):
    """What a step has TFMOT do."""

    model: Any
    """The wrapped tf_keras model, to be trained."""
    notes: list[str]
    settled_at: int
    """The first step after which the model is what the step asks for; 0: it is from the start."""

    def settle(self) -> None:
        """Brings the weights to what they are held to; called when an epoch ends."""

    def weights(self) -> Weights:
        """The weights of all layers as they are to be kept."""

    def unkept(self) -> dict[str, list[Any]]:
        """The variables of kernels whose zeros and clusters training would undo, by layer."""


class Pruning:
    """`prune_low_magnitude`, layer by layer."""

    def __init__(
        self,
        replayed: Replayed,
        ruling: tfmot_rules.Ruling,
        taken: Graph,
        step: PruneStep,
        steps: int,
    ) -> None:
        self._names, self._taken = replayed.names, taken
        gradual, at_once = step.schedule == "polynomial" and steps > 0, ":" in step.pattern
        ramp = gradual and not at_once
        schedule, last = _schedule(float(step.sparsity), steps, ramp=ramp)
        pattern = _pattern(step.pattern)

        def wrap(layer: Any) -> Any:
            if self._names.get(layer.name) not in ruling.treated:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule, **pattern)

        self.model = tf_keras.models.clone_model(replayed.model, clone_function=wrap)
        told = f"TFMOT makes the zeros of the pattern {step.pattern} all at once, before it trains"
        self.notes = [told] * (gradual and at_once)
        self.settled_at, self._last = last if ramp else 0, max(1, last)
        self._start(0 if ramp else self._last)

    def _wrapped(self) -> Iterator[Any]:
        return (layer for layer in self.model.layers if hasattr(layer, "pruning_obj"))

    def _start(self, step: int) -> None:
        """Sets the step that the wrappers count from; a step that prunes does so at once."""
        for layer in self._wrapped():
            layer.pruning_step.assign(step)
            if step:
                layer.pruning_obj.conditional_mask_update()
        self.settle()

    def settle(self) -> None:
        """Weights move in the last update before they are masked again."""
        for layer in self._wrapped():
            layer.pruning_obj.weight_mask_op()

    def weights(self) -> Weights:
        """Without the wrappers; zeros that a training which was broken off still owes come now."""
        if any(int(layer.pruning_step) < self.settled_at for layer in self._wrapped()):
            self._start(self._last)
        return _plain_weights(tfmot.sparsity.keras.strip_pruning(self.model), self._names)

    def unkept(self) -> dict[str, list[Any]]:
        """Those of the layers that are left alone."""
        return plain_kernels(self.model, self._names, self._taken)


class Clustering:
    """`cluster_weights`, layer by layer, with as many values as a layer has weights for."""

    def __init__(
        self,
        replayed: Replayed,
        ruling: tfmot_rules.Ruling,
        taken: Graph,
        step: ClusterStep,
        *,
        zeros: bool,
    ) -> None:
        self._names, self._taken = replayed.names, taken
        initial = tfmot.clustering.keras.CentroidInitialization
        start = {"density": initial.DENSITY_BASED, "k-means++": initial.KMEANS_PLUS_PLUS}[step.init]
        capped: list[str] = []

        def wrap(layer: Any) -> Any:
            name = self._names.get(layer.name)
            if name not in ruling.treated:
                return layer
            source = taken.layers[str(name)]
            count = tfmot_rules.clusters_of(source, step.clusters, zeros=zeros)
            if count < step.clusters:
                capped.append(f"{name}: {count}")
            return cluster.cluster_weights(
                layer, count, start,
                preserve_sparsity=zeros and tfmot_rules.keeps_zeros(source),
            )  # fmt: skip

        self.model = tf_keras.models.clone_model(replayed.model, clone_function=wrap)
        self.notes = [f"too few weights for {step.clusters} values: {', '.join(capped)}"] * bool(
            capped
        )
        self.settled_at = 0

    def settle(self) -> None:
        """Centroids are held whenever the model runs."""

    def weights(self) -> Weights:
        """Without the wrappers."""
        return _plain_weights(tfmot.clustering.keras.strip_clustering(self.model), self._names)

    def unkept(self) -> dict[str, list[Any]]:
        """Those of the layers that are left alone."""
        return plain_kernels(self.model, self._names, self._taken)


def plain_kernels(model: Any, names: dict[str, str], taken: Graph) -> dict[str, list[Any]]:
    """The kernels of layers that are not wrapped, by the layer's name in the graph."""
    found = {}
    for layer in model.layers:
        name = names.get(layer.name)
        if name is not None and layer.weights:
            places = tfmot_rules.kernels(taken.layers[name])
            found[name] = [layer.weights[place] for place in places]
    return found


def _schedule(sparsity: float, steps: int, *, ramp: bool) -> tuple[Any, int]:
    """A schedule whose last update falls on its last step, and that step.

    TFMOT updates masks at multiples of a distance; an end between two of them is never reached, and
    neither is the sparsity.
    """
    if not ramp:
        return tfmot.sparsity.keras.ConstantSparsity(sparsity, 0, frequency=1, end_step=1), 1
    length = max(1, math.ceil(RAMP_SHARE * steps))
    every = min(MOST_FREQUENT, max(1, length // RAMP_UPDATES))
    last = every * max(1, length // every)
    made = tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, 0, last, frequency=every)
    return made, last


def _pattern(text: str) -> dict[str, Any]:
    """A pattern in TFMOT's terms, which counts the zeros of N:M where edgekit counts the others."""
    if ":" in text:
        stay, of = map(int, text.split(":"))
        return {"sparsity_m_by_n": (of - stay, of)}
    if "x" in text:
        return {"block_size": tuple(map(int, text.split("x")))}
    return {}


def _plain_weights(model: Any, names: dict[str, str]) -> Weights:
    return {
        names[layer.name]: [np.asarray(weight) for weight in layer.get_weights()]
        for layer in model.layers
        if layer.weights
    }
