"""How much the loss would change without a channel, to first order, as training data tells.

Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, arXiv 1906.10771: the
squared sum of gradient times weight. The weights are those that read a group's channels, since a
channel is gone when nobody reads it: their sum is the derivative by a gate on the channel, with
its normalization, bias and activation, in every branch at once. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import channel_groups, graph, kernels
from edgekit.compression.channel_groups import Channels
from edgekit.compression.graph import Graph, Layer, inputs_of
from edgekit.compression.losses import TaskLoss
from edgekit.errors import DataError, ModelError
from edgekit.keras_loading import Loaded

Array = NDArray[Any]

BATCH = 8
"""Samples whose gradients are summed before they are squared: small batches tell more, since the
mean gradient of a trained model is near zero."""


def of_model(
    loaded: Loaded, task: TaskLoss, batches: Iterable[tuple[list[Array], Array | None]]
) -> tuple[Array, int]:
    """The importance of all groups of a model; see `importance`.

    Args:
        loaded: A model of Keras layers, called as at inference: normalization with its stored
            statistics, no dropout.
        task: What training would minimise.
        batches: Inputs in the order of the model's, and labels or None.

    Raises:
        ModelError, DataError: See `importance`.
    """
    taken = graph.read(loaded.model)

    def loss(inputs: list[Any], y: Any) -> Any:
        target = y if task.target_input is None else inputs[task.target_input]
        return task(target, list(loaded.call(inputs)))

    return importance(taken, channel_groups.of_graph(taken), loss, batches)


def importance(
    taken: Graph,
    channels: Channels,
    loss: Callable[[list[Any], Any], Any],
    batches: Iterable[tuple[list[Array], Array | None]],
) -> tuple[Array, int]:
    """The mean over batches of each group's squared first-order change of the loss.

    Args:
        taken: As `graph.read` made it of the model, and not changed since.
        channels: Its channels.
        loss: A scalar of inputs and labels, computed with the variables of the model.
        batches: Training data.

    Returns:
        The importance at each group's smallest element (comparable across layers: it is a change
        of the loss, squared), and how many samples were looked at.

    Raises:
        ModelError: No layer's weights could be asked.
        DataError: There is no batch, or the loss or a gradient is not finite.
    """
    readers = {
        number: _kernel(taken.layers[taken.calls[number].layer]) for number in channels.readers
    }
    if not readers:
        raise ModelError(
            "no layer of this model has channels that could go", "leave out the step channels"
        )
    step = _step(loss, list(readers.values()))
    total, samples, count = np.zeros(channels.total), 0, 0
    for inputs, y in batches:
        products = step([tf.constant(value) for value in inputs], None if y is None else
                        tf.constant(y))  # fmt: skip
        change = np.zeros(channels.total)
        for number, product in zip(readers, products, strict=True):
            call = taken.calls[number]
            groups = channels.group[channels.of(inputs_of(call)[0])]
            np.add.at(change, groups, _per_input(taken.layers[call.layer], np.asarray(product)))
        total += change**2
        count += 1
        samples += len(inputs[0])
    if not count or not np.isfinite(total).all():
        what = "is not finite on the training data" if count else "has no training data to look at"
        raise DataError(
            f"the gradient of the loss, which the criterion taylor needs, {what}",
            'check --data and --preprocess, or use criterion = "l1"',
        )
    return total / count, samples


def _kernel(layer: Layer) -> Any:
    """The variable whose slices read the layer's input channels."""
    source = layer.source
    return source.depthwise_kernel if layer.kind in kernels.SEPARABLE else source.kernel


def _step(loss: Callable[[list[Any], Any], Any], variables: list[Any]) -> Any:
    values = [variable.value for variable in variables]

    def step(inputs: list[Any], y: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            value = loss(inputs, y)
        gradients = tape.gradient(value, values, unconnected_gradients="zero")
        return [
            tf.cast(gradient, "float32") * tf.cast(weight, "float32")
            for gradient, weight in zip(gradients, values, strict=True)
        ]

    return tf.function(step, autograph=False, jit_compile=False, reduce_retracing=True)


def _per_input(layer: Layer, product: Array) -> Array:
    """Sums over everything but the input channels."""
    axis = product.ndim - (1 if layer.kind in kernels.TRANSPOSED else 2)
    others = tuple(number for number in range(product.ndim) if number != axis)
    return np.asarray(product.sum(axis=others, dtype=np.float64))
