"""Which tensors of a Keras model an int8 runtime rounds, and to whose grid.

Sources: the TFLite 8-bit quantization specification, and what LiteRT Quantizer writes: weights
symmetric, a scale per output channel; one range per activation; pooling, shapes and padding keep
the range of what they read; softmax, sigmoid and tanh have ranges of their own; relu and relu6 are
part of the layer before. What has no rule stays in float and is named: nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.compression import kernels, layer_kinds
from edgekit.compression.graph import (
    Call,
    Graph,
    Layer,
    Tensor,
    consumers,
    inputs_of,
    outputs_of,
)
from edgekit.recipe_types import Scheme

Range = tuple[float, float]

BOUNDED: dict[str, Range] = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
"""Ranges that follow from the function. Source: the TFLite 8-bit quantization specification."""

FUSED = frozenset({None, "linear", "relu", "relu6"})
"""Activations that a runtime computes inside the layer before."""

OPERATORS = {
    "CONV_2D": kernels.CONVOLUTIONS,
    "DEPTHWISE_CONV_2D": kernels.DEPTHWISE,
    "FULLY_CONNECTED": frozenset({"Dense"}),
    "TRANSPOSE_CONV": kernels.TRANSPOSED,
}
"""What profiles call the layers whose weights may have one scale only."""

WITHOUT_RULE = {
    "Conv3D": "LiteRT has no int8 kernel for it",
    "Conv3DTranspose": "LiteRT has no int8 kernel for it",
    "LSTM": "its state would be rounded at every step",
    "GRU": "its state would be rounded at every step",
    "SimpleRNN": "its state would be rounded at every step",
    "Bidirectional": "its state would be rounded at every step",
    "MultiHeadAttention": "its products of activations are not simulated",
    "GroupedQueryAttention": "its products of activations are not simulated",
    "Attention": "its products of activations are not simulated",
    "AdditiveAttention": "its products of activations are not simulated",
    "LayerNormalization": "it divides by statistics of each sample",
    "Embedding": "it looks values up and multiplies none",
}

_KERNELS = kernels.KERNELS - {"Conv3D", "Conv3DTranspose"}
_AVERAGING = frozenset({"AveragePooling1D", "AveragePooling2D"})
_KEEPING = (
    layer_kinds.NOISE | layer_kinds.CROPPING | layer_kinds.PADDING
    | {f"{scope}MaxPooling{axes}D" for scope in ("", "Global") for axes in (1, 2)}
    | {"Identity", "Flatten", "Reshape", "Permute", "RepeatVector", "UpSampling1D", "ops.Reshape",
       "ops.Transpose", "ops.Squeeze", "ops.ExpandDims", "ops.GetItem", "ops.Identity"}
)  # fmt: skip
_COMPUTING = (
    layer_kinds.MERGING | _AVERAGING
    | {"GlobalAveragePooling1D", "GlobalAveragePooling2D", "UpSampling2D", "BatchNormalization",
       "Rescaling", "Normalization", "Concatenate", "ops.Add", "ops.Subtract", "ops.Multiply",
       "ops.Concatenate", "ops.Mean"}
)  # fmt: skip
_TAKING_RELU = _KERNELS | {
    "Add", "Subtract", "Multiply", "BatchNormalization", "ops.Add", "ops.Subtract", "ops.Multiply",
}  # fmt: skip
_ACTIVATIONS = layer_kinds.ACTIVATIONS | {"Softmax", "PReLU"}


@dataclass(frozen=True, slots=True)
class Site:
    """A grid that one or more tensors are rounded to; `limits` are given, or None: to be found."""

    name: str
    limits: Range | None = None


@dataclass(frozen=True, slots=True)
class Kernel:
    """One weight of a layer: its place among them, and the axes that have scales of their own."""

    place: int
    channels: tuple[int, ...]


@dataclass(slots=True)
class Rules:
    """What is rounded: kernels by layer, sums before a layer's own activation by call, outputs.

    `float_layers` gives, for each layer that stays in float, the reason.
    """

    kernels: dict[str, tuple[Kernel, ...]] = field(default_factory=dict)
    sums: dict[int, Site] = field(default_factory=dict)
    outputs: dict[Tensor, Site] = field(default_factory=dict)
    float_layers: dict[str, str] = field(default_factory=dict)

    def sites(self) -> list[Site]:
        """Every grid once, in the order of computation."""
        found = {site.name: site for site in (*self.sums.values(), *self.outputs.values())}
        return list(found.values())


def rules(graph: Graph, scheme: Scheme, per_tensor: Sequence[str] = ()) -> Rules:
    """The rules for a model whose batch normalization is folded as far as it can be.

    Args:
        graph: The model.
        scheme: Of what runtime. Outside LiteRT outputs of the model stay in float.
        per_tensor: TFLite operators whose weights have one scale; "*" for all.
    """
    reader = _Reader(graph, scheme, tuple(per_tensor))
    for number, call in graph.calls.items():
        reader.take(number, call)
    return reader.rules


class _Reader:
    def __init__(self, graph: Graph, scheme: Scheme, per_tensor: tuple[str, ...]) -> None:
        self.rules = Rules()
        self._graph, self._scheme, self._per_tensor = graph, scheme, per_tensor
        self._read_by = consumers(graph)
        self._grids: dict[Tensor, Site] = {}
        self._seen: dict[str, int] = {}

    def take(self, number: int, call: Call) -> None:
        layer = self._graph.layers[call.layer]
        name = self._name(layer.name)
        if layer.kind in _KEEPING or (layer.kind == "UpSampling2D" and _nearest(layer)):
            self._keep(number, call)
        elif self._scheme == "litert" and layer.kind in _AVERAGING | {"UpSampling2D"}:
            self._keep(number, call, rounding=True)
        elif layer.kind in _KERNELS and _usual(layer):
            self.rules.kernels[layer.name] = tuple(self._kernels(layer))
            self._kernel(number, name, layer)
        elif layer.kind in _ACTIVATIONS:
            self._own(number, call, name, BOUNDED.get(str(function(layer))))
        elif layer.kind == "InputLayer":
            self._own(number, call, name)
        else:
            if layer.kind not in _COMPUTING:
                self.rules.float_layers[layer.name] = WITHOUT_RULE.get(
                    layer.kind, f"edgekit has no int8 rule for {layer.kind}"
                )
            if not self._takes_relu(number, layer):
                self._own(number, call, name)

    def _name(self, layer: str) -> str:
        """A layer's name, with a number from its second call on."""
        self._seen[layer] = self._seen.get(layer, 0) + 1
        return layer if self._seen[layer] == 1 else f"{layer}#{self._seen[layer]}"

    def _keep(self, number: int, call: Call, *, rounding: bool = False) -> None:
        """The grid of what is read holds for what comes out."""
        grids = [self._grids[one] for one in inputs_of(call) if one in self._grids]
        for tensor in outputs_of(number, call) if grids else []:
            self._grids[tensor] = grids[0]
            if rounding:
                self.rules.outputs[tensor] = grids[0]

    def _own(self, number: int, call: Call, name: str, limits: Range | None = None) -> None:
        for tensor, dtype in zip(outputs_of(number, call), call.dtypes, strict=True):
            if not dtype.startswith("float") or self._stays_float(tensor):
                continue
            site = Site(f"{name}:{tensor.index}" if tensor.index else name, limits)
            self._grids[tensor] = self.rules.outputs[tensor] = site

    def _stays_float(self, tensor: Tensor) -> bool:
        """Whether nothing of int8 reads a tensor: outputs, outside LiteRT."""
        return self._scheme != "litert" and set(self._read_by.get(tensor, [-1])) == {-1}

    def _kernel(self, number: int, name: str, layer: Layer) -> None:
        call = self._graph.calls[number]
        own = function(layer)
        if own not in FUSED:
            self.rules.sums[number] = Site(f"{name}/sum")
            self._own(number, call, name, BOUNDED.get(str(own)))
        elif not self._takes_relu(number, layer):
            self._own(number, call, name)

    def _takes_relu(self, number: int, layer: Layer) -> bool:
        """Whether the relu behind a layer becomes part of it, so that only its output is rounded.

        A second activation in the layer itself would come between.
        """
        if layer.kind not in _TAKING_RELU or function(layer) not in (None, "linear"):
            return False
        readers = self._read_by.get(Tensor(number), [])
        if len(readers) != 1 or readers[0] < 0:
            return False
        reader = self._graph.layers[self._graph.calls[readers[0]].layer]
        return reader.kind in _ACTIVATIONS and function(reader) in ("relu", "relu6")

    def _kernels(self, layer: Layer) -> list[Kernel]:
        one_scale = "*" in self._per_tensor or any(
            layer.kind in OPERATORS.get(operator, ()) for operator in self._per_tensor
        )
        rank = layer.weights[0].ndim
        if layer.kind in kernels.SEPARABLE:
            found = [Kernel(0, (rank - 2, rank - 1)), Kernel(1, (rank - 1,))]
        elif layer.kind in kernels.DEPTHWISE:
            found = [Kernel(0, (rank - 2, rank - 1))]
        else:
            found = [Kernel(0, (rank - 2,) if layer.kind in kernels.TRANSPOSED else (rank - 1,))]
        return [Kernel(one.place, () if one_scale else one.channels) for one in found]


def _usual(layer: Layer) -> bool:
    """Whether the weights are a float kernel and a bias: not quantized or LoRA."""
    expected = (2 if layer.kind in kernels.SEPARABLE else 1) + bool(layer.config.get("use_bias"))
    floats = all(np.issubdtype(weight.dtype, np.floating) for weight in layer.weights)
    return floats and len(layer.weights) == expected


def _nearest(layer: Layer) -> bool:
    return str(layer.config.get("interpolation", "nearest")) == "nearest"


def function(layer: Layer) -> Any:
    """The activation of a layer by its name: None, or a name of Keras', else "its own"."""
    config = layer.config
    if layer.kind == "ReLU":
        slope, threshold = config.get("negative_slope"), config.get("threshold")
        known = {None: "relu", 6.0: "relu6"}.get(config.get("max_value"))
        return known if known and not slope and not threshold else "its own"
    if layer.kind in {"Softmax", "LeakyReLU", "ELU", "PReLU"}:
        return layer.kind.lower()
    value = config.get("activation")
    return value if value is None or isinstance(value, str) else "its own"
