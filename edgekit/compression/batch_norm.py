"""Folds BatchNormalization into the kernel before it: for inference only, after all training.

Jacob et al. 2018, Quantization and Training of Neural Networks (arXiv 1712.05877), §3.2.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgekit.compression import bounds, kernels
from edgekit.compression.graph import (
    Call,
    Graph,
    Layer,
    Tensor,
    calls_by_layer,
    consumers,
    inputs_of,
    is_plain,
)
from edgekit.recipe_types import Removal

Array = NDArray[Any]


def fold_batch_norms(graph: Graph) -> tuple[list[Removal], list[Removal]]:
    """Multiplies each normalization into the layer that makes its input, in place.

    Returns:
        What was folded, and what had to stay with the reason.
    """
    folded: list[Removal] = []
    kept: list[Removal] = []
    for number, call in list(graph.calls.items()):
        layer = graph.layers[call.layer]
        if layer.kind != "BatchNormalization":
            continue
        obstacle = _obstacle(graph, number, call, layer)
        if obstacle:
            kept.append(Removal(layer.name, layer.kind, None, None, obstacle))
            continue
        source = inputs_of(call)[0]
        before = graph.layer_of(source)
        _scale(before, *bounds.scale_and_offset(layer))
        _bypass(graph, number, source)
        why = f"its scale and offset went into the kernel and bias of '{before.name}'"
        folded.append(Removal(layer.name, layer.kind, None, None, why))
    return folded, kept


def _obstacle(graph: Graph, number: int, call: Call, layer: Layer) -> str | None:
    source = inputs_of(call)[0]
    before, used, calls = graph.layer_of(source), consumers(graph), calls_by_layer(graph)
    if before.kind not in kernels.KERNELS or not kernels.is_plain(before):
        return f"before it stands '{before.name}' ({before.kind}), which has no kernel to fold into"
    if not bounds.normalizes_channels(layer, len(call.shapes[0])) or not is_plain(call):
        return "it does not normalize the last axis, or is called with more than its input"
    if len(calls[layer.name]) > 1 or len(calls[before.name]) > 1:
        return "it, or the layer before it, is called more than once"
    if used[source] != [number]:
        return f"'{before.name}' is read by other layers too"
    if before.config["activation"] not in (None, "linear"):
        return f"'{before.name}' ends in an activation"
    return "its name is the name of an output" if -1 in used[Tensor(number)] else None


def _scale(layer: Layer, scale: Array, offset: Array) -> None:
    place = 1 if layer.kind in kernels.SEPARABLE else 0
    kernel = layer.weights[place].astype(np.float64)
    if layer.kind in kernels.TRANSPOSED:
        factor = scale[:, None]
    else:
        factor = scale.reshape(kernel.shape[-2:]) if layer.kind in kernels.DEPTHWISE else scale
    dtype = layer.weights[place].dtype
    bias = layer.weights.pop().astype(np.float64) if layer.config["use_bias"] else 0.0
    layer.weights[place] = (kernel * factor).astype(dtype)
    layer.weights.append((bias * scale + offset).astype(dtype))
    layer.config["use_bias"] = True


def _bypass(graph: Graph, number: int, source: Tensor) -> None:
    del graph.layers[graph.calls.pop(number).layer]
    gone = Tensor(number)
    for call in graph.calls.values():
        call.args, call.kwargs = keras.tree.map_structure(
            lambda value: source if value == gone else value, (call.args, call.kwargs)
        )
