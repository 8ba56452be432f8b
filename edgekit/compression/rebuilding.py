"""Makes a Keras model of a graph: every layer anew from its config, then the weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from edgekit.compression.graph import Graph, Layer, Tensor
from edgekit.errors import ModelError

LEAVE = "leave the model as it is: --no-simplify"


def rebuild(graph: Graph) -> Any:
    """A new functional model that shares nothing with the one the graph was read from.

    Args:
        graph: As `graph.read` made it, with configs and weights that fit each other.

    Returns:
        A `keras.Model` with the graph's name, input names, output names and weights, bit by bit.

    Raises:
        ModelError: A layer cannot be made from its config, or its weights do not fit.
    """
    made = {name: _construct(layer) for name, layer in graph.layers.items()}
    values: dict[Tensor, Any] = {}
    for number, call in graph.calls.items():
        layer = made[call.layer]
        if graph.layers[call.layer].kind == "InputLayer":
            values[Tensor(number)] = layer.output
            continue
        args, kwargs = keras.tree.map_structure(
            lambda value: values[value] if isinstance(value, Tensor) else value,
            (call.args, call.kwargs),
        )
        answer = keras.tree.flatten(layer(*args, **kwargs))
        values.update({Tensor(number, index): tensor for index, tensor in enumerate(answer)})
    inputs, outputs = (
        keras.tree.map_structure(lambda tensor: values[tensor], structure)
        for structure in (graph.inputs, graph.outputs)
    )
    model = keras.Model(inputs, outputs, name=graph.name)
    for name, layer in graph.layers.items():
        _fill(made[name], layer)
    if list(model.output_names) != graph.output_names:
        raise ModelError(
            f"rebuilt, the outputs are called {list(model.output_names)} and not"
            f" {graph.output_names}",
            LEAVE,
        )
    return model


def _construct(layer: Layer) -> Any:
    source = layer.source
    if isinstance(source, keras.layers.Lambda):
        return keras.layers.Lambda(
            source.function,
            output_shape=source._output_shape,
            mask=source.mask,
            arguments=source.arguments,
            name=layer.name,
            dtype=source.dtype_policy,
        )
    try:
        if isinstance(source, keras.Model):
            clone = keras.models.clone_model(source)
            clone.name = layer.name
            return clone
        return type(source).from_config({**layer.config, **_own_functions(layer)})
    except (TypeError, ValueError, NotImplementedError) as error:
        cause = str(error).rpartition("Exception encountered: ")[2][:200]
        raise ModelError(
            f"layer '{layer.name}' ({layer.kind}) cannot be made from its own config ({cause})",
            LEAVE,
        ) from None


def _own_functions(layer: Layer) -> dict[str, Any]:
    """Activations that are plain functions, which a config cannot bring back: used as they are."""
    unnamed = [
        key
        for key, value in layer.config.items()
        if key.endswith("activation") and isinstance(value, dict)
    ]
    functions = {key: getattr(layer.source, key, None) for key in unnamed}
    return {key: value for key, value in functions.items() if inspect.isroutine(value)}


def _fill(made: Any, layer: Layer) -> None:
    if not layer.weights:
        return
    shapes = [tuple(weight.shape) for weight in made.weights]
    if shapes != [weight.shape for weight in layer.weights]:
        raise ModelError(
            f"layer '{layer.name}' ({layer.kind}) has weights of shapes"
            f" {[weight.shape for weight in layer.weights]}, and rebuilt {shapes}",
            LEAVE,
        )
    made.set_weights(layer.weights)
    if isinstance(made, keras.layers.Normalization):
        made.finalize_state()  # its mean and variance also live outside its weights
