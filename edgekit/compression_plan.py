"""Resolves what a compression was asked for, before any framework is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import (
    conversion_plan,
    hardware,
    hashing,
    loading,
    manifest,
    preprocessing,
    recipe_files,
)
from edgekit.errors import ConversionError, ModelError, UsageError
from edgekit.types import (
    ModelFile,
    Precision,
    Profile,
    ProfileRef,
    QuantizeStep,
    Recipe,
    RecipeStep,
    SimplifyStep,
    Technique,
)

SUFFIX = ".keras"


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """What a compression will do, with every default resolved.

    `steps` begin with the simplification that comes before every recipe, unless it was left out.
    """

    source: ModelFile
    recipe: Recipe
    steps: tuple[RecipeStep, ...]
    planned_precision: Precision | None
    profile: ProfileRef | None
    channel_multiple: int
    data: str | None
    preprocess: str
    metric: str | None
    output: Path
    seed: int
    trust: bool
    request_sha256: str
    notes: tuple[str, ...]


def resolve(
    model: str | Path,
    *,
    recipe: str | Path,
    data: str | None,
    preprocess: str | None,
    metric: str | None,
    target: str | None,
    simplify: bool,
    output: str | Path,
    seed: int,
    trust: bool,
) -> CompressionPlan:
    """Every default filled in, and everything refused that can be refused without the model.

    Raises:
        UsageError: The options contradict each other.
        RecipeError, ProfileError: The recipe or target is unknown or invalid.
        ConversionError: The target does not run what the recipe plans.
        ModelError: The model file is not readable, not safe, or holds no Keras layers.
    """
    output = Path(output)
    chosen = recipe_files.load(recipe)
    steps = _steps(chosen, simplify)
    if output.suffix != SUFFIX:
        raise UsageError(
            f"-o {output} does not end in {SUFFIX}, as compressed models do",
            f"use -o {output.parent / (output.stem or 'm')}{SUFFIX}",
        )
    if output.resolve() == Path(model).resolve():
        raise UsageError(f"-o {output} is the model itself", "choose another -o")
    profile = hardware.load(target) if target else None
    planned = next((step.precision for step in steps if isinstance(step, QuantizeStep)), None)
    _check_target(planned, profile, chosen)
    source = _keras_file(model, trust)
    wanted, notes = conversion_plan.preprocess_of(source, preprocess)
    preprocessing.parse(wanted)
    reference = hardware.reference(target) if target else None
    request = {
        "source": source.sha256,
        "data": conversion_plan.data_sha256(data) if data else None,
        "metric": conversion_plan.metric_sha256(metric),
        "recipe": recipe_files.sha256(chosen),
        "profile": reference.sha256 if reference else None,
        "versions": manifest.versions(),
        "options": [wanted, metric, simplify, seed],
    }
    return CompressionPlan(
        source=source,
        recipe=chosen,
        steps=steps,
        planned_precision=planned,
        profile=reference,
        channel_multiple=profile.channel_multiple if profile else 1,
        data=data,
        preprocess=wanted,
        metric=metric,
        output=output,
        seed=seed,
        trust=trust,
        request_sha256=hashing.sha256_json(request),
        notes=(*notes, *_without_gain(steps, profile)),
    )


def settings(step: RecipeStep) -> str:
    """The keys of a step in one line."""
    keys = msgspec.to_builtins(step)
    return ", ".join(f"{key} {value}" for key, value in keys.items() if key != "kind")


def _steps(recipe: Recipe, simplify: bool) -> tuple[RecipeStep, ...]:
    if simplify:
        return (SimplifyStep(for_inference=False), *recipe.step)
    if any(isinstance(step, SimplifyStep) for step in recipe.step):
        raise UsageError(
            f"--no-simplify contradicts the recipe {recipe.name}, which simplifies",
            "leave out one of them",
        )
    return recipe.step


def _check_target(planned: Precision | None, profile: Profile | None, recipe: Recipe) -> None:
    if profile and planned and planned not in profile.precision.supported:
        raise ConversionError(
            f"the recipe {recipe.name} plans {planned}, which {profile.name} does not run; it runs"
            f" {', '.join(profile.precision.supported)}",
            "choose another --recipe (edgekit recipes list) or --target",
        )


def _without_gain(steps: tuple[RecipeStep, ...], profile: Profile | None) -> Iterator[str]:
    """Steps that buy nothing on the target, as far as its profile knows."""
    for step in steps:
        if profile is None or isinstance(step, SimplifyStep):
            continue
        technique: Technique = step.precision if isinstance(step, QuantizeStep) else "channels"
        gain = profile.gain.get(technique)
        if gain and gain.latency is not None and gain.latency <= 1:
            yield (
                f"{technique} is not expected to make the model faster on {profile.name}"
                f" (latency factor {gain.latency:g}); measure it with edgekit bench"
            )


def _keras_file(model: str | Path, trust: bool) -> ModelFile:
    source = loading.identify(model, trust=trust)
    if source.family != "keras":
        raise ModelError(
            f"{source.path} is a .{source.format} model, and compress changes Keras layers; it"
            " reads .keras, .h5 and SavedModel",
            "compress the Keras model that it was made from",
        )
    return source
