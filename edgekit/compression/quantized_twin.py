"""A model's fake-quantized twin: the same layers and variables, every tensor rounded as in int8.

The layers are called one after the other as the model would, with kernels rounded and activations
rounded in between. Nothing is wrapped: any kind of layer works, and what is trained is the model.
Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.compression import fake_quant, graph, int8_rules
from edgekit.compression.graph import Call, Graph, Tensor
from edgekit.compression.int8_rules import Range, Rules, Site
from edgekit.recipe_types import Scheme

Array = NDArray[Any]
Seen = Callable[[str, Any], None]
"""Told the name of a grid and a tensor before it is rounded to it."""
Reads = Callable[[str, Any], None]
"""Told the name of a layer with a rounded kernel and what it reads."""


class Twin:
    """Runs a model as int8 would.

    Args:
        model: A Keras model, its batch normalization folded; the twin trains its variables.
        scheme: Whose int8.
        per_tensor: TFLite operators whose weights have one scale; "*" for all.
    """

    def __init__(self, model: Any, scheme: Scheme, per_tensor: Sequence[str] = ()) -> None:
        self.model, self.scheme, self.per_tensor = model, scheme, tuple(per_tensor)
        self.graph: Graph = graph.read(model)
        self.rules: Rules = int8_rules.rules(self.graph, scheme, per_tensor)
        self._read_by = graph.consumers(self.graph)
        self.sites = [site.name for site in self.rules.sites() if site.limits is None]
        self._places = {name: place for place, name in enumerate(self.sites)}
        self.lows, self.highs = (
            keras.Variable(np.zeros(len(self.sites)), dtype="float32", name=name)
            for name in ("range_low", "range_high")
        )

    def ranges(self) -> dict[str, Range]:
        """The range of every grid that has none by its nature."""
        pairs = zip(self.lows.numpy(), self.highs.numpy(), strict=True)
        return {
            name: (float(low), float(high))
            for name, (low, high) in zip(self.sites, pairs, strict=True)
        }

    def set_ranges(self, ranges: Mapping[str, Range]) -> None:
        """Gives the grids their ranges; those that are not named keep theirs."""
        found = {**self.ranges(), **ranges}
        self.lows.assign(np.array([found[name][0] for name in self.sites], np.float32))
        self.highs.assign(np.array([found[name][1] for name in self.sites], np.float32))

    def run(
        self,
        inputs: Sequence[Any],
        *,
        rounding: bool = True,
        training: bool = False,
        seen: Seen | None = None,
        reads: Reads | None = None,
    ) -> list[Any]:
        """The outputs, in the order of the model's.

        Args:
            inputs: Tensors in the order of the model's inputs.
            rounding: False computes in float, as the model does.
            training: Trains; a softmax or sigmoid that ends the model is then left unrounded,
                since losses are computed from what it reads.
            seen: Told every tensor that has a range to be found, before rounding.
            reads: Told what every layer with a rounded kernel reads.
        """
        return _Run(self, rounding, training, seen, reads).outputs(inputs)

    def before_bounding(self, inputs: Sequence[Any], *, rounding: bool) -> list[Any]:
        """The outputs; what a final softmax, sigmoid or tanh reads in place of what it makes."""
        run = _Run(self, rounding=rounding, training=False, seen=None, reads=None)
        made = run.outputs(inputs)
        places = graph.tensors(self.graph.outputs)
        return [run.sums.get(tensor, value) for tensor, value in zip(places, made, strict=True)]

    def rounded(self, site: Site, value: Any) -> Any:
        """A tensor on its grid."""
        if site.limits is None:
            place = self._places[site.name]
            low, high = self.lows.value[place], self.highs.value[place]
        else:
            low, high = (tf.constant(end, tf.float32) for end in site.limits)
        symmetric = self.scheme == "tensorrt"
        return fake_quant.activations(value, low, high, symmetric=symmetric)

    def is_last(self, tensor: Tensor) -> bool:
        """Whether a tensor is an output of the model and nothing else."""
        return set(self._read_by.get(tensor, ())) == {-1}

    def kernels(self) -> list[tuple[Any, tuple[int, ...]]]:
        """The variables that are rounded, each with the axes that have scales of their own."""
        return [
            (self.graph.layers[name].source.weights[kernel.place], kernel.channels)
            for name, found in self.rules.kernels.items()
            for kernel in found
        ]

    def put_on_grid(self) -> None:
        """Rounds the kernels themselves: the model then holds what int8 holds."""
        for variable, channels in self.kernels():
            variable.assign(fake_quant.weights_on_grid(variable.numpy(), channels))


class _Run:
    """One pass through the model."""

    def __init__(
        self,
        twin: Twin,
        rounding: bool,
        training: bool,
        seen: Seen | None,
        reads: Reads | None,
    ) -> None:
        self._twin, self._graph, self._rounding = twin, twin.graph, rounding
        self._training, self._seen, self._reads = training, seen, reads
        self._values: dict[Tensor, Any] = {}
        self.sums: dict[Tensor, Any] = {}
        """What bounded activations read, by what they make."""

    def outputs(self, inputs: Sequence[Any]) -> list[Any]:
        places = graph.tensors(self._graph.inputs)
        for place, value in zip(places, inputs, strict=True):
            self._keep(place, value)
        for number, call in self._graph.calls.items():
            if Tensor(number) not in self._values:
                self._call(number, call)
        return [self._values[tensor] for tensor in graph.tensors(self._graph.outputs)]

    def _call(self, number: int, call: Call) -> None:
        args, kwargs = keras.tree.map_structure(
            lambda value: self._values[value] if isinstance(value, Tensor) else value,
            (call.args, call.kwargs),
        )
        layer = self._graph.layers[call.layer].source
        bounded = self._twin.rules.outputs.get(Tensor(number))
        if bounded is not None and bounded.limits is not None and args:
            self.sums[Tensor(number)] = args[0]
        if getattr(layer, "_call_has_training_arg", False):
            normalizes = isinstance(layer, keras.layers.BatchNormalization)
            kwargs.setdefault("training", self._training and not normalizes)
        site = self._twin.rules.sums.get(number)
        if site is None:
            made = self._computed(call.layer, layer, args, kwargs)
        else:
            made = self._in_two_parts(number, layer, args, kwargs, site)
        for tensor, value in zip(
            graph.outputs_of(number, call), keras.tree.flatten(made), strict=True
        ):
            self._keep(tensor, value)

    def _computed(self, name: str, layer: Any, args: Any, kwargs: Any) -> Any:
        kernels = self._twin.rules.kernels.get(name, ())
        if kernels and self._reads is not None:
            self._reads(name, args[0])
        rounded = kernels if self._rounding else ()
        mapping = [
            (
                layer.weights[kernel.place],
                fake_quant.weights(layer.weights[kernel.place].value, kernel.channels),
            )
            for kernel in rounded
        ]
        if not mapping:
            return layer(*args, **kwargs)
        with keras.StatelessScope(state_mapping=mapping):
            return layer(*args, **kwargs)

    def _in_two_parts(self, number: int, layer: Any, args: Any, kwargs: Any, site: Site) -> Any:
        """A layer whose own activation is an operator of its own in int8: its sum is rounded."""
        activation, layer.activation = layer.activation, None
        try:
            made = self._computed(self._graph.calls[number].layer, layer, args, kwargs)
        finally:
            layer.activation = activation
        self.sums[Tensor(number)] = rounded = self._looked_at(site, made)
        return activation(rounded)

    def _keep(self, tensor: Tensor, value: Any) -> None:
        site = self._twin.rules.outputs.get(tensor)
        exact = self._training and site is not None and site.limits is not None
        if site is not None and not (exact and self._twin.is_last(tensor)):
            value = self._looked_at(site, value)
        self._values[tensor] = value

    def _looked_at(self, site: Site, value: Any) -> Any:
        if self._seen is not None and site.limits is None:
            self._seen(site.name, value)
        if not self._rounding:
            return value
        rounded = self._twin.rounded(site, value)
        mask = getattr(value, "_keras_mask", None)
        if mask is not None:
            rounded._keras_mask = mask
        return rounded
