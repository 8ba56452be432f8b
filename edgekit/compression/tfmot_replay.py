"""Rebuilds a Keras 3 model in tf_keras, which alone TFMOT takes, and proves the two equal.

The way there is a `graph.Graph`, so that nested models are flat. Imports tf_keras as itself.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import keras
import tf_keras

from edgekit import replay
from edgekit.compression import rebuilding, tfmot_layers, tfmot_ops
from edgekit.compression.graph import Call, Graph, Layer, Tensor, tensors
from edgekit.compression.tfmot_rules import OWN_ENGINE
from edgekit.errors import ModelError

TOLERANCE = replay.TOLERANCE["float32"]
_ERRORS = (TypeError, ValueError, NotImplementedError, AttributeError)
"""What tf_keras raises of a layer that it cannot make or call, or that it lacks."""


class Replayed(NamedTuple):
    """The old model, and what each of its layers is called in the graph it came from."""

    model: Any
    names: dict[str, str]
    difference: float


def replay_graph(taken: Graph, momentum: dict[str, float] | None = None) -> Replayed:
    """Rebuilds a graph and compares it with the Keras 3 model that it stands for.

    Args:
        taken: As `graph.read` made it.
        momentum: For layers of batch normalization, by name: what their averages move with.

    Returns:
        The tf_keras model; its difference is the largest of the outputs and of what goes into the
        layers that make them, relative to the largest magnitude of each.

    Raises:
        ModelError: A layer has no equal in tf_keras, or the outputs differ.
    """
    replayed = _Replay(taken, momentum or {})
    model = replayed.model()
    difference, where = replay.largest_difference(model, rebuilding.rebuild(taken))
    if not difference <= TOLERANCE:
        raise ModelError(
            f"TFMOT works on tf_keras; rebuilt there, '{where}' differs by {difference:.2g} of its"
            f" largest value on {replay.PROBES} probe inputs",
            OWN_ENGINE,
        )
    return Replayed(model, {new: old for old, new in replayed.names.items()}, difference)


class _Replay:
    """Makes each layer once, however often it is called: shared layers stay shared."""

    def __init__(self, taken: Graph, momentum: dict[str, float]) -> None:
        self._taken, self._momentum = taken, momentum
        self._made: dict[str, Any] = {}
        self.names = _unique_names(taken)

    def model(self) -> Any:
        """All calls in their order, then the weights."""
        values: dict[Tensor, Any] = {}
        for number, call in self._taken.calls.items():
            layer = self._taken.layers[call.layer]
            made = self._call(layer, call, values)
            values.update({Tensor(number, at): one for at, one in enumerate(made)})
        inputs, outputs = (
            [values[tensor] for tensor in tensors(structure)]
            for structure in (self._taken.inputs, self._taken.outputs)
        )
        model = tf_keras.Model(inputs, outputs, name=tfmot_layers.plain_name(self._taken.name))
        for name, made in self._made.items():
            _fill(made, self._taken.layers[name])
        return model

    def _call(self, layer: Layer, call: Call, values: dict[Tensor, Any]) -> list[Any]:
        name = self.names[layer.name]
        if layer.kind == "InputLayer":
            shape, dtype = call.shapes[0], call.dtypes[0]
            return [tf_keras.Input(batch_shape=shape, dtype=dtype, name=name)]
        args, kwargs = keras.tree.map_structure(
            lambda value: values[value] if isinstance(value, Tensor) else value,
            (call.args, call.kwargs),
        )
        # Keras 3 passes `training` on whatever was recorded; tf_keras would hold to the record.
        dropped = {key for key, value in kwargs.items() if value is None} | {"training"}
        kwargs = {key: value for key, value in kwargs.items() if key not in dropped}
        try:
            if layer.kind.startswith("ops."):
                answer = self._operation(layer)(*args, **kwargs)
            else:
                answer = _called(self._layer(layer, name), args, kwargs)
        except _ERRORS as error:
            problem = f"cannot be called there ({error})"
            raise tfmot_layers.refusal(layer.name, layer.kind, problem) from None
        return list(keras.tree.flatten(answer))

    def _operation(self, layer: Layer) -> Any:
        function = tfmot_ops.function(layer.kind, layer.config)
        if function is None:
            problem = "is an operation that edgekit does not know there"
            raise tfmot_layers.refusal(layer.name, layer.kind, problem)
        return function

    def _layer(self, layer: Layer, name: str) -> Any:
        if layer.name not in self._made:
            if layer.kind == "Lambda" or "." in layer.kind or isinstance(layer.source, keras.Model):
                problem = "is code of its own, or a model inside the model"
                raise tfmot_layers.refusal(layer.name, layer.kind, problem)
            made = tfmot_layers.rebuild(layer, name)
            if layer.name in self._momentum:
                made.momentum = self._momentum[layer.name]
            self._made[layer.name] = made
        return self._made[layer.name]


def _called(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls a layer with its first argument alone by place, as TFMOT's wrappers take it."""
    names = list(inspect.signature(layer.call).parameters)
    named = dict(zip(names[1:], args[1:], strict=False))
    given = {key: value for key, value in named.items() if value is not None}
    return layer(args[0], **given, **kwargs)


def _unique_names(taken: Graph) -> dict[str, str]:
    """Names that tf_keras takes, by those of the graph."""
    found: dict[str, str] = {}
    for name in taken.layers:
        plain = candidate = tfmot_layers.plain_name(name)
        count = 0
        while candidate in found.values():
            count += 1
            candidate = f"{plain}_{count}"
        found[name] = candidate
    return found


def _fill(made: Any, layer: Layer) -> None:
    if layer.kind == "Normalization":
        return  # its statistics went into the constructor
    shapes = [tuple(weight.shape) for weight in made.weights]
    if shapes != [weight.shape for weight in layer.weights]:
        wanted = [weight.shape for weight in layer.weights]
        problem = f"has weights of shapes {wanted}, and there {shapes}"
        raise tfmot_layers.refusal(layer.name, layer.kind, problem)
    made.set_weights(layer.weights)
