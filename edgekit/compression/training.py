"""Trains the open model: one deterministic `tf.function` step, driven in slices of time.

Adam with cosine decay to 0 after a warm-up, gradients clipped by their global norm. The step is
not compiled by XLA (slower on CPUs, measured), and always computes in float32: mixed_bfloat16 took
5 times as long on a CPU without bfloat16 instructions (305 against 62 ms of CPU time, small CNN).
An update is applied only if loss and gradient are finite. Imports TensorFlow: for workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import training_plan
from edgekit.compression.losses import TaskLoss
from edgekit.compression.training_data import TrainingData
from edgekit.compression.training_plan import Settings
from edgekit.compression.training_state import Altered
from edgekit.errors import DataError, ModelError, one_line
from edgekit.keras_loading import Loaded

Array = NDArray[Any]
Forward = Callable[[list[Any]], list[Any]]
"""Tensors in the order of `Loaded.inputs` to those of `Loaded.outputs`, in training mode."""

CLIP_NORM = 1.0
_PLACES = ("File ", "Detected at", "Graph execution", "defined at", "[[", "<stack", "(most recent")


class Objective(Protocol):
    """What training minimises; regularization losses of the model are added by the trainer."""

    variables: list[Any]
    """Keras variables to train: the student's, and projections where there are some."""

    def forward(self, inputs: list[Any]) -> Any:
        """Runs the student with training=True on tensors in the order of `Loaded.inputs`."""

    def loss(self, answer: Any, y: Any, taught: Any) -> Any:
        """A scalar from what `forward` gave.

        Args:
            answer: As `forward` returned it.
            y: The target of the task loss ([n, …] tensor), or None without labels.
            taught: Tensor of what `taught` gave for the same samples, or None.
        """

    def taught(self, view: int, numbers: Array) -> Array | None:
        """The teacher's outputs for samples of a view, by number; None where there are none."""


class Constraint(Protocol):
    """What weights are held to while they train."""

    def before(self, step: int, steps: int) -> None:
        """Told, eagerly, before each training step, which one of how many over all epochs comes."""

    def project(self) -> None:
        """Puts the weights back to what they are held to; traced into the step, after its update.

        Variables that it reads (masks, say) may be changed by `before`.
        """


class TaskObjective:
    """The task loss alone: fine-tuning."""

    def __init__(self, student: Loaded, task: TaskLoss, forward: Forward | None = None) -> None:
        self.variables = list(student.model.trainable_variables)
        self._student, self._task = student, task
        self._forward = forward or partial(outputs_in_training, student)

    def forward(self, inputs: list[Any]) -> list[Any]:
        """The outputs, in the order of `Loaded.outputs`."""
        return self._forward(inputs)

    def loss(self, answer: list[Any], y: Any, taught: Any) -> Any:  # noqa: ARG002
        """The task loss."""
        return self._task(y, answer)

    def taught(self, view: int, numbers: Array) -> None:  # noqa: ARG002
        """Nobody teaches."""
        return


def outputs_in_training(student: Loaded, inputs: list[Any]) -> list[Any]:
    """A model's outputs in training mode (dropout on, batch statistics), in order."""
    model = student.model
    graph = getattr(model, "_functional", None) or model
    packed = keras.tree.pack_sequence_as(graph._inputs_struct, list(inputs))
    return list(keras.tree.flatten(model(packed, training=True)))


def make_deterministic(seed: int) -> None:
    """Same seed, same bytes. Costs nothing that can be measured on CPUs (± 3 % of a small CNN)."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


class Passes:
    """Epochs over training data, in slices of time; what a step does comes from outside."""

    def __init__(
        self,
        data: TrainingData,
        settings: Settings,
        function: Callable[..., tuple[Any, Any]],
        *,
        taught: Callable[[int, Array], Array | None] | None = None,
        target_input: int | None,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        self._data, self.settings = data, settings
        self._function, self._taught = function, taught
        self._target_input, self._constraints = target_input, constraints
        self._epoch = self._step = 0
        self._order: Array | None = None
        self._losses: list[float] = []
        self._failed_at: int | None = None

    def advance(self, limit_s: float) -> dict[str, Any]:
        """Trains for about `limit_s` seconds, to the end of the epoch at most.

        Returns:
            `epoch` (from 1), `step` of `steps_per_epoch`, `loss` (mean of this epoch so far, NaN
            before the first step), `epoch_done`, `failed_at`: the step, counted from 1 over all
            epochs, whose loss or gradient was not finite (that update was not applied).
        """
        assert self._epoch < self.settings.epochs, "all epochs are done"
        started = time.monotonic()
        view = self._epoch % self._data.views
        if self._failed_at is None and self._data.prepare(view, limit_s):
            while self._step < self.settings.steps_per_epoch and self._train(view):
                if time.monotonic() - started >= limit_s:
                    break
        done = self._step == self.settings.steps_per_epoch
        progress = {
            "epoch": self._epoch + 1,
            "step": self._step,
            "steps_per_epoch": self.settings.steps_per_epoch,
            "loss": float(np.mean(self._losses)) if self._losses else math.nan,
            "epoch_done": done,
            "failed_at": self._failed_at,
        }
        if done:
            self._epoch, self._step, self._order, self._losses = self._epoch + 1, 0, None, []
        return progress

    def _train(self, view: int) -> bool:
        """One step; False where it failed."""
        numbers = self._numbers()
        inputs, y = self._data.batch(view, numbers)
        if self._target_input is not None:
            y = inputs[self._target_input]
        taught = self._taught(view, numbers) if self._taught else None
        done = self._epoch * self.settings.steps_per_epoch + self._step
        for constraint in self._constraints:
            constraint.before(done, self.settings.epochs * self.settings.steps_per_epoch)
        loss, finite = self._call([tf.constant(array) for array in inputs], _tensor(y), taught)
        if not finite:
            self._failed_at = done + 1
            return False
        self._losses.append(loss)
        self._step += 1
        return True

    def _call(self, inputs: list[Any], y: Any, taught: Any) -> tuple[float, bool]:
        try:
            loss, finite = self._function(inputs, y, _tensor(taught))
        except tf.errors.OpError as error:
            raise ModelError(
                f"TensorFlow cannot train this model: {_reason(error.message)}",
                "check the labels, --loss and --augment, or leave the training steps out",
            ) from None
        return float(loss), bool(finite)

    def _numbers(self) -> Array:
        if self._order is None:
            random = np.random.default_rng([self.settings.seed, self._epoch])
            order = random.permutation(self._data.count)
            wanted = self.settings.steps_per_epoch * self.settings.batch_size
            self._order = np.resize(order, wanted)
        start = self._step * self.settings.batch_size
        numbers: Array = self._order[start : start + self.settings.batch_size]
        return numbers


class Trainer(Passes):
    """One training of the open model, from `plan` to `end`."""

    def __init__(
        self,
        student: Loaded,
        data: TrainingData,
        objective: Objective,
        settings: Settings,
        *,
        target_input: int | None,
        distilling: bool,
        constraints: Sequence[Constraint] = (),
        regularized: bool = True,
    ) -> None:
        self._altered = Altered(
            student.model,
            steps_per_epoch=settings.steps_per_epoch,
            seed=settings.seed,
            distilling=distilling,
        )
        self.notes = self._altered.notes
        self._optimizer = keras.optimizers.Adam(_schedule(settings))
        self._optimizer.build(objective.variables)
        super().__init__(
            data,
            settings,
            _step(student.model, objective, self._optimizer, constraints, regularized=regularized),
            taught=objective.taught,
            target_input=target_input,
            constraints=constraints,
        )

    def end(self) -> None:
        """Puts back what training changed besides the weights."""
        self._altered.put_back()


def _schedule(settings: Settings) -> Any:
    return keras.optimizers.schedules.CosineDecay(**training_plan.schedule(settings))


def reached(given: Sequence[Any], variables: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The gradients that there are, and the variables that they are of.

    Args:
        given: A gradient of each variable, None where the loss does not depend on it.
        variables: Of either Keras.

    Raises:
        DataError: The loss depends on no variable.
    """
    pairs = [
        (gradient, variable)
        for gradient, variable in zip(given, variables, strict=True)
        if gradient is not None
    ]
    if not pairs:
        raise DataError(
            "the loss does not depend on the model's outputs: no gradient reaches a weight",
            "compute the loss from `outputs`, with differentiable functions",
        )
    return [gradient for gradient, _ in pairs], [variable for _, variable in pairs]


def _step(
    model: Any,
    objective: Objective,
    optimizer: Any,
    constraints: Sequence[Constraint],
    *,
    regularized: bool,
) -> Any:
    """The training step: (inputs, y, taught) → (loss, whether it was applied)."""
    state = list(model.non_trainable_variables)

    def step(inputs: list[Any], y: Any, taught: Any) -> tuple[Any, Any]:
        # Statistics are written in the forward pass, before it shows that they are not finite.
        before = [tf.identity(variable.value) for variable in state]
        with tf.GradientTape() as tape:
            answer = objective.forward(inputs)
            regularization = model.losses if regularized else []  # of this forward pass
            loss = tf.cast(objective.loss(answer, y, taught), tf.float32)
            if regularization:
                loss = loss + tf.cast(tf.add_n(regularization), tf.float32)
        given = tape.gradient(loss, [variable.value for variable in objective.variables])
        gradients, variables = reached(given, objective.variables)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)

        def apply() -> Any:
            clipped, _ = tf.clip_by_global_norm(gradients, CLIP_NORM, use_norm=norm)
            optimizer.apply(clipped, variables)
            for constraint in constraints:
                constraint.project()
            return tf.constant(0)

        def undo() -> Any:
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)
            return tf.constant(0)

        tf.cond(finite, apply, undo)
        return loss, finite

    return tf.function(step, autograph=False, jit_compile=False, reduce_retracing=False)


def _reason(message: str) -> str:
    """The line that says what is wrong; the others say where in TensorFlow's own graph."""
    own = [
        line.strip()
        for line in message.splitlines()
        if line.strip() and not line.strip().startswith(_PLACES)
    ]
    return one_line(own[-1] if own else message)[:300]


def _tensor(value: Any) -> Any:
    return None if value is None else tf.constant(value)
