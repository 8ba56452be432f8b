"""Compares a changed model with its source, on random and on given inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.errors import ParityError

Array = NDArray[Any]

PROBES = 4
BATCH_ELEMENTS = 1 << 18
"""Input values run together: Keras holds every activation of a batch until its end."""
FREE_IMAGE, FREE_SEQUENCE = 64, 12
"""Sizes for axes that are open: an image that survives five halvings, a short sequence."""


def largest_difference(
    before: Any, after: Any, probes: Sequence[Mapping[str, Array]], tolerance: float
) -> float:
    """Runs both models at inference.

    Args:
        before: The source model.
        after: The changed one, with the same inputs and outputs.
        probes: Batches of real inputs by input name; random ones are added.
        tolerance: Largest difference allowed, relative to an output's largest magnitude in a batch.

    Returns:
        The largest relative difference.

    Raises:
        ParityError: It is above the tolerance.
    """
    watched, names = _watched(before, after)
    old = keras.Model(before.inputs, [pair[0] for pair in watched])
    new = keras.Model(after.inputs, [pair[1] for pair in watched])
    worst = 0.0
    given = [[batch[name] for name in _input_names(before)] for batch in probes]
    for batch in [part for whole in (*_random(before), *given) for part in _parts(before, whole)]:
        for name, expected, actual in zip(names, _run(old, batch), _run(new, batch), strict=True):
            difference = relative(expected, actual)
            if not difference <= tolerance:
                raise ParityError(
                    f"simplified, the model's '{name}' differs by {difference:.2g} of its largest"
                    f" value; at most {tolerance:g} is rounding",
                    "leave the model as it is with --no-simplify, and report this model",
                )
            worst = max(worst, difference)
    return worst


def _run(model: Any, batch: list[Array]) -> list[Array]:
    return [np.array(value) for value in keras.tree.flatten(model(batch, training=False))]


def _parts(model: Any, batch: list[Array]) -> list[list[Array]]:
    """A batch in pieces that are light enough, or whole where the model's batch is fixed."""
    if any(tensor.shape[0] for tensor in model.inputs):
        return [batch]
    elements = sum(array[0].size for array in batch)
    step = max(1, BATCH_ELEMENTS // max(1, elements))
    starts = range(0, len(batch[0]), step)
    return [[array[start : start + step] for array in batch] for start in starts]


def relative(expected: Array, actual: Array) -> float:
    """The largest difference over the largest finite magnitude expected; inf for other shapes."""
    if expected.shape != actual.shape:
        return float("inf")
    old, new = expected.astype(np.float64), actual.astype(np.float64)
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    largest = float(np.abs(old[np.isfinite(old)]).max(initial=0.0))
    worst = float(np.abs(old - new)[~same].max(initial=0.0))
    return worst / largest if largest else worst


def _watched(before: Any, after: Any) -> tuple[list[tuple[Any, Any]], list[str]]:
    """The outputs, and what the last layers read: a saturated softmax would hide differences."""
    pairs = list(zip(before.outputs, after.outputs, strict=True))
    names = [str(name) for name in _graph_of(before).output_names]
    for (old, new), name in list(zip(pairs, names, strict=True)):
        inner = [_first_input(tensor) for tensor in (old, new)]
        if None not in inner and inner[0].shape == inner[1].shape:
            pairs.append((inner[0], inner[1]))
            names.append(f"value before {name}")
    return pairs, names


def _first_input(tensor: Any) -> Any:
    operation, node_index, _ = tensor._keras_history
    if isinstance(operation, keras.Model):
        return None  # what is inside has tensors of its own
    node = operation._inbound_nodes[node_index]
    return None if node.is_input else node.input_tensors[0]


def _graph_of(model: Any) -> Any:
    return getattr(model, "_functional", None) or model


def _input_names(model: Any) -> list[str]:
    return [str(tensor._keras_history.operation.name) for tensor in model.inputs]


def _random(model: Any) -> list[list[Array]]:
    """Standard normal values, then ones like pixels; small whole numbers for integer inputs."""
    draw = np.random.default_rng(0)
    bound = _vocabulary(model)
    elements = sum(math.prod(_sizes(tensor.shape)[1:]) for tensor in model.inputs)
    count = min(PROBES, max(1, BATCH_ELEMENTS // max(1, elements)))
    batches = []
    for pixels in (False, True):
        batch = []
        for tensor in model.inputs:
            shape = (tensor.shape[0] or count, *_sizes(tensor.shape)[1:])
            dtype = np.dtype(str(keras.backend.standardize_dtype(tensor.dtype)))
            if bound is not None or not np.issubdtype(dtype, np.floating):
                batch.append(draw.integers(0, bound or 2, shape).astype(dtype))
            else:
                values = draw.uniform(0, 255, shape) if pixels else draw.standard_normal(shape)
                batch.append(values.astype(dtype))
        batches.append(batch)
    return batches


def _sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    free = FREE_IMAGE if len(shape) >= 4 else FREE_SEQUENCE
    return (shape[0] or 1, *(size or free for size in shape[1:]))


def _vocabulary(model: Any) -> int | None:
    """Word numbers that every Embedding of the model knows; None if it has none."""
    known = [
        layer.input_dim
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Embedding)
    ]
    return min(known, default=None)
