"""What the tensors that int8 rounds look like on samples: the extremes of each, some values.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression.int8_rules import Range
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.tracing import Traced
from edgekit.errors import DataError

Array = NDArray[Any]

KEPT_VALUES = 16_384
"""Of each tensor, over all samples."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One tensor: the extremes of each sample, and some of its numbers, evenly spaced."""

    lows: Array
    highs: Array
    values: Array


def observe(twin: Twin, batches: Iterable[Sequence[Array]]) -> dict[str, Seen]:
    """Runs the float model over batches and looks at each tensor that has a range to be found.

    Raises:
        DataError: A tensor is not finite, or there is no batch.
    """
    look = _looking(twin)
    extremes: list[Array] = []
    values: list[list[Array]] = []
    for batch in batches:
        found, kept = look(batch)
        extremes.append(np.asarray(found))
        values.append([np.asarray(one) for one in kept])
    if not extremes:
        raise DataError("there are no samples to find ranges on", "check --data")
    every = np.concatenate(extremes, axis=2)
    bad = ~np.isfinite(every).all(axis=(1, 2))
    if bad.any():
        raise DataError(
            f"the model gives NaN or infinity at '{twin.sites[int(np.argmax(bad))]}' on a sample",
            "check --preprocess and the data",
        )
    keep = max(1, KEPT_VALUES // len(values))
    return {
        name: Seen(
            every[place, 0],
            every[place, 1],
            np.concatenate([one[place][:: max(1, len(one[place]) // keep)] for one in values]),
        )
        for place, name in enumerate(twin.sites)
    }


def extremes(seen: dict[str, Seen]) -> dict[str, Range]:
    """The range that cuts nothing off, for each tensor."""
    return {name: (float(one.lows.min()), float(one.highs.max())) for name, one in seen.items()}


def _looking(twin: Twin) -> Traced:
    """(inputs) → lows and highs of each tensor and sample [sites, 2, n], and some values of it."""

    def look(inputs: list[Any]) -> tuple[Any, list[Any]]:
        count = tf.shape(inputs[0])[0]
        ends: dict[str, Any] = {}
        values: dict[str, Any] = {}

        def seen(name: str, value: Any) -> None:
            if name in ends:  # pooling rounds once more to the grid of what it reads
                return
            batched = value.shape.rank and value.shape[0] in (None, inputs[0].shape[0])
            rows = tf.reshape(value, [count if batched else 1, -1])
            both = tf.stack([tf.reduce_min(rows, axis=1), tf.reduce_max(rows, axis=1)])
            ends[name] = both if batched else tf.repeat(both, count, axis=1)
            flat = tf.reshape(value, [-1])
            values[name] = flat[:: tf.maximum(1, tf.size(flat) // KEPT_VALUES)]

        twin.run(inputs, rounding=False, seen=seen)
        return tf.stack([ends[name] for name in twin.sites]), [values[name] for name in twin.sites]

    return Traced(look)
