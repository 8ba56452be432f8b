"""The tf_keras layer for one of Keras 3, from its config.

Keys that the old constructor takes are passed on; initializers go, since the weights are copied;
any other key may only be dropped where it says nothing. Imports tf_keras: for workers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

from edgekit.compression.graph import Layer
from edgekit.compression.tfmot_rules import OWN_ENGINE
from edgekit.errors import ModelError

_BASE_KEYS = frozenset({"name", "trainable"})
_RECURRENT_KEYS = frozenset({"zero_output_for_mask"})
"""What constructors of recurrent layers take without naming it."""
_WITHOUT_EFFECT = frozenset({
    "dtype", "flash_attention", "key_shape", "quantization_config", "query_shape",
    "renorm_clipping", "renorm_momentum", "seed", "use_cudnn", "value_shape",
})  # fmt: skip
"""Keys that do not change what a layer computes."""
_RENAMED_KEYS = {("LeakyReLU", "negative_slope"): "alpha"}
_RENAMED_ACTIVATIONS = {"silu": "swish"}
_CHANGED_ACTIVATIONS = frozenset({"hard_sigmoid"})
"""Other functions in the old Keras."""

Config = dict[str, Any]


def rebuild(layer: Layer, name: str) -> Any:
    """The tf_keras layer with the same config, not built yet.

    Args:
        layer: Of a Keras 3 graph; not an operation, an input or a Lambda.
        name: What it is called in the old model.

    Raises:
        ModelError: It has no equal in tf_keras.
    """
    if layer.kind == "Normalization":
        return _normalization(layer, name)
    return _made(layer.name, layer.kind, {**layer.config, "name": name})


def refusal(layer: str, kind: str, problem: str) -> ModelError:
    """The error that names a layer which tf_keras cannot take."""
    return ModelError(
        f"TFMOT works on tf_keras, and layer '{layer}' ({kind}) {problem}", OWN_ENGINE
    )


def _made(layer: str, kind: str, config: Config) -> Any:
    layer_class = getattr(tf_keras.layers, kind, None)
    if layer_class is None:
        raise refusal(layer, kind, "has no equal there")
    accepted = set(inspect.signature(layer_class.__init__).parameters) | _BASE_KEYS
    accepted |= _RECURRENT_KEYS if issubclass(layer_class, tf_keras.layers.RNN) else set()
    arguments: Config = {}
    for key, value in config.items():
        new = _RENAMED_KEYS.get((kind, key), key)
        if key.endswith("_initializer") or key in _WITHOUT_EFFECT:
            continue
        if new in accepted:
            arguments[new] = _translated(layer, kind, key, value)
        elif value not in (None, False, [], {}):
            raise refusal(layer, kind, f"has {key}={value!r}, which is not known there")
    try:
        return layer_class(**arguments)
    except (TypeError, ValueError) as error:
        raise refusal(layer, kind, f"is refused there ({error})") from None


def _translated(layer: str, kind: str, key: str, value: Any) -> Any:
    if key.endswith("activation"):
        return _activation(layer, kind, value)
    if key.endswith("_regularizer"):
        return _named(tf_keras.regularizers.get, layer, kind, key, value)
    if key.endswith("_constraint"):
        return _named(tf_keras.constraints.get, layer, kind, key, value)
    if key in {"layer", "backward_layer", "cell"} and value is not None:
        return _inner(layer, value)
    if key == "cells":
        return [_inner(layer, one) for one in value]
    return value


def _inner(layer: str, stored: Config) -> Any:
    """A layer or cell that a wrapper holds."""
    if not str(stored.get("module", "keras")).startswith("keras"):
        raise refusal(layer, str(stored["class_name"]), "is a custom class")
    return _made(layer, str(stored["class_name"]), dict(stored["config"]))


def _activation(layer: str, kind: str, value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        return _inner(layer, value)
    name = value.get("config") if isinstance(value, dict) else value
    name = _RENAMED_ACTIVATIONS.get(str(name), name)
    if name in _CHANGED_ACTIVATIONS or (
        name is not None and not hasattr(tf_keras.activations, str(name))
    ):
        raise refusal(layer, kind, f"has the activation {name}, which is not the same there")
    return name


def _named(get: Callable[[Any], Any], layer: str, kind: str, key: str, value: Any) -> Any:
    """A regularizer or constraint by its class."""
    if value is None:
        return None
    try:
        return get({"class_name": value["class_name"], "config": value["config"]})
    except (KeyError, TypeError, ValueError):
        raise refusal(layer, kind, f"has a {key} that is not known there") from None


def _normalization(layer: Layer, name: str) -> Any:
    """Its statistics go into the constructor, in the shape of the kept axes."""
    axis = layer.config["axis"]
    mean, variance = (
        np.asarray(value, dtype=np.float32).ravel()
        for value in (layer.source.mean, layer.source.variance)
    )
    invert = bool(layer.config.get("invert"))
    try:
        return tf_keras.layers.Normalization(
            axis=axis, mean=mean, variance=variance, invert=invert, name=name
        )
    except (TypeError, ValueError) as error:
        raise refusal(layer.name, layer.kind, f"is refused there ({error})") from None


def plain_name(name: str) -> str:
    """A name that tf_keras takes as a name scope."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return cleaned if cleaned[:1].isalnum() else f"layer{cleaned}"
