"""Divergences of softened outputs, finite where probabilities underflow."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf

FLOOR = 1e-30
"""Of a probability under a logarithm; its inverse, in the gradient, has to stay finite."""

CLIP = 1e-7
"""Of a sigmoid under a logit, from either end: float32 has nothing nearer to 1."""

_BRANCHLESS = frozenset({"ExpandDims", "Identity", "Reshape", "Squeeze"})


def kl_of_classes(teacher: Any, student: Any, temperature: float) -> Any:
    """T² · KL of softened softmaxes, summed over the last axis, the mean over all others.

    Args:
        teacher: Logits or log-probabilities [n, …, classes].
        student: Likewise.
        temperature: T.
    """
    ours = tf.nn.log_softmax(student / temperature)
    theirs = tf.nn.log_softmax(tf.stop_gradient(teacher) / temperature)
    each = tf.reduce_sum(tf.exp(theirs) * (theirs - ours), axis=-1)
    return temperature**2 * tf.reduce_mean(each)


def kl_of_independent(teacher: Any, student: Any, temperature: float) -> Any:
    """T² · the mean binary KL of softened sigmoids of logits [n, …]."""
    ours, theirs = student / temperature, tf.stop_gradient(teacher) / temperature
    share = tf.sigmoid(theirs)
    each = share * (tf.math.log_sigmoid(theirs) - tf.math.log_sigmoid(ours))
    each += (1 - share) * (tf.math.log_sigmoid(-theirs) - tf.math.log_sigmoid(-ours))
    return temperature**2 * tf.reduce_mean(each)


def log_of(probabilities: Any) -> Any:
    """The logarithm, finite for 0."""
    return tf.math.log(tf.maximum(probabilities, FLOOR))


def logit_of(probabilities: Any) -> Any:
    """The inverse of the sigmoid, finite for 0 and 1."""
    inside = tf.clip_by_value(probabilities, CLIP, 1 - CLIP)
    return tf.math.log(inside) - tf.math.log1p(-inside)


def before(output: Any, operation: Literal["Softmax", "Sigmoid"]) -> Any:
    """What the graph's own softmax or sigmoid reads: exact where its result underflows."""
    tensor = output
    if tf.is_symbolic_tensor(tensor):
        while tensor.op.type in _BRANCHLESS and (
            operation == "Sigmoid" or tensor.op.inputs[0].shape[-1:] == output.shape[-1:]
        ):
            tensor = tensor.op.inputs[0]
        if tensor.op.type == operation:
            return tf.reshape(tensor.op.inputs[0], tf.shape(output))
    return log_of(output) if operation == "Softmax" else logit_of(output)
