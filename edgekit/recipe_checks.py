"""Refuses recipes whose keys, each right by itself, contradict each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgekit import tfmot_recipes
from edgekit.errors import RecipeError
from edgekit.recipe_steps import is_automatic, kind, looks
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    PruneStep,
    QuantizeStep,
    Recipe,
    RecipeStep,
    pattern_of,
)

TOLERANCE = 1e-3
"""Of a sparsity that says the same as its pattern: 0.333 and 2:3."""

_ONE_ENGINE = (
    'use one engine for cluster and quantize: write engine = "tfmot" in both, or leave it out'
)
_AMOUNTS = ("ratio", "max_macs", "max_parameters")
_OF_TRAINING = ("temperature", "weight", "epochs", "learning_rate", "patience", "batch_size")


def check(recipe: Recipe, written: Sequence[Mapping[str, Any]], where: str) -> None:
    """Looks at every step, and at their order.

    Args:
        recipe: As it was read.
        written: Its steps with the keys that the file itself gives.
        where: The recipe's name or path, for messages.

    Raises:
        RecipeError: With the key that has to be another.
    """
    for number, step in enumerate(recipe.step):
        if isinstance(step, ChannelsStep):
            _check_amount(step, number, where)
        if isinstance(step, ChannelsStep | PruneStep):
            _check_auto(step, number, where)
        if isinstance(step, PruneStep):
            _check_pattern(step, number, where)
        if isinstance(step, QuantizeStep):
            _check_quantize(step, number, where)
        tfmot_recipes.check(step, number, where)
        if isinstance(step, QuantizeStep) and step.mode == "ptq":
            _check_untrained(written[number], number, where)
    _check_order(recipe, where)
    planned = [at for at, step in enumerate(recipe.step) if isinstance(step, QuantizeStep)]
    if planned and planned != [len(recipe.step) - 1]:
        raise RecipeError(
            f"{where}: step[{planned[0]}] quantizes, and only the last step can",
            "leave one quantize step, at the end",
        )


def _check_amount(step: ChannelsStep, number: int, where: str) -> None:
    given = [key for key in _AMOUNTS if getattr(step, key) is not None]
    if len(given) == 1:
        return
    if step.ratio == "auto" and len(given) == 2:  # the budget says how far
        return
    came = f"has {' and '.join(given)}" if given else "says not how much goes"
    raise RecipeError(
        f"{where}: step[{number}] (channels) {came}; exactly one of"
        f" {', '.join(_AMOUNTS)} is wanted",
        "write ratio = 0.5, max_macs = 0.25 or max_parameters = 100000",
    )


def _check_pattern(step: PruneStep, number: int, where: str) -> None:
    """N:M says itself how many zeros there are, and where."""
    shape, key = pattern_of(step.pattern), f"{where}: step[{number}]"
    if shape.kind != "N:M":
        return
    if shape.rows >= shape.columns:
        raise RecipeError(
            f"{key}.pattern is '{step.pattern}': of {shape.columns} neighbours {shape.rows} cannot"
            " stay where some are to go",
            'write pattern = "2:4"',
        )
    sparsity = 1 - shape.rows / shape.columns
    if not isinstance(step.sparsity, float) or abs(step.sparsity - sparsity) > TOLERANCE:
        raise RecipeError(
            f"{key}.sparsity is {step.sparsity!r}, and the pattern {step.pattern} has {sparsity:g}",
            f"write sparsity = {sparsity:g}, or another pattern",
        )
    if step.scope != "layer":
        raise RecipeError(
            f"{key}.scope is '{step.scope}', and the pattern {step.pattern} holds in every layer"
            " alike",
            "leave scope out",
        )


def _check_order(recipe: Recipe, where: str) -> None:
    """What would undo an earlier step, instead of holding what that has made."""
    for number, step in enumerate(recipe.step):
        for earlier, before in enumerate(recipe.step[:number]):
            why = _undoes(step, before)
            if why:
                swapped = f"put the step {kind(step)} before it"
                raise RecipeError(
                    f"{where}: step[{number}] ({kind(step)}) {why} step[{earlier}]"
                    f" ({kind(before)})",
                    _ONE_ENGINE if isinstance(step, QuantizeStep) else swapped,
                )


def _undoes(step: RecipeStep, before: RecipeStep) -> str | None:
    match step, before:
        case ChannelsStep(criterion="reconstruction"), PruneStep() | ClusterStep():
            return "has the criterion reconstruction, which adjusts weights and would undo"
        case ChannelsStep(), PruneStep() if pattern_of(before.pattern).kind == "N:M":
            return "takes single channels, and would part the groups of"
        case PruneStep(), ClusterStep():
            return "parts the values that weights share by"
        case QuantizeStep(engine="tfmot"), ClusterStep(engine="own"):
            return "has engine tfmot, which knows no values by channel as they are shared by"
    return None


def _check_quantize(step: QuantizeStep, number: int, where: str) -> None:
    if not looks(step):
        return
    what = 'mode "qat"' if step.mode == "qat" else "refine"
    if step.precision != "int8":
        raise RecipeError(
            f"{where}: step[{number}] (quantize) has precision {step.precision}, and {what}"
            " simulates int8 alone",
            'write precision = "int8", or leave that key out',
        )
    if step.mode == "qat" and step.refine:
        raise RecipeError(
            f'{where}: step[{number}] (quantize) has both mode "qat", which trains on labels, and'
            " refine, which does without",
            'write mode = "ptq" with refine, or leave refine out',
        )


def _check_auto(step: ChannelsStep | PruneStep, number: int, where: str) -> None:
    """That "auto" is not asked together with what decides the shares another way."""
    key = "ratio" if isinstance(step, ChannelsStep) else "sparsity"
    at, fix = f"{where}: step[{number}] ({kind(step)})", f'leave one out, or write {key} = "auto"'
    if not is_automatic(step):
        if step.overall is not None:
            raise RecipeError(f'{at} has overall, which goes with {key} = "auto" only', fix)
        return
    fix = f'leave it out, or write {key} = 0.5 in place of "auto"'
    if step.scope == "global":
        raise RecipeError(f'{at} has {key} = "auto", a share per layer, and scope = "global"', fix)
    if isinstance(step, ChannelsStep) and step.overall and (step.max_macs or step.max_parameters):
        raise RecipeError(f"{at} has overall and a budget; either says how far", "leave one out")


def _check_untrained(written: Mapping[str, Any], number: int, where: str) -> None:
    """That mode "ptq" is given no key of a training, which would say nothing."""
    given = next((key for key in _OF_TRAINING if key in written), None)
    if given:
        raise RecipeError(
            f'{where}: step[{number}].{given} goes with mode "qat", and the mode is "ptq"',
            f'write mode = "qat", or leave {given} out',
        )
