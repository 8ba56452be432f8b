"""The inspect stage: what a model file holds, without converting or training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    compression_plan,
    gains,
    hardware,
    loading,
    recipe_files,
    recipe_steps,
    registry,
    step_settings,
    target_rules,
)
from edgekit.errors import ModelError
from edgekit.inspect_types import Finding, RecipeFindings, StepFindings
from edgekit.profile_types import Profile
from edgekit.recipe_types import ChannelsStep, QuantizeStep, Recipe, RecipeStep, Removal
from edgekit.types import ModelInfo
from edgekit.workers import Worker

COMPRESSOR = "edgekit.compression.compressor:Compressor"


def inspect(path: str | Path, *, targets: Sequence[str] = (), trust: bool = False) -> ModelInfo:
    """Opens a model in a child process and says what it is.

    Args:
        path: .keras, .h5 (either Keras generation), SavedModel directory, .tflite or .onnx.
        targets: Profiles that the model will be held against; an unknown one is refused before
            the model is opened.
        trust: Load models that carry code or classes of their own.

    Returns:
        Inputs, outputs, layers, parameters and MACs; what a target would not support is
        `edgekit.target_rules`' to say.

    Raises:
        ModelError: It is missing, damaged, unsafe, or cannot be loaded.
        ProfileError: A target is unknown or invalid.
        MissingExtra: The framework that reads this format is not installed.
    """
    for target in targets:
        hardware.load(target)
    file = loading.identify(path, trust=trust)
    with loading.opened(file, trust=trust) as (_, info):
        return info


def lint(path: str | Path, profile: Profile) -> tuple[Finding, ...]:
    """What a target's runtime would refuse of an .onnx; nothing for other models and targets.

    Args:
        path: A model that `inspect` has read.
        profile: The target.

    Raises:
        MissingExtra: What reads .onnx is not installed.
    """
    if profile.format not in registry.LINTERS or loading.identify(path).family != "onnx":
        return ()
    registry.require(registry.CONVERTERS[profile.format], f"looking at it for {profile.name}")
    with Worker(registry.LINTERS[profile.format], "the linter") as linter:
        return msgspec.convert(linter.call("lint", path=str(path)), tuple[Finding, ...])


def explain(
    path: str | Path, recipe: str | Path, *, target: str | None = None, trust: bool = False
) -> tuple[ModelInfo, RecipeFindings]:
    """Says what a recipe would do to a model, layer by layer; nothing is trained or written.

    Args:
        path: .keras, .h5 or a SavedModel with its layers.
        recipe: A built-in recipe's name, or a TOML file.
        target: A profile: its channel multiple, its rules for what is planned, and its gains.
        trust: Load models that carry code or classes of their own.

    Raises:
        RecipeError, ProfileError: The recipe or target is unknown or invalid.
        ModelError: As `inspect`; or the model has no Keras layers.
    """
    chosen = recipe_files.load(recipe)
    profile = hardware.load(target) if target else None
    file = loading.identify(path, trust=trust)
    if file.family != "keras":
        raise ModelError(
            f"{file.path} is a .{file.format} model, and recipes change Keras layers",
            "inspect the Keras model that it was made from, or leave out --recipe",
        )
    asked = compression_plan.Request(model=path, recipe=recipe, output="explained.keras")
    steps = compression_plan.steps(asked, chosen)
    with loading.opened(file, trust=trust, reference=COMPRESSOR) as (worker, info):
        numbered = [_for_target(_with_numbers(step, info), profile) for step in steps]
        told = worker.call(
            "explain",
            steps=msgspec.to_builtins(numbered),
            multiple=profile.channel_multiple if profile else 1,
            per_tensor=list(hardware.one_scale(profile)) if profile else [],
        )
    return info, _put_together(chosen, steps, told, info, profile)


def _with_numbers(step: RecipeStep, info: ModelInfo) -> RecipeStep:
    """A step whose budgets are numbers: a share is one of what the source has."""
    if not isinstance(step, ChannelsStep):
        return step
    return msgspec.structs.replace(
        step,
        max_macs=_number(step.max_macs, info.macs),
        max_parameters=_number(step.max_parameters, info.parameters),
    )


def _for_target(step: RecipeStep, profile: Profile | None) -> RecipeStep:
    """A step that simulates int8 with whose int8 that is, where only the target says it."""
    if profile is None or not isinstance(step, QuantizeStep) or step.scheme is not None:
        return step
    return msgspec.structs.replace(step, scheme=hardware.scheme(profile))


def _number(budget: float | None, whole: int | None) -> int | None:
    if budget is None or budget >= 1:
        return None if budget is None else int(budget)
    if whole is None:
        raise ModelError(
            f"the recipe asks for {budget:g} of the model's MACs, and nobody can count them",
            "give max_parameters, ratio or a number of MACs instead",
        )
    return max(1, int(budget * whole))


def _put_together(
    recipe: Recipe,
    steps: Sequence[RecipeStep],
    told: Sequence[dict[str, Any]],
    info: ModelInfo,
    profile: Profile | None,
) -> RecipeFindings:
    return RecipeFindings(
        name=recipe.name,
        title=recipe.title,
        sha256=recipe_files.sha256(recipe),
        target=profile.name if profile else None,
        steps=tuple(_step(step, one, info, profile) for step, one in zip(steps, told, strict=True)),
    )


def _step(
    step: RecipeStep, told: dict[str, Any], info: ModelInfo, profile: Profile | None
) -> StepFindings:
    findings = msgspec.convert(told["findings"], tuple[Finding, ...])
    notes = list(told["notes"])
    if isinstance(step, QuantizeStep):
        if profile:
            findings = (*findings, *target_rules.check(info, profile, step.precision))
        else:
            notes.append(f"what {step.precision} means is the target's to say: add --target")
    claim = gains.claims([step], profile)[0] if profile else None
    if claim and told["macs"] and all(told["macs"]):
        claim = gains.with_macs(claim, *told["macs"])
    return StepFindings(
        kind=recipe_steps.kind(step),
        settings=step_settings.line(step),
        applies=msgspec.convert(told["applies"], tuple[Removal, ...]),
        stays=msgspec.convert(told["stays"], tuple[Removal, ...]),
        findings=findings,
        notes=tuple(notes),
        claim=claim,
    )
