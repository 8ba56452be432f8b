"""Turns the config of a tf_keras layer into the same layer of Keras 3.

Keys that Keras 3's constructor takes are passed on; initializers go, since the weights are copied;
any other key may only be dropped where it changes nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.errors import ModelError

EXPORT_FIX = (
    "write a SavedModel with the old Keras, tf_keras.models.load_model(MODEL).export('DIR'), and"
    " use that"
)

BASE_KEYS = frozenset({"name", "trainable"})
WITHOUT_EFFECT = frozenset({
    "activity_regularizer", "autocast", "batch_input_shape", "build_config", "dtype", "fused",
    "implementation", "input_length", "input_spec", "key_shape", "query_shape", "seed",
    "softmax_robust_masking", "value_shape",
})  # fmt: skip
"""Keys that do not change what a trained layer computes."""
DEFAULTS = {"groups": 1, "sparse": False}
CHANGED_ACTIVATIONS = {
    "hard_sigmoid": "max(0, min(1, 0.2x + 0.5)) in the old Keras and relu6(x + 3) / 6 in Keras 3",
}
RENAMED_KEYS = {("LeakyReLU", "alpha"): "negative_slope"}
RENAMED_KINDS = {"SyncBatchNormalization": "BatchNormalization"}

Rebuild = Callable[[Any], Any]


def refusal(legacy: Any, problem: str) -> ModelError:
    """The error that names a layer which cannot be replayed."""
    return ModelError(f"layer '{legacy.name}' ({type(legacy).__name__}) {problem}", EXPORT_FIX)


def rebuild(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    """The Keras 3 layer with the same config, not built yet.

    Args:
        legacy: A tf_keras layer that is not a model.
        inner: Rebuilds a layer that a wrapper holds.
        trust: Also rebuild a Lambda.

    Raises:
        ModelError: It has no equal in Keras 3.
    """
    kind = type(legacy).__name__
    if not type(legacy).__module__.startswith("tf_keras."):
        raise refusal(legacy, "is a custom class")
    if kind in _SPECIAL:
        return _SPECIAL[kind](legacy, inner, trust)
    layer_class = getattr(keras.layers, RENAMED_KINDS.get(kind, kind), None)
    if layer_class is None:
        raise refusal(legacy, "has no equal in Keras 3")
    return _construct(layer_class, legacy, dict(legacy.get_config()))


def weights(legacy: Any) -> list[NDArray[Any]]:
    """The weights to copy, in Keras 3's order and in float32 where they are floats."""
    if type(legacy).__name__ == "Normalization":
        return []  # its statistics went into the constructor
    return [
        value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        for value in legacy.get_weights()
    ]


def _construct(layer_class: Any, legacy: Any, config: dict[str, Any], **given: Any) -> Any:
    accepted = set(inspect.signature(layer_class.__init__).parameters) | BASE_KEYS
    kind = type(legacy).__name__
    arguments: dict[str, Any] = {}
    for key, value in config.items():
        name = RENAMED_KEYS.get((kind, key), key)
        if name in given or key.endswith("_initializer"):
            continue
        if name in accepted and name != "dtype":
            arguments[name] = _translated(legacy, name, _plain(value))
        elif not _may_drop(key, value):
            raise refusal(legacy, f"has {key}={value!r}, which Keras 3 does not know")
    arguments["name"] = str(legacy.name).replace("/", "_")
    try:
        return layer_class(**arguments, **given)
    except (TypeError, ValueError) as error:
        raise refusal(legacy, f"is refused by Keras 3 ({error})") from None


def _may_drop(key: str, value: Any) -> bool:
    if key in WITHOUT_EFFECT or key.startswith(("kernel_", "bias_")):
        return True
    return bool(value == DEFAULTS[key]) if key in DEFAULTS else value in (None, False)


def _translated(legacy: Any, key: str, value: Any) -> Any:
    if key.endswith("activation"):
        return _activation(legacy, value)
    if key == "axis" and type(legacy).__name__.endswith("BatchNormalization"):
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    return value


def _activation(legacy: Any, value: Any) -> Any:
    name = value.get("class_name") if isinstance(value, dict) else value
    if name in CHANGED_ACTIVATIONS:
        raise refusal(legacy, f"uses {name}, which is {CHANGED_ACTIVATIONS[name]}")
    if not isinstance(value, dict):
        return value
    layer_class = getattr(keras.layers, str(name), None)
    if layer_class is None:
        raise refusal(legacy, f"has the activation {name}, which Keras 3 does not know")
    holder = getattr(legacy, "activation", None)
    return _construct(layer_class, holder, dict(value["config"])) if holder else value


def _plain(value: Any) -> Any:
    """Old configs hold tracked lists, numpy scalars and arrays; constructors want plain values."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _bidirectional(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    config = dict(legacy.get_config())
    own = config.pop("backward_layer", None) is not None
    config.pop("layer")
    given = {"layer": rebuild(legacy.layer, inner, trust)}
    if own:
        given["backward_layer"] = rebuild(legacy.backward_layer, inner, trust)
    return _construct(keras.layers.Bidirectional, legacy, config, **given)


def _time_distributed(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    del trust
    config = {key: value for key, value in legacy.get_config().items() if key != "layer"}
    return _construct(keras.layers.TimeDistributed, legacy, config, layer=inner(legacy.layer))


def _recurrent(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    config = {key: value for key, value in legacy.get_config().items() if key != "cell"}
    return _construct(keras.layers.RNN, legacy, config, cell=rebuild(legacy.cell, inner, trust))


def _stacked_cells(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    cells = [rebuild(cell, inner, trust) for cell in legacy.cells]
    return keras.layers.StackedRNNCells(cells, name=legacy.name)


def _normalization(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    del inner, trust
    config = dict(legacy.get_config())
    mean, variance = np.asarray(legacy.mean), np.asarray(legacy.variance)
    kept = [config["axis"]] if isinstance(config["axis"], int) else list(config["axis"] or [])
    shape = [mean.shape[axis] for axis in kept] or [1]
    given = {"mean": mean.reshape(shape), "variance": variance.reshape(shape)}
    return _construct(keras.layers.Normalization, legacy, config, **given)


def _thresholded(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    del inner, trust
    return keras.layers.ReLU(threshold=float(legacy.theta), name=legacy.name)


def _lambda(legacy: Any, inner: Rebuild, trust: bool) -> Any:
    del inner
    if not trust:
        raise refusal(legacy, "executes code stored in the file")
    return keras.layers.Lambda(legacy.function, arguments=legacy.arguments, name=legacy.name)


_SPECIAL: dict[str, Callable[[Any, Rebuild, bool], Any]] = {
    "Bidirectional": _bidirectional,
    "Lambda": _lambda,
    "Normalization": _normalization,
    "RNN": _recurrent,
    "StackedRNNCells": _stacked_cells,
    "ThresholdedReLU": _thresholded,
    "TimeDistributed": _time_distributed,
}
