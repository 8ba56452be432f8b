"""Which built-in recipe would make a model fit, by arithmetic on its layers: an estimate.

Removing a share of the channels of every layer takes that share of a layer's filters, and of the
inputs of the layers that read them; the model's own inputs and outputs stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edgekit import recipe_files
from edgekit.recipe_types import ChannelsStep, QuantizeStep
from edgekit.types import LayerInfo, ModelInfo

_ONE_SIDED = frozenset({
    "DepthwiseConv1D", "DepthwiseConv2D", "DEPTHWISE_CONV_2D", "BatchNormalization", "PReLU",
})  # fmt: skip
"""Layers whose weights grow with their channels, not with the square of them."""

Fits = Callable[[float], bool]


def parameters_after(info: ModelInfo, ratio: float) -> int:
    """Parameters that are left when a share of every layer's channels goes, by estimate.

    Args:
        info: The model.
        ratio: The share of channels that goes, in 0 to 1.
    """
    weighted = [layer for layer in info.layers if layer.parameters]
    return round(sum(_left(layer, weighted, 1 - ratio) for layer in weighted))


def recipe(fits: Fits) -> str | None:
    """The built-in int8 recipe that removes the fewest channels and fits; None if none does.

    Args:
        fits: Whether a model fits once that share of its channels is gone.
    """
    return next((name for ratio, name in sorted(_recipes()) if fits(ratio)), None)


def advice(info: ModelInfo, fits: Fits) -> str:
    """What to type so that a model fits, for the end of a message."""
    if not info.layers:
        return "make the model smaller"
    name = recipe(fits)
    if name is None:
        return "no built-in recipe makes it fit, by estimate: make the model smaller"
    whose = "" if info.generation else " the Keras model it was made from"
    return f"compress{whose} with --recipe {name}, which fits by estimate"


def _left(layer: LayerInfo, weighted: list[LayerInfo], kept: float) -> float:
    edge = layer is weighted[0] or layer is weighted[-1]
    if len(weighted) == 1:
        return layer.parameters
    one_sided = edge or layer.kind in _ONE_SIDED
    return layer.parameters * (kept if one_sided else kept * kept)


def _recipes() -> Iterator[tuple[float, str]]:
    """Share of the channels and name of each recipe that goes by a ratio and ends in int8."""
    for name in recipe_files.names():
        steps = recipe_files.load(name).step
        ratios = [
            step.ratio for step in steps
            if isinstance(step, ChannelsStep) and isinstance(step.ratio, float)
        ]  # fmt: skip
        last = steps[-1]
        if ratios and isinstance(last, QuantizeStep) and last.precision == "int8":
            yield ratios[0], name
