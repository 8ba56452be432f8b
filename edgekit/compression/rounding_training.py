"""Trains the rounding of a twin: weights move by a step of their grid at most, biases, ranges.

Every kernel weight may go to the grid points beside it, as in AdaRound (Nagel et al. 2020, arXiv
2004.10568), found here by straight-through gradients; the largest of each channel stays, so that
the grid does. What is to be learned is the float model itself, at every activation that is rounded
and at the outputs: no labels. Imports TensorFlow: for workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import fake_quant
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.tracing import Traced

Array = NDArray[Any]

RATE = 0.005
"""Of a step of each grid, per training step, at the start; it ends at 0 (cosine)."""
DECAYS = 0.9, 0.999
EPSILON = 1e-12


class Trainable(NamedTuple):
    """A variable, the size of a step of its grid, and the lowest and highest it may become."""

    variable: Any
    unit: Array
    low: Array
    high: Array


class RoundingTraining:
    """Adam on a twin against its float teacher, in units of each grid.

    Args:
        twin: With calibrated ranges.
        teacher: A twin of the same layers, whose weights stay; it does not round.
    """

    def __init__(self, twin: Twin, teacher: Twin) -> None:
        self._twin, self._teacher = twin, teacher
        self._trained = [*_kernels(twin), *_biases(twin), *_ranges(twin)]
        self._moments = [
            tuple(tf.Variable(tf.zeros(one.unit.shape), trainable=False) for _ in DECAYS)
            for one in self._trained
        ]
        self._done, self._rate = (tf.Variable(0.0, trainable=False) for _ in range(2))
        self._step = Traced(self._trace)

    def step(self, inputs: Sequence[Array], share: float) -> float:
        """One step on a batch, `share` of the training being done; the loss before it."""
        self._rate.assign(RATE * 0.5 * (1 + math.cos(math.pi * share)))
        return float(self._step(inputs))

    def _trace(self, inputs: list[Any]) -> Any:
        exact: dict[str, Any] = {}
        answers = self._teacher.run(inputs, rounding=False, seen=exact.setdefault)
        with tf.GradientTape() as tape:
            rounded: dict[str, Any] = {}
            made = self._twin.run(inputs, training=True, seen=rounded.setdefault)
            errors = [_error(rounded[name], exact[name]) for name in exact]
            inner = tf.add_n(errors) / max(1, len(errors))
            outer = tf.add_n([_error(*pair) for pair in zip(made, answers, strict=True)])
            loss = inner + outer
        values = [one.variable.value for one in self._trained]
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        self._done.assign_add(1.0)
        for one, gradient, moments in zip(self._trained, gradients, self._moments, strict=True):
            self._move(one, gradient, moments)
        return loss

    def _move(self, one: Trainable, gradient: Any, moments: Any) -> None:
        """Adam (Kingma and Ba 2015, arXiv 1412.6980) on the variable over its unit."""
        scaled = gradient * one.unit
        means = []
        for moment, decay, value in zip(moments, DECAYS, (scaled, scaled**2), strict=True):
            moment.assign(decay * moment + (1 - decay) * value)
            means.append(moment / (1 - decay**self._done))
        moved = one.variable.value - self._rate * one.unit * means[0] / (
            tf.sqrt(means[1]) + EPSILON
        )
        one.variable.assign(tf.clip_by_value(moved, one.low, one.high))


def _error(ours: Any, theirs: Any) -> Any:
    """Squared error over the teacher's variance."""
    theirs = tf.stop_gradient(theirs)
    spread = tf.math.reduce_variance(theirs) + 1e-12
    return tf.reduce_mean(tf.square(ours - theirs)) / spread


def _kernels(twin: Twin) -> list[Trainable]:
    found = []
    for variable, channels in twin.kernels():
        value = variable.numpy()
        others = tuple(axis for axis in range(value.ndim) if axis not in channels)
        largest = np.abs(value).max(axis=others, keepdims=True)
        unit = np.broadcast_to(largest / fake_quant.LARGEST_WEIGHT, value.shape).astype(np.float32)
        fixed = np.abs(value) >= largest
        low = np.where(fixed | (value == 0), value, np.maximum(value - unit, -largest))
        high = np.where(fixed | (value == 0), value, np.minimum(value + unit, largest))
        found.append(Trainable(variable, unit, low, high))
    return found


def _biases(twin: Twin) -> list[Trainable]:
    """Biases of the layers with rounded kernels, in steps of a 255th of their largest."""
    found = []
    for name, kernels in twin.rules.kernels.items():
        weights = twin.graph.layers[name].source.weights
        for variable in weights[len(kernels) :]:
            value = variable.numpy()
            size = max(float(np.abs(value).max()), 1e-3) / 255
            unit = np.full(value.shape, size, np.float32)
            found.append(Trainable(variable, unit, value - np.inf, value + np.inf))
    return found


def _ranges(twin: Twin) -> list[Trainable]:
    lows, highs = twin.lows.numpy(), twin.highs.numpy()
    unit = np.maximum(highs - lows, 1e-6) / 255
    nothing = np.zeros_like(lows)
    return [
        Trainable(twin.lows, unit, lows - np.inf, nothing),
        Trainable(twin.highs, unit, nothing, highs + np.inf),
    ]
