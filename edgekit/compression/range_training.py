"""How the ranges of a fake-quantized twin move while it trains.

They follow the extremes of each batch as an exponential moving average, from where calibration put
them, and stand still for the last part of the training, so that weights settle on fixed grids
(Krishnamoorthi 2018, arXiv 1806.08342, section 3.2.3). Imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from edgekit.compression.quantized_twin import Twin

MOMENTUM = 0.99
FROZEN_SHARE = 0.5
"""Of all training steps, at the end."""


class RangeTraining:
    """A twin in training: its forward pass, and the constraint that moves its ranges."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._kept = tf.Variable(1.0, trainable=False)
        """Share of a range that a batch leaves as it is; 1 freezes it."""

    def forward(self, inputs: list[Any]) -> list[Any]:
        """The twin's outputs in training mode; ranges move towards what this batch has."""
        lows: dict[str, Any] = {}
        highs: dict[str, Any] = {}

        def seen(name: str, value: Any) -> None:
            if name not in lows:  # pooling rounds once more to the grid of what it reads
                lows[name], highs[name] = tf.reduce_min(value), tf.reduce_max(value)

        outputs = self._twin.run(inputs, training=True, seen=seen)
        for variable, found in ((self._twin.lows, lows), (self._twin.highs, highs)):
            batch = tf.stop_gradient(tf.stack([found[name] for name in self._twin.sites]))
            moved = self._kept * variable.value + (1.0 - self._kept) * batch
            variable.assign(moved)
        return outputs

    def before(self, step: int, steps: int) -> None:
        """Freezes the ranges when it is time."""
        frozen = step >= (1.0 - FROZEN_SHARE) * steps
        self._kept.assign(1.0 if frozen else MOMENTUM)

    def project(self) -> None:
        """Weights are held to nothing here."""
