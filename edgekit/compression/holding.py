"""What later steps must not undo: zeros of pruned kernels, and values that clustered weights share.

Both are seen anew in the weights at the start of each training, so that nothing has to be carried
through what rebuilds a model. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from edgekit import prune_schedule
from edgekit.compression import clustering, kernel_matrices, pruning
from edgekit.compression.clustering import Levels
from edgekit.compression.kernel_matrices import Kernel
from edgekit.compression.pruning import Amount
from edgekit.errors import ModelError
from edgekit.held import Held

TINY = 1e-12


class Holding(Protocol):
    """A `training.Constraint` with something to be done when training is over."""

    def before(self, step: int, steps: int) -> None:
        """See `training.Constraint`."""

    def project(self) -> None:
        """See `training.Constraint`."""

    def settle(self) -> None:
        """Told after training, when the weights are those that are kept."""


def refuse_adjustment(held: Held) -> None:
    """Raises where weights cannot be adjusted freely.

    Raises:
        ModelError: Zeros or shared values are held.
    """
    if held.zeros:
        raise ModelError(
            "criterion reconstruction adjusts weights freely, and the zeros or shared values of a"
            " step prune or cluster are to be held",
            "put the step channels before those, or give it another criterion",
        )


def constraints(model: Any, held: Held, gradual: Mapping[str, Any] | None = None) -> list[Holding]:
    """What the weights of a model are held to while it trains.

    Args:
        model: A Keras model of connected layers.
        held: What earlier steps made.
        gradual: `pruning.Amount` as plain data, for zeros that come while it trains; shared values
            are not held then.
    """
    kernels, _ = kernel_matrices.find(model, trained=True)
    made: list[Holding] = []
    if gradual is not None:
        amount = Amount(**gradual)
        made.append(Pruning(pruning.fitting(kernels, amount)[0], amount))
    if held.zeros:
        made.append(Zeros(kernels))
    if held.clusters and gradual is None:
        made.append(SharedValues(kernels, held))
    return made


class Zeros:
    """Weights that are zero stay zero."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self._held = [
            (one.variable, tf.Variable(one.values != 0, trainable=False)) for one in kernels
        ]

    def before(self, step: int, steps: int) -> None:
        """Nothing changes."""

    def project(self) -> None:
        """See `training.Constraint`."""
        for variable, mask in self._held:
            value = variable.value
            variable.assign(tf.where(mask, value, tf.zeros_like(value)))

    def settle(self) -> None:
        """Nothing is left to be done."""


class Pruning(Zeros):
    """Zeros come little by little, and stay."""

    def __init__(self, kernels: Sequence[Kernel], amount: Amount) -> None:
        super().__init__(kernels)
        self._kernels, self._amount = kernels, amount

    def before(self, step: int, steps: int) -> None:
        """Chooses more zeros where it is time."""
        if not prune_schedule.is_update(step, steps):
            return
        chosen = pruning.masks(self._kernels, self._amount, prune_schedule.ramp(step, steps))
        for (variable, mask), stays in zip(self._held, chosen, strict=True):
            mask.assign(stays)
            value = np.array(variable)
            variable.assign(np.where(stays, value, np.zeros_like(value)))


class SharedValues:
    """Weights that are equal stay equal: values move, not what has them.

    Each value moves to the mean of what its weights have become: the gradient of a shared value,
    projected. For int8, values are parts of a scale per output, which moves too: both by least
    squares, while zero and the ends of the range stay.
    """

    def __init__(self, kernels: Sequence[Kernel], held: Held) -> None:
        found = (
            (one, clustering.levels_of(one, held.clusters, for_int8=held.for_int8))
            for one in kernels
        )
        self._for_int8 = held.for_int8
        self._held = [_Shared(kernel, levels) for kernel, levels in found if levels is not None]

    def before(self, step: int, steps: int) -> None:
        """Nothing changes."""

    def project(self) -> None:
        """See `training.Constraint`."""
        for shared in self._held:
            shared.project(scaled=self._for_int8)

    def settle(self) -> None:
        """Puts values on the grid of int8, each as a whole, so that channels keep sharing them."""
        for shared in self._held if self._for_int8 else ():
            shared.settle()


class _Shared:
    """One kernel of shared values."""

    def __init__(self, kernel: Kernel, levels: Levels) -> None:
        self._kernel, self._levels = kernel, levels
        self._places = tf.constant(kernel_matrices.restored(kernel, levels.places), tf.int32)
        self._values = tf.Variable(levels.values, trainable=False, dtype=tf.float32)
        self._fixed = tf.constant(np.isin(levels.values, [-1.0, 0.0, 1.0]))
        self._axes = clustering.axes_of_a_scale(kernel)

    def project(self, *, scaled: bool) -> None:
        variable = self._kernel.variable
        weights = tf.cast(variable.value, tf.float32)
        parts = tf.gather(self._values, self._places)
        scales = tf.ones_like(weights)
        if scaled:
            over = tf.reduce_sum(parts**2, self._axes, keepdims=True)
            best = tf.reduce_sum(weights * parts, self._axes, keepdims=True) / tf.maximum(over, 1.0)
            scales *= tf.maximum(best, TINY)
        mass = self._sum(scales**2)
        moved = self._sum(weights * scales) / tf.maximum(mass, TINY)
        if scaled:
            moved = tf.where(self._fixed, self._values, tf.clip_by_value(moved, -1.0, 1.0))
        else:
            moved = tf.where(self._values == 0.0, 0.0, moved)
        self._values.assign(moved)
        variable.assign(tf.cast(tf.gather(moved, self._places) * scales, variable.value.dtype))

    def settle(self) -> None:
        kernel, places = self._kernel, self._levels.places
        matrices = kernel_matrices.matrices(kernel, kernel.values).astype(np.float64)
        scales = clustering.scales_of(kernel, matrices)
        counts = np.bincount(places.ravel(), minlength=self._levels.values.size)
        sums = np.bincount(places.ravel(), (matrices / scales).ravel(), counts.size)
        values = clustering.on_grid(sums / np.maximum(counts, 1))
        clustering.store(kernel, Levels(values, places, scales))

    def _sum(self, numbers: Any) -> Any:
        """Sums of what has each value."""
        places = tf.reshape(self._places, [-1])
        return tf.math.unsorted_segment_sum(
            tf.reshape(numbers, [-1]), places, self._levels.values.size
        )
