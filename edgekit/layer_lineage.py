"""Whether two models are the same network at all: compression makes another one of it.

Layers of a pruned or retrained network differ from the original's because they were changed, which
says nothing about quantization: no layer of it is called bad, and no option of convert helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgekit.compare_sides import Side
from edgekit.compare_types import Unmatched
from edgekit.layer_matching import NO_SUCH_SHAPE
from edgekit.layer_types import family

_WEIGHTED = ("conv", "deconv", "dense")


class Changed(NamedTuple):
    """Why layers cannot be judged, and what to compare with instead."""

    why: str
    instead: str


def changed(reference: Side, artifact: Side, unmatched: Sequence[Unmatched]) -> Changed | None:
    """Says what made another network of the artifact's; None where nothing tells so.

    Args:
        reference: The one model.
        artifact: The other one.
        unmatched: Tensors of the artifact without a counterpart.
    """
    origins = (_origin(reference), _origin(artifact))
    if origins[1] in (origins[0] or reference.about.sha256, reference.about.sha256):
        return None
    told = []
    recipe = _recipe(artifact) or _recipe(reference)
    if recipe is not None and all(origins):
        told.append(f"the recipe {recipe} lies between the two")
    other = [one for one in unmatched if one.why == NO_SUCH_SHAPE and family(one.kind) in _WEIGHTED]
    if other:
        layers = f"{len(other)} layer{'s' * (len(other) != 1)}"
        told.append(f"{layers} without a counterpart of the same shape")
    if not told:
        return None
    return Changed(f"this is another network: {', '.join(told)}", _instead(artifact))


def _instead(artifact: Side) -> str:
    path = artifact.about.path
    if artifact.made is not None and artifact.about.runtime != "tensorflow":
        return f"compare with {artifact.made.source.path}, which {path} was converted from"
    if artifact.made is not None:
        return "outputs and accuracy tell what compression cost; layers tell of conversions"
    return f"compare with the model that {path} was converted from: the compressed .keras"


def _recipe(side: Side) -> str | None:
    return side.made.recipe if side.made else None


def _origin(side: Side) -> str | None:
    """The SHA-256 of the model that a side computes; None where nothing tells it."""
    if side.about.runtime == "tensorflow":
        return side.about.sha256
    return side.made.source.sha256 if side.made else None
