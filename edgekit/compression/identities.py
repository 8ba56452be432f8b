"""Finds layers that hand on what they get, and takes them out of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras

from edgekit.compression import layer_kinds
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

AUGMENTING = frozenset({
    "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue",
    "RandomInvert", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
})  # fmt: skip
TRAINING_ONLY = layer_kinds.NOISE | AUGMENTING
"""Layers that change nothing at inference."""
WITHOUT_OPERATOR = frozenset({"Activation", "Identity"})
"""Identities that leave nothing in a traced graph; the others become operators somewhere."""


def remove(graph: Graph, *, for_inference: bool) -> tuple[list[Removal], list[Removal]]:
    """Removes identities in place.

    Args:
        graph: The model.
        for_inference: Also remove what acts in training only: Dropout, noise, augmentation.

    Returns:
        What was removed, and what is an identity and had to stay.
    """
    removed: list[Removal] = []
    kept: list[Removal] = []
    masked = _carries_masks(graph)
    used = consumers(graph)
    replaced: dict[Tensor, Tensor] = {}
    uses = calls_by_layer(graph)
    calls = dict(graph.calls)
    for number, call in calls.items():
        layer = graph.layers[call.layer]
        why = _why(calls, layer, call, for_inference)
        if why is None:
            continue
        entry = Removal(layer.name, layer.kind, None, None, why)
        obstacle = _obstacle(layer, used[Tensor(number)], masked, len(uses[layer.name]))
        if obstacle:
            kept.append(Removal(layer.name, layer.kind, None, None, f"{why}, but {obstacle}"))
            continue
        replaced[Tensor(number)] = inputs_of(call)[0]
        del graph.calls[number]
        del graph.layers[layer.name]
        removed.append(entry)
    _redirect(graph, replaced)
    return removed, kept


def _redirect(graph: Graph, replaced: dict[Tensor, Tensor]) -> None:
    def final(value: object) -> object:
        while isinstance(value, Tensor) and value in replaced:
            value = replaced[value]
        return value

    for call in graph.calls.values():
        call.args, call.kwargs = keras.tree.map_structure(final, (call.args, call.kwargs))


def _obstacle(layer: Layer, readers: list[int], masked: bool, uses: int) -> str | None:
    if -1 in readers:
        return "its name is the name of an output"
    if uses > 1:
        return "it is called more than once"
    if masked and layer.kind not in layer_kinds.NOISE | {"Activation", "Identity"}:
        return "the model masks time steps, and a mask may end here"
    return None


def _carries_masks(graph: Graph) -> bool:
    return any(
        layer.kind == "Masking" or bool(layer.config.get("mask_zero"))
        for layer in graph.layers.values()
    )


def _why(calls: dict[int, Call], layer: Layer, call: Call, for_inference: bool) -> str | None:
    given = inputs_of(call)
    rule = _RULES.get(layer.kind)
    if layer.kind in TRAINING_ONLY:
        why = "it acts in training only" if for_inference else None
    else:
        why = rule(_Use(layer, call, len(given))) if rule else None
    if why is None or not is_plain(call) or len(given) != 1 or len(call.shapes) != 1:
        return None
    source = calls[given[0].call]
    same = (source.shapes[given[0].index], source.dtypes[given[0].index]) == (
        call.shapes[0],
        call.dtypes[0],
    )
    return why if same else None


class _Use(NamedTuple):
    """A call, its layer, and how many tensors it reads."""

    layer: Layer
    call: Call
    inputs: int


def _linear(use: _Use) -> str | None:
    return "its activation is linear" if use.layer.config["activation"] == "linear" else None


def _always(_: _Use) -> str | None:
    return "it hands on what it gets"


def _merges_one(use: _Use) -> str | None:
    return "it merges a single tensor" if use.inputs == 1 else None


def _reshapes(use: _Use) -> str | None:
    open_axes = sum(size is None for size in use.call.shapes[0][1:])
    return "its output has the shape of its input" if open_axes <= 1 else None


def _permutes(use: _Use) -> str | None:
    dims = tuple(use.layer.config["dims"])
    return "it leaves the axes in order" if dims == tuple(range(1, len(dims) + 1)) else None


def _pads_nothing(use: _Use) -> str | None:
    key = "padding" if "padding" in use.layer.config else "cropping"
    return "it adds and cuts nothing" if not any(_flat(use.layer.config[key])) else None


def _flat(value: object) -> list[int]:
    return [int(number) for number in keras.tree.flatten(value)]


def _scales_by_one(use: _Use) -> str | None:
    return "it repeats nothing" if set(_flat(use.layer.config["size"])) == {1} else None


def _pools_one(use: _Use) -> str | None:
    if "pool_size" not in use.layer.config:
        return None
    ones = {*_flat(use.layer.config["pool_size"]), *_flat(use.layer.config["strides"])} == {1}
    return "its window and step are 1" if ones else None


def _rescales_by_one(use: _Use) -> str | None:
    same = use.layer.config["scale"] == 1 and use.layer.config["offset"] == 0
    return "its scale is 1 and its offset 0" if same else None


_RULES: dict[str, Callable[[_Use], str | None]] = {
    **dict.fromkeys(layer_kinds.PADDING | layer_kinds.CROPPING, _pads_nothing),
    **dict.fromkeys(layer_kinds.MERGING | {"Concatenate"}, _merges_one),
    **dict.fromkeys(layer_kinds.UPSAMPLING, _scales_by_one),
    **dict.fromkeys(layer_kinds.POOLING, _pools_one),
    "Activation": _linear,
    "Flatten": _reshapes,
    "Identity": _always,
    "Permute": _permutes,
    "Rescaling": _rescales_by_one,
    "Reshape": _reshapes,
}
