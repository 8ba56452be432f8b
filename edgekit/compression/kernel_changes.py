"""Changes the kernels of one layer of a live model, and puts them back: pruned, or quantized.

A layer's kernels are all of its weights that multiply what comes in, those of the layers inside it
too: recurrent kernels, the projections of attention, embedding tables. Biases and the parameters
of normalizations and activations are none, whatever their shape.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.compression import graph, kernels
from edgekit.errors import ModelError

Array = NDArray[Any]

NO_KERNELS = frozenset({
    "alpha", "beta", "bias", "gamma", "mean", "moving_mean", "moving_variance", "variance",
})  # fmt: skip
"""Names of variables that may have several axes and are no kernels: GRU's bias, PReLU's slopes."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A variable of a live layer, and the axes that number its output channels."""

    variable: Any
    output_axes: tuple[int, ...]


class Kernels:
    """The layers of a model that have kernels, by the names that `graph.read` gives them.

    Args:
        model: A live model.
        trained: Leave out what does not train.

    Raises:
        ModelError: There is none, or the model is subclassed.
    """

    def __init__(self, model: Any, *, trained: bool = False) -> None:
        found = {
            name: (layer.kind, of_layer(layer.source, trained=trained))
            for name, layer in graph.read(model).layers.items()
        }
        self._layers = {name: pair for name, pair in found.items() if pair[1]}
        if not self._layers:
            raise ModelError(
                f"no layer of the model {'that is trained ' * trained}has a kernel (weights of two"
                " axes or more, in float): nothing can be pruned or quantized",
                "name a model with Dense, convolution, recurrent, attention or Embedding layers",
            )

    def subjects(self) -> list[dict[str, Any]]:
        """`name` and `kind` of each layer, and how many `weights` its kernels hold."""
        return [
            {"name": name, "kind": kind, "weights": sum(_size(one) for one in found)}
            for name, (kind, found) in self._layers.items()
        ]

    @contextlib.contextmanager
    def changed(
        self, name: str, share: float | None = None, bits: int | None = None
    ) -> Iterator[None]:
        """The model while the kernels of one layer are pruned to a share, or have so many bits."""
        _, found = self._layers[name]
        before = [np.array(one.variable) for one in found]
        try:
            for one, values in zip(found, before, strict=True):
                changed = values if share is None else pruned(values, share)
                changed = changed if bits is None else quantized(changed, bits, one.output_axes)
                one.variable.assign(changed)
            yield
        finally:
            for one, values in zip(found, before, strict=True):
                one.variable.assign(values)


def of_layer(layer: Any, *, trained: bool = False) -> list[Kernel]:
    """The kernels of a live layer and of the layers inside it; none of an operation.

    Args:
        layer: What `graph.Layer.source` is.
        trained: Leave out the layers that are frozen (trainable = False).
    """
    if not isinstance(layer, keras.Layer):
        return []
    return [
        Kernel(variable, _output_axes(part, variable))
        for part in layer._flatten_layers()
        if part.trainable or not trained
        for variable in (*part._trainable_variables, *part._non_trainable_variables)
        if _is_kernel(variable)
    ]


def pruned(values: Array, share: float) -> Array:
    """A kernel whose smallest magnitudes are zero: ⌊share · size⌋ of them, equal ones in order."""
    flat = values.ravel().copy()
    order = np.argsort(np.abs(flat), kind="stable")
    flat[order[: math.floor(share * flat.size)]] = 0
    return np.asarray(flat.reshape(values.shape))


def quantized(values: Array, bits: int, output_axes: Sequence[int]) -> Array:
    """A kernel on a symmetric grid of 2^bits − 1 levels per output channel, in float again."""
    kept = {axis % values.ndim for axis in output_axes}
    others = tuple(axis for axis in range(values.ndim) if axis not in kept)
    exact = values.astype(np.float64)
    largest = np.abs(exact).max(axis=others, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0) / (2 ** (bits - 1) - 1)
    return np.asarray((np.round(exact / scale) * scale).astype(values.dtype))


def _is_kernel(variable: Any) -> bool:
    floating = str(keras.backend.standardize_dtype(variable.dtype)).startswith(("float", "bfloat"))
    return floating and len(variable.shape) > 1 and str(variable.name) not in NO_KERNELS


def _size(kernel: Kernel) -> int:
    return math.prod(kernel.variable.shape)


def _output_axes(layer: Any, variable: Any) -> tuple[int, ...]:
    """The axes of a kernel along which every index is another output channel."""
    kind, name = type(layer).__name__, str(variable.name)
    if kind in kernels.TRANSPOSED:
        return (-2,)
    if kind in kernels.DEPTHWISE or name == "depthwise_kernel":
        return (-2, -1)
    if kind == "EinsumDense":
        of_kernel, made = layer.equation.split(",")[1].split("->")
        return tuple(axis for axis, letter in enumerate(of_kernel) if letter in made)
    return (-1,)
