"""The keys of a recipe's step in one line, without those that say nothing for it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from edgekit import (
    recipe_steps,
    tfmot_recipes,
)
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    FinetuneStep,
    PruneStep,
    QuantizeStep,
    RecipeStep,
)

_TRAINING = frozenset(msgspec.structs.asdict(FinetuneStep()))
_TEACHING = frozenset({"temperature", "weight"})


def line(step: RecipeStep) -> str:
    """The keys that matter; those that are left to `compress` are not shown."""
    idle = {"kind", *_idle(step)}
    keys = msgspec.to_builtins(step)
    shown = {key: value for key, value in keys.items() if key not in idle and value is not None}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def _idle(step: RecipeStep) -> Iterator[str]:
    """Keys that another key of the same step makes meaningless."""
    match step:
        case ChannelsStep(iterations=1):
            yield "epochs"
        case QuantizeStep(mode="qat"):
            yield "refine"
        case QuantizeStep():
            yield "engine"
            yield from _TRAINING
            if not step.refine:
                yield "scheme"
        case PruneStep(epochs=0):
            yield "schedule"
    if isinstance(step, PruneStep | ClusterStep | QuantizeStep):
        yield from _idle_training(step)


def _idle_training(step: PruneStep | ClusterStep | QuantizeStep) -> Iterator[str]:
    """Of a step that may train, and may have a teacher."""
    if not recipe_steps.trains(step):
        yield from _TEACHING | (_TRAINING - {"epochs"})
    elif tfmot_recipes.takes(step):  # which trains on labels alone
        yield from _TEACHING
    elif step.weight == 0:
        yield "temperature"
