"""Which layers TFMOT treats, and why it leaves the others: known before it is ever asked.

Left to itself it skips some layers in silence, and refuses a whole model for others. The rules are
those of its own registries (tensorflow-model-optimization 0.8.1), held against them by a test.
Imports neither TFMOT nor the old Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgekit.compression.graph import (
    Array,
    Graph,
    Layer,
    calls_by_layer,
    consumers,
    inputs_of,
    outputs_of,
)
from edgekit.compression.kernels import DEPTHWISE
from edgekit.recipe_types import ClusterStep, PruneStep, QuantizeStep

OWN_ENGINE = 'leave out engine = "tfmot": edgekit\'s own steps do without it'

RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})
PRUNED = RECURRENT | {
    "Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense", "Embedding",
    "MultiHeadAttention", "SeparableConv1D", "SeparableConv2D",
}  # fmt: skip
CLUSTERED = PRUNED | {"Bidirectional", "Conv1DTranspose"}

WEIGHTED = frozenset({"Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D"})
"""Whose weights quantization-aware training quantizes."""
RANGED = frozenset({
    "Add", "AveragePooling1D", "AveragePooling2D", "Concatenate", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "LeakyReLU", "ReLU", "UpSampling2D",
})  # fmt: skip
"""Whose output it quantizes."""
PASSED = frozenset({
    "ActivityRegularization", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "Flatten",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "MaxPooling2D", "Permute",
    "Reshape", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
    "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
"""Through which quantized values go as they are."""
QUANTIZED = WEIGHTED | RANGED | PASSED

FUSED_ACTIVATIONS = frozenset(
    {"gelu", "linear", "relu", "sigmoid", "silu", "softmax", "swish", "tanh"}
)
ACTIVATIONS = FUSED_ACTIVATIONS | {"relu6"}
"""What a layer `Activation` may be."""
_FOLDED = frozenset({"Conv2D", "DepthwiseConv2D", "Dense"})
_COUNTED_AS_FLOAT = frozenset({"InputLayer", "Identity"})


@dataclass(slots=True)
class Ruling:
    """Layers by name: those that are treated, and those that are left, each with the reason."""

    treated: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


Rule = Callable[[Layer], str | None]
"""Why a layer with a kernel is left; None where it is treated."""


def of_step(taken: Graph, step: PruneStep | ClusterStep | QuantizeStep, *, zeros: bool) -> Ruling:
    """What TFMOT does to each layer in a step.

    Args:
        taken: The model.
        step: With engine "tfmot".
        zeros: An earlier step pruned.
    """
    match step:
        case PruneStep():
            return _of_kernels(taken, lambda layer: _unprunable(layer, step), "is pruned")
        case ClusterStep():
            ruling = _of_kernels(taken, lambda layer: _unclusterable(layer, step, zeros=zeros), "")
            for name in ruling.treated:
                count = clusters_of(taken.layers[name], step.clusters, zeros=zeros)
                ruling.treated[name] = f"gets {count} values"
            return ruling
    return _quantization(taken)


def kernels(layer: Layer) -> list[int]:
    """The places of a layer's kernels among its weights: what pruning and clustering are about."""
    if layer.kind in {"SeparableConv1D", "SeparableConv2D"}:
        return [1]
    if layer.kind == "MultiHeadAttention":
        return [place for place, weight in enumerate(layer.weights) if weight.ndim == 3]
    if layer.kind in RECURRENT:
        return [0, 1]
    if layer.kind == "Bidirectional":
        half = len(layer.weights) // 2
        return [0, 1, half, half + 1]
    return [place for place, weight in enumerate(layer.weights) if weight.ndim > 1][:1]


def clusters_of(layer: Layer, asked: int, *, zeros: bool) -> int:
    """How many values a layer's kernels can get: k-means fails with more than there are weights.

    Args:
        layer: With kernels.
        asked: The number that the recipe wants.
        zeros: Zeros are kept as one of the values.
    """
    found = [layer.weights[place] for place in kernels(layer)]
    keeps = zeros and all((weight == 0).any() for weight in found)
    fewest = min(np.unique(weight[weight != 0]).size + keeps for weight in found)
    return int(min(asked, fewest, min(weight.size for weight in found) - 1))


def keeps_zeros(layer: Layer) -> bool:
    """Whether there are zeros in each of a layer's kernels."""
    return all((layer.weights[place] == 0).any() for place in kernels(layer))


def _of_kernels(taken: Graph, rule: Rule, treated: str) -> Ruling:
    ruling = Ruling()
    for layer in taken.layers.values():
        if layer.kind == "BatchNormalization" or not any(w.ndim > 1 for w in layer.weights):
            continue
        why = rule(layer)
        if why is None and not layer.config.get("trainable", True):
            why = "its weights are frozen (trainable = False)"
        if why is None:
            ruling.treated[layer.name] = treated
        else:
            ruling.left[layer.name] = why
    return ruling


def _unprunable(layer: Layer, step: PruneStep) -> str | None:
    if layer.kind in DEPTHWISE:
        return "TFMOT prunes no depthwise kernels"
    if layer.kind not in PRUNED:
        return "TFMOT does not prune this kind of layer"
    found = [layer.weights[place] for place in kernels(layer)]
    axes = {weight.ndim for weight in found}
    if ":" in step.pattern:
        if axes - {2, 4}:
            return f"TFMOT's pattern {step.pattern} takes kernels of 2 or 4 axes, not {max(axes)}"
        group = int(step.pattern.partition(":")[2])
        fewest = min(weight.shape[-2] for weight in found)
        if fewest < group:
            return f"it has {fewest} inputs, fewer than the {group} of the pattern {step.pattern}"
    if "x" in step.pattern:
        return _unblocked(found, step.pattern)
    return None


def _unblocked(found: Sequence[Array], pattern: str) -> str | None:
    """Why kernels cannot be pruned in blocks of R inputs by C outputs."""
    rows, columns = map(int, pattern.split("x"))
    for weight in found:
        if weight.ndim != 2:
            return f"TFMOT's blocks take kernels of 2 axes, not {weight.ndim}"
        if weight.shape[0] <= rows or weight.shape[1] <= columns:
            return (
                f"TFMOT needs more than one block of {pattern} each way, and it is {weight.shape}"
            )
    return None


def _unclusterable(layer: Layer, step: ClusterStep, *, zeros: bool) -> str | None:
    if layer.kind in DEPTHWISE:
        return "TFMOT clusters no depthwise kernels"
    if layer.kind not in CLUSTERED:
        return "TFMOT does not cluster this kind of layer"
    some = any((layer.weights[place] == 0).any() for place in kernels(layer))
    if zeros and some and not keeps_zeros(layer):
        return "some of its kernels have zeros and some have none"
    count = clusters_of(layer, step.clusters, zeros=zeros)
    if count < (3 if zeros and keeps_zeros(layer) else 2):
        return "it has too few different weights to cluster"
    return None


def _quantization(taken: Graph) -> Ruling:
    calls, readers = calls_by_layer(taken), consumers(taken)
    ruling = Ruling()
    folded: list[Layer] = []
    for layer in taken.layers.values():
        if layer.kind in _COUNTED_AS_FLOAT:
            continue
        if layer.kind == "BatchNormalization":
            folded.append(layer)
            continue
        why = _unquantizable(layer)
        if len(calls.get(layer.name, ())) > 1:
            why = f"it is used {len(calls[layer.name])} times"
        _rule(ruling, layer, why)
    for layer in folded:
        number = calls[layer.name][0]
        given = inputs_of(taken.calls[number])[0]
        before = taken.layer_of(given)
        alone = len(readers[given]) == 1 and outputs_of(given.call, taken.calls[given.call]) == [
            given
        ]
        linear = before.config.get("activation") in {None, "linear"}
        fits = before.kind in _FOLDED and linear and alone and before.name in ruling.treated
        why = None if fits else "it follows no convolution or Dense layer of its own"
        _rule(ruling, layer, why)
    return ruling


def _rule(ruling: Ruling, layer: Layer, why: str | None) -> None:
    if why is None:
        ruling.treated[layer.name] = "is quantized" if layer.weights else ""
    else:
        ruling.left[layer.name] = f"stays float: {why}"


def _unquantizable(layer: Layer) -> str | None:
    if layer.kind == "Activation":
        name = layer.config.get("activation")
        return None if name in ACTIVATIONS else f"TFMOT does not quantize the activation {name}"
    if layer.kind not in QUANTIZED:
        return "TFMOT does not quantize this kind of layer"
    name = layer.config.get("activation", "linear") if layer.kind in WEIGHTED else "linear"
    if isinstance(name, dict) or name not in FUSED_ACTIVATIONS:
        shown = name.get("class_name", name.get("config")) if isinstance(name, dict) else name
        return f"TFMOT does not quantize its activation {shown}"
    return None
