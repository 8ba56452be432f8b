"""Turns TensorFlow functions inside a tf_keras graph into keras.ops.

tf_keras stores `tf.reshape(x, …)` or `x * 2` in a functional model as TFOpLambda layers. Each
entry below takes TensorFlow's own arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from edgekit.replay_config import refusal

Function = Callable[..., Any]


def is_operation(legacy: Any) -> bool:
    """Whether a layer is a TensorFlow function rather than a layer."""
    return type(legacy).__name__ in ("TFOpLambda", "SlicingOpLambda", "ClassMethod")


def apply(legacy: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Calls the keras.ops function that does the same.

    Raises:
        ModelError: There is none.
        TypeError, ValueError: It does not take these arguments.
    """
    name = str(getattr(legacy, "symbol", None) or legacy.get_config().get("function"))
    name = name.removeprefix("tf.").removeprefix("compat.v1.")
    function = FUNCTIONS.get(name)
    if function is None:
        raise refusal(legacy, f"calls tf.{name}, which has no equal in Keras 3 that edgekit knows")
    given = {key: value for key, value in keywords.items() if key != "name"}
    return function(*arguments, **given)


def _getitem(tensor: Any, slice_spec: Any) -> Any:
    return tensor[_index(slice_spec)]


def _index(spec: Any) -> Any:
    if isinstance(spec, dict):
        return slice(spec.get("start"), spec.get("stop"), spec.get("step"))
    return tuple(_index(item) for item in spec) if isinstance(spec, (tuple, list)) else spec


def _reduction(function: Function) -> Function:
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return function(input_tensor, axis=axis, keepdims=keepdims)

    return reduce


def _reshape(tensor: Any, shape: Any) -> Any:
    return ops.reshape(tensor, tuple(int(size) for size in shape))


def _transpose(a: Any, perm: Any = None) -> Any:
    return ops.transpose(a, perm)


def _concat(values: Any, axis: Any) -> Any:
    return ops.concatenate(values, axis=int(axis))


def _stack(values: Any, axis: int = 0) -> Any:
    return ops.stack(values, axis=axis)


def _unstack(value: Any, num: int | None = None, axis: int = 0) -> Any:
    return ops.unstack(value, num, axis)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0) -> Any:
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis=axis)
    ends = [sum(num_or_size_splits[: count + 1]) for count in range(len(num_or_size_splits) - 1)]
    return ops.split(value, ends, axis=axis)


def _expand_dims(input: Any, axis: int) -> Any:  # noqa: A002 tf's own name
    return ops.expand_dims(input, axis)


def _squeeze(input: Any, axis: Any = None) -> Any:  # noqa: A002 tf's own name
    return ops.squeeze(input, axis)


def _tile(input: Any, multiples: Any) -> Any:  # noqa: A002 tf's own name
    return ops.tile(input, tuple(multiples))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0) -> Any:
    widths = tuple((int(before), int(after)) for before, after in paddings)
    if mode.upper() == "CONSTANT":
        return ops.pad(tensor, widths, "constant", constant_values)
    return ops.pad(tensor, widths, mode.lower())


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def _cast(x: Any, dtype: Any) -> Any:
    return ops.cast(x, getattr(dtype, "name", dtype))


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    left = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(left, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _softmax(logits: Any, axis: int | None = None) -> Any:
    return ops.softmax(logits, axis=-1 if axis is None else axis)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=approximate)


def _leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    return ops.leaky_relu(features, negative_slope=alpha)


def _resize(images: Any, size: Any, method: str = "bilinear", antialias: bool = False) -> Any:
    height, width = (int(side) for side in size)
    return ops.image.resize(images, (height, width), interpolation=method, antialias=antialias)


def _unary(function: Function) -> Function:
    def call(x: Any = None, **named: Any) -> Any:
        return function(x if x is not None else next(iter(named.values())))

    return call


def _binary(function: Function) -> Function:
    def call(x: Any, y: Any) -> Any:
        return function(x, y)

    return call


_ELEMENTWISE = (
    "abs", "ceil", "cos", "erf", "exp", "expm1", "floor", "log", "log1p", "negative", "reciprocal",
    "round", "rsqrt", "sigmoid", "sign", "sin", "softplus", "sqrt", "square", "tanh",
)  # fmt: skip
_PAIRWISE = (
    "add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "logical_and",
    "logical_or", "maximum", "minimum", "multiply", "not_equal", "subtract",
)  # fmt: skip
_ACTIVATIONS = ("elu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh")

FUNCTIONS: dict[str, Function] = {
    **{f"math.{name}": _unary(getattr(ops, name)) for name in _ELEMENTWISE},
    **{f"math.{name}": _binary(getattr(ops, name)) for name in _PAIRWISE},
    **{f"nn.{name}": _unary(getattr(ops, name)) for name in _ACTIVATIONS},
    **{
        f"math.reduce_{name}": _reduction(getattr(ops, name))
        for name in ("max", "mean", "min", "prod", "sum")
    },
    "__operators__.add": _binary(ops.add),
    "__operators__.getitem": _getitem,
    "cast": _cast,
    "clip_by_value": _clip,
    "concat": _concat,
    "expand_dims": _expand_dims,
    "identity": _unary(lambda x: x + 0),
    "image.resize": _resize,
    "linalg.matmul": _matmul,
    "math.pow": _binary(ops.power),
    "math.truediv": _binary(ops.divide),
    "nn.gelu": _gelu,
    "nn.leaky_relu": _leaky_relu,
    "nn.softmax": _softmax,
    "nn.swish": _unary(ops.silu),
    "pad": _pad,
    "reshape": _reshape,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}
