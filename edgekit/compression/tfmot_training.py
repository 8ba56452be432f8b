"""The training step of a tf_keras model, in the form that `training.Passes` drives.

Optimizer, schedule and clipping are those of edgekit's own training. Imports tf_keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

from edgekit.compression import training, training_plan
from edgekit.compression.losses import TaskLoss


def step(
    model: Any, variables: Sequence[Any], task: TaskLoss, settings: training_plan.Settings
) -> Callable[..., tuple[Any, Any]]:
    """The training step: (inputs, y, taught) → (loss, whether it was applied).

    Args:
        model: Wrapped by TFMOT or not.
        variables: What is trained.
        task: The loss of the labels.
        settings: For the learning rate.
    """
    schedule = tf_keras.optimizers.schedules.CosineDecay(**training_plan.schedule(settings))
    optimizer = tf_keras.optimizers.Adam(schedule, jit_compile=False)
    optimizer.build(variables)

    def run(inputs: list[Any], y: Any, taught: Any) -> tuple[Any, Any]:
        del taught
        with tf.GradientTape() as tape:
            answer = tf.nest.flatten(model(inputs, training=True))
            loss = tf.cast(task(y, answer), tf.float32)
            if model.losses:
                loss = loss + tf.cast(tf.add_n(model.losses), tf.float32)
        gradients, trained = training.reached(tape.gradient(loss, variables), variables)
        norm = tf.linalg.global_norm(gradients)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(loss)

        def apply() -> Any:
            clipped, _ = tf.clip_by_global_norm(gradients, training.CLIP_NORM, use_norm=norm)
            optimizer.apply_gradients(zip(clipped, trained, strict=True))
            return tf.constant(0)

        tf.cond(finite, apply, lambda: tf.constant(0))
        return loss, finite

    traced: Callable[..., tuple[Any, Any]] = tf.function(
        run, autograph=False, jit_compile=False, reduce_retracing=False
    )
    return traced
