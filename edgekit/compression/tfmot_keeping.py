"""What earlier steps gave a model and TFMOT has to keep, and the weights on their way back.

TFMOT keeps zeros and clusters in some layers only; the kernels of the others are not trained on.
Imports no framework.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import tfmot_rules
from edgekit.compression.graph import Graph, Layer

Array = NDArray[Any]
Held = Mapping[str, Any]

PRESERVED = frozenset({"Conv2D", "Dense"})
"""Kinds of layers whose zeros and clusters TFMOT's collaborative schemes keep."""


def trained(technique: Any, taken: Graph, held: Held) -> tuple[list[Any], list[str]]:
    """The variables to train, and a sentence on kernels that are not.

    Args:
        technique: A `tfmot_techniques.Technique`.
        taken: The model before the step.
        held: See `Engine.begin`.
    """
    frozen: list[str] = []
    left_out: set[int] = set()
    for name, variables in technique.unkept().items():
        layer = taken.layers[name]
        if any(_is_held(layer.weights[place], held) for place in tfmot_rules.kernels(layer)):
            frozen.append(name)
            left_out |= {id(variable) for variable in variables}
    kept = [one for one in technique.model.trainable_variables if id(one) not in left_out]
    told = f"kernels that keep their zeros or values, and are not trained: {', '.join(frozen)}"
    return kept, [told] * bool(frozen)


def check(
    taken: Graph,
    weights: Mapping[str, list[Array]],
    held: Held,
    *,
    zeros_of: Set[str],
    clusters_of: Set[str],
) -> None:
    """Asserts that zeros and clusters have come through, in the layers named.

    Quantization per channel gives equal values of different channels different scales: what is
    counted there are the values of each channel.
    """
    for name, after in weights.items():
        layer = taken.layers[name]
        for place in tfmot_rules.kernels(layer):
            before, now = layer.weights[place], after[place]
            if held["zeros"] and name in zeros_of:
                lost = int(np.count_nonzero(now[before == 0]))
                assert not lost, f"TFMOT lost {lost} zeros of layer {name}"
            if name in clusters_of and _is_clustered(before, held):
                most = max(np.unique(channel).size for channel in _channels(now))
                assert most <= held["clusters"], f"TFMOT lost the clusters of layer {name}: {most}"


def write(path: Path, weights: Mapping[str, list[Array]]) -> None:
    """Writes weights by layer as an .npz, its arrays called NUMBER:NAME."""
    arrays = {
        f"{place}:{name}": array
        for name, values in weights.items()
        for place, array in enumerate(values)
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]  # a name may be allow_pickle's


def read(path: Path) -> dict[str, list[Array]]:
    """The inverse of `write`."""
    found: dict[str, list[Array]] = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            found.setdefault(key.partition(":")[2], []).append(stored[key])
    return found


def put(taken: Graph, weights: Mapping[str, list[Array]]) -> None:
    """Gives a graph the weights that came back."""
    for name, values in weights.items():
        layer: Layer = taken.layers[name]
        shapes = [value.shape for value in values]
        assert shapes == [weight.shape for weight in layer.weights], (name, shapes)
        layer.weights = [
            value.astype(weight.dtype) for value, weight in zip(values, layer.weights, strict=True)
        ]


def _is_held(kernel: Array, held: Held) -> bool:
    return bool(held["zeros"] and (kernel == 0).any()) or _is_clustered(kernel, held)


def _is_clustered(kernel: Array, held: Held) -> bool:
    return held["clusters"] is not None and np.unique(kernel).size <= held["clusters"]


def _channels(kernel: Array) -> Array:
    rows: Array = np.moveaxis(kernel, -1, 0).reshape(kernel.shape[-1], -1)
    return rows
