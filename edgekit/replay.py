"""Rebuilds a tf_keras model as a Keras 3 model, layer by layer, and proves the two equal.

Runs in a worker. tf_keras is imported as itself: TF_USE_LEGACY_KERAS stays unset, so that `keras`
and `tf.keras` remain Keras 3 in the same process.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgekit import replay_config, replay_ops
from edgekit.errors import ModelError
from edgekit.replay_config import refusal

PROBES = 8
TOLERANCE = {"float32": 1e-4, "mixed_float16": 2e-2, "float16": 2e-2, "mixed_bfloat16": 1e-1}
"""Largest difference allowed, relative to an output's largest magnitude, by the old model's policy.

Layer for layer the arithmetic is the same, so float32 leaves only reassociated sums (1e-8 to 1e-6
on all models tried). Models of reduced precision are replayed in float32; what remains is the old
model's own rounding, 2⁻¹¹ or 2⁻⁸ per operation.
"""

Array = NDArray[Any]


def replay(legacy: Any, *, trust: bool = False) -> tuple[Any, float]:
    """Rebuilds a model and compares it with its source.

    Args:
        legacy: A built tf_keras model: Sequential or functional, nested or not.
        trust: Also replay Lambda layers, whose code comes from the file.

    Returns:
        The Keras 3 model and the largest difference of its outputs on the probe inputs, relative
        to the largest magnitude of each output.

    Raises:
        ModelError: A layer has no equal in Keras 3, or the outputs differ.
    """
    if not legacy.inputs or not legacy._is_graph_network:
        raise ModelError(
            f"the model '{legacy.name}' ({type(legacy).__name__}) is not made of layers with known"
            " input shapes",
            "call it once and write a SavedModel: model.export('DIR')",
        )
    rebuilt = _Replay(trust).model(legacy)
    return rebuilt, _compare(legacy, rebuilt)


class _Replay:
    """Rebuilds each layer once, however often it is called: shared layers stay shared."""

    def __init__(self, trust: bool) -> None:
        self._trust = trust
        self._layers: dict[int, Any] = {}

    def model(self, legacy: Any) -> Any:
        """A model, or one nested in another."""
        if isinstance(legacy, tf_keras.Sequential):
            return self._sequential(legacy)
        if not getattr(legacy, "_is_graph_network", False):
            raise refusal(legacy, "is a subclassed model")
        tensors: dict[int, Any] = {}
        for depth in sorted(legacy._nodes_by_depth, reverse=True):
            for node in legacy._nodes_by_depth[depth]:
                self._call(node, tensors)
        inputs, outputs = (
            tf.nest.map_structure(lambda tensor: tensors[id(tensor)], structure)
            for structure in (legacy._nested_inputs, legacy._nested_outputs)
        )
        rebuilt = keras.Model(inputs, outputs, name=_name(legacy))
        self._copy_weights(legacy)
        return rebuilt

    def _sequential(self, legacy: Any) -> Any:
        layers = [self.layer(layer) for layer in legacy.layers]
        if legacy.inputs:
            layers.insert(0, _input(legacy.inputs[0], legacy.input_names[0]))
        rebuilt = keras.Sequential(layers, name=_name(legacy))
        self._layers[id(legacy)] = rebuilt
        if legacy.inputs:
            self._copy_weights(legacy)
        return rebuilt

    def layer(self, legacy: Any) -> Any:
        """The Keras 3 layer for an old one, built on first request."""
        if id(legacy) not in self._layers:
            if isinstance(legacy, tf_keras.Model):
                self._layers[id(legacy)] = self.model(legacy)
            else:
                self._layers[id(legacy)] = replay_config.rebuild(legacy, self.layer, self._trust)
        return self._layers[id(legacy)]

    def _call(self, node: Any, tensors: dict[int, Any]) -> None:
        legacy = node.layer
        outputs = tf.nest.flatten(node.outputs)
        if node.is_input:
            tensors[id(outputs[0])] = _input(outputs[0], legacy.name)
            return
        arguments, keywords = tf.nest.map_structure(
            lambda value: tensors.get(id(value), value), (node.call_args, node.call_kwargs)
        )
        try:
            if replay_ops.is_operation(legacy):
                answer = replay_ops.apply(legacy, arguments, keywords)
                _name_operations(answer, set(map(id, tensors.values())), _name(legacy))
            else:
                keywords = {key: value for key, value in keywords.items() if value is not None}
                answer = self.layer(legacy)(*arguments, **keywords)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise refusal(legacy, f"cannot be called in Keras 3 ({error})") from None
        for old, new in zip(outputs, keras.tree.flatten(answer), strict=True):
            tensors[id(old)] = new

    def _copy_weights(self, legacy: Any) -> None:
        for old in legacy.layers:
            new = self._layers.get(id(old))
            if _holds_model(old) or new is None:
                continue
            values = replay_config.weights(old)
            shapes = [tuple(weight.shape) for weight in new.weights]
            if shapes != [value.shape for value in values]:
                raise refusal(
                    old, f"has weights of shapes {[v.shape for v in values]}, in Keras 3 {shapes}"
                )
            new.set_weights(values)


def _name_operations(answer: Any, known: set[int], name: str) -> None:
    """Names operations after their old layer; Keras would name them like layers that exist."""
    waiting, count = keras.tree.flatten(answer), 0
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in known or not hasattr(tensor, "_keras_history"):
            continue
        known.add(id(tensor))
        operation = tensor._keras_history.operation
        operation.name = f"{name}_{count}" if count else name
        count += 1
        waiting += operation._inbound_nodes[tensor._keras_history.node_index].input_tensors


def _holds_model(legacy: Any) -> bool:
    """Whether the layer's weights belong to a nested model, which copies its own."""
    return isinstance(getattr(legacy, "layer", legacy), tf_keras.Model)


def _name(legacy: Any) -> str:
    return str(legacy.name).replace("/", "_")


def _input(tensor: Any, name: str) -> Any:
    spec = tensor.type_spec
    if not isinstance(spec, tf.TensorSpec):
        raise ModelError(
            f"the input '{name}' is {type(spec).__name__.removesuffix('Spec').lower()}, not dense",
            "save the model with dense inputs",
        )
    return keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=name)


def _compare(legacy: Any, rebuilt: Any) -> float:
    """The largest relative difference of a replayed model.

    Raises:
        ModelError: It is above the tolerance of the old model's precision.
    """
    difference, where = largest_difference(legacy, rebuilt)
    if not difference <= TOLERANCE.get(_policy(legacy), TOLERANCE["float32"]):
        raise ModelError(
            f"replayed into Keras 3, '{where}' differs by {difference:.2g} of its largest value on"
            f" {PROBES} probe inputs",
            replay_config.EXPORT_FIX,
        )
    return difference


def largest_difference(legacy: Any, current: Any) -> tuple[float, str]:
    """How far two models of both generations are apart on probe inputs, and where.

    Compared are the outputs, and what goes into the layers that make them: a saturated softmax
    would hide any difference.

    Args:
        legacy: A tf_keras model.
        current: One of Keras 3 with the same inputs and outputs.

    Returns:
        The largest difference, relative to the largest magnitude of what it is found in.
    """
    observed = [*legacy.outputs, *_before(legacy.outputs)]
    observed_new = [*current.outputs, *_before(current.outputs)]
    probes = _probes(legacy)
    old = tf_keras.Model(legacy.inputs, observed)(probes, training=False)
    new = keras.Model(current.inputs, observed_new)(probes, training=False)
    names = [*legacy.output_names, *(f"a value before {name}" for name in legacy.output_names)]
    worst, where = 0.0, names[0]
    for index, (expected, actual) in enumerate(zip(old, new, strict=True)):
        difference = _difference(np.asarray(expected), np.asarray(actual))
        if not difference <= worst:
            worst, where = difference, names[min(index, len(names) - 1)]
    return worst, where


def _before(outputs: Any) -> list[Any]:
    """The tensors that go into the layers which make the outputs."""
    found: list[Any] = []
    for tensor in outputs:
        history = tensor._keras_history
        layer = getattr(history, "operation", None) or history.layer
        node = layer._inbound_nodes[history.node_index]
        found += [] if node.is_input else tf.nest.flatten(_inputs_of(node))[:1]
    return found


def _inputs_of(node: Any) -> Any:
    return node.input_tensors if hasattr(node, "operation") else node.keras_inputs


def _difference(expected: Array, actual: Array) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    old, new = expected.astype(np.float64), actual.astype(np.float64)
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    largest = float(np.abs(old[np.isfinite(old)]).max(initial=0.0))
    worst = float(np.abs(old - new)[~same].max(initial=0.0))
    return worst / largest if largest else worst


def _policy(legacy: Any) -> str:
    names = {str(layer.dtype_policy.name) for layer in legacy.layers if layer.weights}
    return max(names, key=lambda name: TOLERANCE.get(name, 0.0), default="float32")


def _probes(legacy: Any) -> list[Array]:
    """One array per input: standard normal and pixel-like values, or valid word numbers."""
    draw = np.random.default_rng(0)
    words = _vocabulary(legacy)
    found: list[Array] = []
    for tensor in tf.nest.flatten(legacy._nested_inputs):
        shape = tuple(tensor.shape)
        batch, sizes = shape[0] or PROBES, [size or _free_size(len(shape)) for size in shape[1:]]
        dtype = tensor.dtype.as_numpy_dtype
        if not np.issubdtype(dtype, np.number) and dtype is not np.bool_:
            raise ModelError(
                f"the input '{tensor.name}' holds {tensor.dtype.name}; inputs must be numbers",
                "save the model without its text layers",
            )
        bound = words.get(id(tensor), min(words.values(), default=2))
        if id(tensor) in words or not np.issubdtype(dtype, np.floating):
            found.append(draw.integers(0, bound, (batch, *sizes)).astype(dtype))
            continue
        values = draw.standard_normal((batch, *sizes))
        values[batch // 2 :] = draw.uniform(0, 255, values[batch // 2 :].shape)
        found.append(values.astype(dtype))
    return found


def _free_size(rank: int) -> int:
    return 64 if rank >= 4 else 12  # an image survives five halvings, a sequence a few


def _vocabulary(legacy: Any) -> dict[int, int]:
    """For inputs that feed an Embedding: how many words it knows."""
    known: dict[int, int] = {}
    for nodes in legacy._nodes_by_depth.values():
        for node in nodes:
            if isinstance(node.layer, tf_keras.layers.Embedding):
                for tensor in tf.nest.flatten(node.call_args):
                    known[id(tensor)] = min(node.layer.input_dim, known.get(id(tensor), 1 << 31))
    return known
