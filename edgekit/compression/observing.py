"""What the tensors that int8 rounds look like on samples: extremes, moments, some values.

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
from edgekit.errors import DataError

Array = NDArray[Any]

KEPT_VALUES = 16_384
"""Of each tensor, over all samples."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One tensor over all samples; `values` are some of its numbers, evenly spaced."""

    low: float
    high: float
    mean: float
    mean_square: float
    values: Array


def observe(twin: Twin, batches: Iterable[Sequence[Array]]) -> dict[str, Seen]:
    """Runs the float model over batches and looks at each tensor that has a range to be found.

    Raises:
        DataError: A tensor is not finite, or there is no batch.
    """
    look = _looking(twin)
    moments: list[Array] = []
    values: list[list[Array]] = []
    sizes: list[int] = []
    for batch in batches:
        found, kept = look([tf.convert_to_tensor(one) for one in batch])
        moments.append(np.asarray(found, np.float64))
        values.append([np.asarray(one) for one in kept])
        sizes.append(len(batch[0]))
    if not moments:
        raise DataError("there are no samples to find ranges on", "check --data")
    every, weights = np.stack(moments), np.array(sizes, np.float64) / sum(sizes)
    bad = ~np.isfinite(every).all(axis=(0, 2))
    if bad.any():
        raise DataError(
            f"the model gives NaN or infinity at '{twin.sites[int(np.argmax(bad))]}' on a sample",
            "check --preprocess and the data",
        )
    keep = max(1, KEPT_VALUES // len(values))
    return {
        name: Seen(
            float(every[:, place, 0].min()),
            float(every[:, place, 1].max()),
            float(weights @ every[:, place, 2]),
            float(weights @ every[:, place, 3]),
            np.concatenate([one[place][:: max(1, len(one[place]) // keep)] for one in values]),
        )
        for place, name in enumerate(twin.sites)
    }


def extremes(seen: dict[str, Seen]) -> dict[str, Range]:
    """The range that cuts nothing off, for each tensor."""
    return {name: (one.low, one.high) for name, one in seen.items()}


def _looking(twin: Twin) -> Any:
    """(inputs) → low, high, mean, mean square of each tensor [sites, 4], and some values of it."""

    def look(inputs: list[Any]) -> tuple[Any, list[Any]]:
        rows: dict[str, Any] = {}
        values: dict[str, Any] = {}

        def seen(name: str, value: Any) -> None:
            flat = tf.reshape(value, [-1])
            measured = (tf.reduce_min(flat), tf.reduce_max(flat), tf.reduce_mean(flat),
                        tf.reduce_mean(tf.square(flat)))  # fmt: skip
            if name in rows:  # a grid that several tensors share
                measured = (tf.minimum(measured[0], rows[name][0]),
                            tf.maximum(measured[1], rows[name][1]), *rows[name][2:])  # fmt: skip
            rows[name] = measured
            values[name] = flat[:: tf.maximum(1, tf.size(flat) // KEPT_VALUES)]

        twin.run(inputs, rounding=False, seen=seen)
        return tf.stack([tf.stack(rows[name]) for name in twin.sites]), [
            values[name] for name in twin.sites
        ]

    return tf.function(look, autograph=False, reduce_retracing=True)
