"""What a keras.ops operation of a Keras 3 graph is in TensorFlow, which tf_keras records.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

Function = Callable[..., Any]
Config = Mapping[str, Any]


def function(kind: str, config: Config) -> Function | None:
    """The TensorFlow function for an operation, with its settings in it; None if none is known.

    Args:
        kind: As in `graph.Layer`: "ops.Reshape".
        config: The operation's own.
    """
    name = kind.removeprefix("ops.")
    if name in _PLAIN:
        return _PLAIN[name]
    made = _SET.get(name)
    return made(config) if made else None


def _reduction(of: Function) -> Callable[[Config], Function]:
    return lambda config: (
        lambda x: of(x, axis=config.get("axis"), keepdims=bool(config.get("keepdims")))
    )


def _reshape(config: Config) -> Function:
    sizes = [-1 if size is None else int(size) for size in config["newshape"]]
    return lambda x: tf.reshape(x, sizes)


def _transpose(config: Config) -> Function:
    return lambda x: tf.transpose(x, config.get("axes"))


def _concatenate(config: Config) -> Function:
    return lambda values: tf.concat(values, axis=int(config["axis"]))


def _expand(config: Config) -> Function:
    return lambda x: tf.expand_dims(x, config["axis"])


def _squeeze(config: Config) -> Function:
    return lambda x: tf.squeeze(x, config.get("axis"))


def _softmax(config: Config) -> Function:
    return lambda x: tf.nn.softmax(x, axis=config.get("axis", -1))


def _gelu(config: Config) -> Function:
    return lambda x: tf.nn.gelu(x, approximate=bool(config.get("approximate", True)))


def _clip(config: Config) -> Function:
    return lambda x: tf.clip_by_value(x, config["x_min"], config["x_max"])


_PLAIN: dict[str, Function] = {
    "Absolute": tf.abs, "Add": tf.add, "Divide": tf.divide, "Exp": tf.exp,
    "GetItem": lambda x, key: x[key], "Log": tf.math.log, "Matmul": tf.matmul,
    "Maximum": tf.maximum, "Minimum": tf.minimum, "Multiply": tf.multiply, "Negative": tf.negative,
    "NotEqual": tf.not_equal,
    "Power": tf.pow, "Relu": tf.nn.relu, "Relu6": tf.nn.relu6, "Rsqrt": tf.math.rsqrt,
    "Sigmoid": tf.sigmoid, "Silu": tf.nn.silu, "Sqrt": tf.sqrt, "Square": tf.square,
    "Subtract": tf.subtract, "Tanh": tf.tanh, "TrueDivide": tf.divide,
}  # fmt: skip
_SET: dict[str, Callable[[Config], Function]] = {
    "Clip": _clip,
    "Concatenate": _concatenate,
    "ExpandDims": _expand,
    "Gelu": _gelu,
    "Max": _reduction(tf.reduce_max),
    "Mean": _reduction(tf.reduce_mean),
    "Min": _reduction(tf.reduce_min),
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _squeeze,
    "Sum": _reduction(tf.reduce_sum),
    "Transpose": _transpose,
}
"""Those whose settings stand in their config."""
