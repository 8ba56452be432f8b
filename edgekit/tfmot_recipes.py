"""Which steps of a recipe are TFMOT's, and what it cannot do: known from the recipe alone."""

from __future__ import annotations

from typing import TypeGuard

from edgekit.errors import RecipeError
from edgekit.recipe_types import ClusterStep, PruneStep, QuantizeStep, RecipeStep

ENGINE = "tfmot"

Step = PruneStep | ClusterStep | QuantizeStep
"""The steps that have an engine."""

_OWN = 'leave out engine = "tfmot"'


def takes(step: RecipeStep) -> TypeGuard[Step]:
    """Whether a step is one of TFMOT's."""
    return isinstance(step, Step) and step.engine == ENGINE


def check(step: RecipeStep, number: int, where: str) -> None:
    """Refuses what TFMOT has no notion of.

    Raises:
        RecipeError: With the key that has to be another.
    """
    if not takes(step):
        return
    said = f"{where}: step[{number}] has engine {ENGINE}, which"
    match step:
        case PruneStep(scope="global"):
            raise RecipeError(f"{said} prunes every layer by itself; scope is global", _OWN)
        case PruneStep(sparsity="auto"):
            raise RecipeError(f"{said} takes one number for all layers; sparsity is auto", _OWN)
        case QuantizeStep(mode="ptq"):
            raise RecipeError(f"{said} has no mode ptq", f'set mode = "qat", or {_OWN}')
        case QuantizeStep(scheme=scheme) if scheme not in {None, "litert"}:
            raise RecipeError(f"{said} knows LiteRT's int8 alone; scheme is {scheme}", _OWN)
