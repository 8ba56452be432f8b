"""A Keras 3 model as plain data: layers with config and weights, and the calls between them.

What compression changes, it changes here; `rebuilding.rebuild` makes a model of it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.errors import ModelError

Array = NDArray[Any]
Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output of one call; stands where the symbolic tensor stood."""

    call: int
    index: int = 0


@dataclass(slots=True)
class Layer:
    """A layer or operation.

    `kind` is the class name for Keras' own layers, `ops.NAME` for operations, and has the module
    in front for anybody else's. `source` is the original, which is never changed.
    """

    name: str
    kind: str
    config: dict[str, Any]
    weights: list[Array]
    source: Any = field(repr=False)


@dataclass(slots=True)
class Call:
    """One use of a layer: its arguments with `Tensor` for tensors, and what comes out."""

    layer: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: list[Shape]
    dtypes: list[str]


@dataclass(slots=True)
class Graph:
    """A functional model; `calls` are in the order of computation."""

    name: str
    layers: dict[str, Layer] = field(default_factory=dict)
    calls: dict[int, Call] = field(default_factory=dict)
    inputs: Any = None
    outputs: Any = None
    input_names: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)

    def layer_of(self, tensor: Tensor) -> Layer:
        """The layer that makes a tensor."""
        return self.layers[self.calls[tensor.call].layer]

    def shape(self, tensor: Tensor) -> Shape:
        """Shape of a tensor, the batch first."""
        return self.calls[tensor.call].shapes[tensor.index]


def tensors(structure: Any) -> list[Tensor]:
    """The tensors in nested arguments, in Keras' order."""
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Tensor)]


def inputs_of(call: Call) -> list[Tensor]:
    """The tensors that a call reads."""
    return tensors((call.args, call.kwargs))


def is_plain(call: Call) -> bool:
    """Whether a layer is called with one argument, as at inference: no mask, no training=True."""
    return len(call.args) == 1 and not any(
        value is not None and value is not False for value in call.kwargs.values()
    )


def outputs_of(number: int, call: Call) -> list[Tensor]:
    """The tensors that a call makes."""
    return [Tensor(number, index) for index in range(len(call.shapes))]


def calls_by_layer(graph: Graph) -> dict[str, list[int]]:
    """The numbers of the calls of each layer; more than one means that it is shared."""
    found: dict[str, list[int]] = {}
    for number, call in graph.calls.items():
        found.setdefault(call.layer, []).append(number)
    return found


def consumers(graph: Graph) -> dict[Tensor, list[int]]:
    """For each tensor the calls that read it; -1 stands for the model's outputs."""
    found: dict[Tensor, list[int]] = {}
    for number, call in graph.calls.items():
        for tensor in inputs_of(call):
            found.setdefault(tensor, []).append(number)
    for tensor in tensors(graph.outputs):
        found.setdefault(tensor, []).append(-1)
    return found


def parameters(graph: Graph) -> int:
    """How many numbers the weights hold, statistics included."""
    return sum(int(weight.size) for layer in graph.layers.values() for weight in layer.weights)


def read(model: Any) -> Graph:
    """Takes a model apart; nested functional models are flattened into it.

    Raises:
        ModelError: The model has no layers with known connections (it is subclassed).
    """
    functional = _functional(model)
    if functional is None:
        raise ModelError(
            f"the model '{getattr(model, 'name', model)}' ({type(model).__name__}) is not made of"
            " connected layers",
            "build it as keras.Sequential or with the functional API",
        )
    return _Reader(str(model.name)).read(functional)


def _functional(model: Any) -> Any:
    """The functional form of a model, or None for a subclassed one, whose call may do anything."""
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    plain = type(model).__module__.startswith("keras.") and hasattr(model, "_nodes_by_depth")
    return model if plain else None


class _Reader:
    def __init__(self, name: str) -> None:
        self._graph = Graph(name)
        self._names: dict[int, str] = {}
        self._values: dict[int, Tensor] = {}

    def read(self, functional: Any) -> Graph:
        for node in _nodes(functional):
            self._node(node, "", None)
        graph = self._graph
        graph.inputs, graph.outputs = (
            keras.tree.map_structure(lambda tensor: self._values[id(tensor)], structure)
            for structure in (functional._inputs_struct, functional._outputs_struct)
        )
        graph.input_names = [graph.layer_of(tensor).name for tensor in tensors(graph.inputs)]
        graph.output_names = [str(name) for name in functional.output_names]
        self._rename_outputs()
        return graph

    def _node(self, node: Any, prefix: str, training: bool | None) -> None:
        operation = node.operation
        inner = _functional(operation) if isinstance(operation, keras.Model) else None
        if inner is not None and _may_flatten(node, inner):
            self._nested(node, inner, prefix, training)
            return
        args, kwargs = keras.tree.map_structure(
            lambda value: self._values.get(id(value), value),
            (tuple(node.arguments.args), dict(node.arguments.kwargs)),
        )
        if training is not None and getattr(operation, "_call_has_training_arg", False):
            kwargs.setdefault("training", training)
        number = len(self._graph.calls)
        made = node.output_tensors
        self._graph.calls[number] = Call(
            self._layer(operation, prefix),
            args,
            kwargs,
            [tuple(tensor.shape) for tensor in made],
            [str(keras.backend.standardize_dtype(tensor.dtype)) for tensor in made],
        )
        self._values.update({id(tensor): Tensor(number, i) for i, tensor in enumerate(made)})

    def _nested(self, node: Any, inner: Any, prefix: str, training: bool | None) -> None:
        given = keras.tree.flatten(node.arguments.args[0])
        own = {id(tensor): self._values[id(value)]
               for tensor, value in zip(inner.inputs, given, strict=True)}  # fmt: skip
        self._values.update(own)
        mode = node.arguments.kwargs.get("training", training)
        for inner_node in _nodes(inner):
            if not inner_node.is_input:
                self._node(inner_node, f"{prefix}{node.operation.name}_", mode)
        for outer, tensor in zip(node.output_tensors, inner.outputs, strict=True):
            self._values[id(outer)] = self._values[id(tensor)]

    def _layer(self, operation: Any, prefix: str) -> str:
        if id(operation) not in self._names:
            name, taken = str(operation.name), self._graph.layers
            if name in taken:
                name = prefix + name
            name = _unused(name, taken)
            self._names[id(operation)] = name
            config = {} if _is_lambda(operation) else dict(operation.get_config())
            weights = [np.array(weight) for weight in getattr(operation, "weights", ())]
            taken[name] = Layer(
                name, _kind(operation), {**config, "name": name}, weights, operation
            )
        return self._names[id(operation)]

    def _rename_outputs(self) -> None:
        """Gives what a nested model made for an output the name that the output had."""
        graph = self._graph
        for tensor, name in zip(tensors(graph.outputs), graph.output_names, strict=True):
            layer = graph.layer_of(tensor)
            if layer.name != name and name not in graph.layers:
                rename(graph, layer.name, name)


def rename(graph: Graph, old: str, new: str) -> None:
    """Gives a layer another name, in its calls too."""
    graph.layers = {new if key == old else key: layer for key, layer in graph.layers.items()}
    graph.layers[new].name = new
    graph.layers[new].config["name"] = new
    for call in graph.calls.values():
        call.layer = new if call.layer == old else call.layer


def _nodes(functional: Any) -> Iterator[Any]:
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        yield from functional._nodes_by_depth[depth]


def _may_flatten(node: Any, inner: Any) -> bool:
    """Whether the call gives tensors for the inner model's inputs one by one, and nothing else."""
    extra = {key for key, value in node.arguments.kwargs.items() if value is not None}
    if len(node.arguments.args) != 1 or extra - {"training"}:
        return False
    given, wanted = node.arguments.args[0], inner._inputs_struct
    if isinstance(given, dict) or isinstance(wanted, dict):
        return False
    shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(given)]
    return [len(shape) for shape in shapes] == [len(tensor.shape) for tensor in inner.inputs] and [
        tensor.dtype for tensor in keras.tree.flatten(given)
    ] == [tensor.dtype for tensor in inner.inputs]


def _kind(operation: Any) -> str:
    name, module = type(operation).__name__, type(operation).__module__
    if not module.startswith("keras."):
        return f"{module}.{name}"
    return name if isinstance(operation, keras.layers.Layer) else f"ops.{name}"


def _is_lambda(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Lambda)


def _unused(name: str, taken: dict[str, Layer]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    return candidate
