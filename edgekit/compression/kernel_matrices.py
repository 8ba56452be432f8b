"""The weights of a Keras model that are linear maps, each seen as one matrix per tap.

Sparsity patterns and shared values are rules about inputs and outputs, wherever a layer keeps
them: a Conv2D's kernel is (height, width, inputs, outputs), its transpose has the last two swapped,
attention's are named by an einsum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.compression import graph
from edgekit.recipe_types import Removal

Array = NDArray[Any]
Axes = tuple[int, ...]

_Rule = dict[str, tuple[Axes, Axes]]
_DENSE: _Rule = {"kernel": ((-2,), (-1,))}
_DEPTHWISE: tuple[Axes, Axes] = ((), (-2, -1))
_SEPARABLE: _Rule = {"depthwise_kernel": _DEPTHWISE, "pointwise_kernel": _DENSE["kernel"]}
_CELL: _Rule = {"kernel": ((-2,), (-1,)), "recurrent_kernel": ((-2,), (-1,))}
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("Dense", "Conv1D", "Conv2D", "Conv3D"), _DENSE),
    **{f"Conv{axes}DTranspose": {"kernel": ((-1,), (-2,))} for axes in (1, 2, 3)},
    **{f"DepthwiseConv{axes}D": {"kernel": _DEPTHWISE} for axes in (1, 2)},
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _SEPARABLE),
    **dict.fromkeys(("LSTMCell", "GRUCell", "SimpleRNNCell"), _CELL),
    "Embedding": {"embeddings": _DENSE["kernel"]},
}  # fmt: skip
"""For each layer the weights that are maps, with the axes of their inputs and outputs."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One weight.

    `layer` is its layer's name, with those of the layers around it; `outer` the outermost one's,
    which is the graph's name for it; `kind` the layer's class. `variable` is Keras' own, which
    training moves. All axes that are neither of inputs nor of outputs are taps.
    """

    layer: str
    outer: str
    kind: str
    weight: str
    variable: Any
    inputs: Axes
    outputs: Axes

    @property
    def values(self) -> Array:
        """The weights as they are, as an array of its own."""
        return np.array(self.variable)


def find(model: Any, *, trained: bool = False) -> tuple[list[Kernel], list[Removal]]:
    """The kernels of a model in the order of computation, and what else has weights, with reasons.

    Args:
        model: A Keras 3 model of connected layers.
        trained: Leave out what does not train.
    """
    kernels: list[Kernel] = []
    left: list[Removal] = []
    seen: set[int] = set()
    for layer in graph.read(model).layers.values():
        for name, leaf in _leaves(layer.source, layer.name):
            if id(leaf) in seen:
                continue
            seen.add(id(leaf))
            found, why = _of_layer(leaf, name, layer.name, trained=trained)
            kernels += found
            if why:
                left.append(Removal(name, type(leaf).__name__, None, None, why))
    return kernels, left


def matrices(kernel: Kernel, values: Array) -> Array:
    """Values of the kernel's shape as (taps, inputs, outputs)."""
    taps, inputs, outputs = _axes(kernel, values.ndim)
    shape = values.shape
    sizes = [int(np.prod([shape[axis] for axis in axes])) for axes in (taps, inputs, outputs)]
    return np.transpose(values, (*taps, *inputs, *outputs)).reshape(sizes)


def restored(kernel: Kernel, taken: Array) -> Array:
    """The inverse of `matrices`."""
    shape = kernel.variable.shape
    order = [axis for axes in _axes(kernel, len(shape)) for axis in axes]
    arranged = taken.reshape([shape[axis] for axis in order])
    return np.transpose(arranged, np.argsort(order))


def label(kernel: Kernel) -> str:
    """The weight's own name in front of what is said of it, where its layer has several."""
    return "" if kernel.weight in ("kernel", "embeddings") else f"{kernel.weight}: "


def _axes(kernel: Kernel, axes: int) -> tuple[Axes, Axes, Axes]:
    inputs = tuple(axis % axes for axis in kernel.inputs)
    outputs = tuple(axis % axes for axis in kernel.outputs)
    taps = tuple(axis for axis in range(axes) if axis not in (*inputs, *outputs))
    return taps, inputs, outputs


def _leaves(layer: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The layers inside that hold weights; a layer that only wraps one gives it its name."""
    inner = [one for one in getattr(layer, "_layers", ()) if isinstance(one, keras.layers.Layer)]
    if _own_weights(layer):
        yield name, layer
    alone = len(inner) == 1 and not _own_weights(layer)
    for one in inner:
        yield from _leaves(one, name if alone else f"{name}/{one.name}")


def _own_weights(layer: Any) -> list[Any]:
    """What a layer itself has that is more than one number per channel."""
    own = getattr(layer, "_trainable_variables", ())
    return [variable for variable in own if len(variable.shape) > 1]


def _of_layer(
    layer: Any, name: str, outer: str, *, trained: bool
) -> tuple[list[Kernel], str | None]:
    """A layer's kernels, or why it has none."""
    rule = _rule(layer)
    if rule is None or getattr(layer, "quantization_mode", None):
        return [], f"what the weights of a {type(layer).__name__} do is not known"
    if getattr(layer, "lora_enabled", False):
        return [], "it has a low-rank update (LoRA) beside its kernel"
    if trained and not layer.trainable:
        return [], "its weights are frozen (trainable = False)"
    kind = type(layer).__name__
    return [
        Kernel(name, outer, kind, weight, getattr(layer, weight), *axes)
        for weight, axes in rule.items()
    ], None


def _rule(layer: Any) -> _Rule | None:
    if not type(layer).__module__.startswith("keras."):
        return None
    if type(layer).__name__ == "EinsumDense":
        return {"kernel": _einsum_axes(layer.equation)}
    return _RULES.get(type(layer).__name__)


def _einsum_axes(equation: str) -> tuple[Axes, Axes]:
    """Which axes of an EinsumDense's kernel are summed over, and which it makes."""
    read, _, made = equation.partition("->")
    data, _, kernel = read.partition(",")
    inputs = tuple(axis for axis, letter in enumerate(kernel) if letter not in made)
    outputs = tuple(axis for axis, letter in enumerate(kernel) if letter not in data)
    return inputs, outputs
