"""What training changes in a model besides its weights, and puts back afterwards.

Imports Keras: for workers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

MOMENTUM = 0.9
FORGOTTEN = 0.01
"""Share of the old statistics that may be left in the moving averages after one epoch."""

_RATED = (
    keras.layers.Dropout, keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D, keras.layers.GaussianDropout, keras.layers.AlphaDropout,
)  # fmt: skip
_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


class Altered:
    """A model set up for training.

    - Batch normalization: where an epoch has too few steps for a moving average to forget what it
      held before (own ** steps > FORGOTTEN), the momentum is MOMENTUM; else the averages of a
      pruned model would be wrong when it is judged.
    - Dropout is off while distilling: it starves small students, and the teacher's outputs
      regularise them.
    - Random states start from the seed, also afterwards, for equal bytes.

    Layers with trainable=False stay so.
    """

    def __init__(self, model: Any, *, steps_per_epoch: int, seed: int, distilling: bool) -> None:
        self._model, self._seed = model, seed
        self._undo: list[tuple[Any, str, Any]] = []
        self.notes: list[str] = []
        layers = list(model._flatten_layers())
        self._slow_averages(layers, steps_per_epoch)
        if distilling:
            self._without_dropout(layers)
        frozen = [layer for layer in layers if not layer.trainable and _has_own_weights(layer)]
        if frozen:
            self.notes.append(f"{_plural(len(frozen), 'layer')} with trainable=False: kept so")
        self._reseed()

    def put_back(self) -> None:
        """Undoes everything but the training of the weights."""
        for layer, name, value in reversed(self._undo):
            setattr(layer, name, value)
        self._undo = []
        self._model._clear_losses()
        self._reseed()

    def _slow_averages(self, layers: list[Any], steps_per_epoch: int) -> None:
        changed = 0
        for layer in layers:
            averages = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
            if averages and momentum(float(layer.momentum), steps_per_epoch) != layer.momentum:
                self._set(layer, "momentum", MOMENTUM)
                changed += 1
        if changed:
            self.notes.append(
                f"batch normalization averages with momentum {MOMENTUM:g} while training: an epoch"
                f" has {_plural(steps_per_epoch, 'step')}"
            )

    def _without_dropout(self, layers: list[Any]) -> None:
        off = 0
        for layer in layers:
            names = ["rate"] if isinstance(layer, _RATED) else []
            names += ["dropout", "recurrent_dropout"] if isinstance(layer, _CELLS) else []
            names += ["_dropout"] if isinstance(layer, keras.layers.MultiHeadAttention) else []
            found = [name for name in names if getattr(layer, name, 0)]
            for name in found:
                self._set(layer, name, 0.0)
            off += bool(found)
        if off:
            self.notes.append(
                f"dropout is off while distilling ({_plural(off, 'layer')}): it starves students"
            )

    def _set(self, layer: Any, name: str, value: Any) -> None:
        self._undo.append((layer, name, getattr(layer, name)))
        setattr(layer, name, value)

    def _reseed(self) -> None:
        """Random states are not all in the file that a model came from."""
        states = [
            variable
            for variable in self._model.non_trainable_variables
            if variable.name == "seed_generator_state"
        ]
        for number, state in enumerate(states):
            state.assign(np.array([self._seed % 2**32, number], dtype=np.uint32))


def momentum(own: float, steps_per_epoch: int) -> float:
    """What a moving average moves with while training: its own momentum, or MOMENTUM."""
    slow = own > MOMENTUM and own**steps_per_epoch > FORGOTTEN
    return MOMENTUM if slow else own


def _has_own_weights(layer: Any) -> bool:
    return bool(layer._trainable_variables or layer._non_trainable_variables)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
