"""What the steps of a recipe need and leave."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    DistillStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    RecipeStep,
)


def kind(step: RecipeStep) -> str:
    """The `kind` of a step, as the recipe writes it."""
    return str(step.__struct_config__.tag)


def trains(step: RecipeStep) -> bool:
    """Whether a step needs training data."""
    match step:
        case ChannelsStep():
            return step.iterations > 1 or step.criterion == "taylor"
        case QuantizeStep():
            return step.mode == "qat"
        case PruneStep() | ClusterStep():
            return step.epochs > 0
        case _:
            return isinstance(step, FinetuneStep | DistillStep)


def has_epochs(step: RecipeStep) -> bool:
    """Whether a step trains for a number of epochs."""
    match step:
        case ChannelsStep():
            return step.iterations > 1
        case _:
            return trains(step)


def plans_int8(steps: Sequence[RecipeStep]) -> bool:
    """Whether a recipe's last step leaves weights in 8 bits, with a scale for each channel."""
    last = steps[-1] if steps else None
    return (
        isinstance(last, QuantizeStep)
        and last.precision.startswith("int")
        and ("8" in last.precision)
    )


def looks(step: RecipeStep) -> bool:
    """Whether a step needs samples, be it without labels."""
    return reads(step) or is_automatic(step)


def reads(step: RecipeStep) -> bool:
    """Whether a step needs what is there to train on, be it without labels."""
    match step:
        case ChannelsStep(criterion="reconstruction") | QuantizeStep(refine=True):
            return True
        case _:
            return trains(step)


def is_automatic(step: RecipeStep) -> bool:
    """Whether a step takes the shares of its layers from their sensitivity."""
    match step:
        case ChannelsStep(ratio="auto") | PruneStep(sparsity="auto"):
            return True
        case _:
            return False
