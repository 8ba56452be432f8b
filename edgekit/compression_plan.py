"""Resolves what a compression was asked for, before any framework is loaded.

Identities and dead channels go before every other step. A recipe that trains also ends with what
is only right after training: folded batch normalization, no Dropout, channels that died meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import (
    conversion_plan,
    gains,
    hardware,
    hashing,
    held,
    loading,
    manifest,
    metric_names,
    preprocess_names,
    recipe_files,
    recipe_steps,
    registry,
    spec_hashes,
    tfmot_recipes,
    user_code,
)
from edgekit.errors import ConversionError, ModelError, UsageError
from edgekit.profile_types import Profile, ProfileRef
from edgekit.recipe_types import (
    Claim,
    ClusterStep,
    DistillStep,
    QuantizeStep,
    Recipe,
    RecipeStep,
    SimplifyStep,
)
from edgekit.types import ModelFile, Precision

SUFFIX = ".keras"
MAX_EPOCHS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `compress` was asked for; see `compressing.compress`."""

    model: str | Path
    recipe: str | Path
    output: str | Path
    data: str | None = None
    preprocess: str | None = None
    metric: str | None = None
    target: str | None = None
    teacher: str | Path | None = None
    student: str | Path | None = None
    epochs: int | None = None
    max_drop: float | None = None
    loss: str | None = None
    augment: str | None = None
    simplify: bool = True
    seed: int = 0
    trust: bool = False


@dataclass(frozen=True, slots=True)
class CompressionPlan:
    """What a compression will do, with every default resolved.

    `student` is what the steps change where it is not the source; `teacher` is None where the
    source teaches. `claims` is what the target's profile expects the steps to buy.
    """

    asked: Request
    source: ModelFile
    student: ModelFile | None
    teacher: ModelFile | None
    recipe: Recipe
    steps: tuple[RecipeStep, ...]
    planned_precision: Precision | None
    profile: ProfileRef | None
    channel_multiple: int
    preprocess: str
    output: Path
    request_sha256: str
    claims: tuple[Claim, ...]
    notes: tuple[str, ...]


def resolve(asked: Request) -> CompressionPlan:
    """Every default filled in, and everything refused that can be refused without the model.

    Raises:
        UsageError: The options contradict each other.
        RecipeError, ProfileError: The recipe or target is unknown or invalid.
        ConversionError: The target does not run what the recipe plans.
        DataError: A file of the user's own functions does not exist.
        MissingExtra: The engine that the recipe names is not installed.
        ModelError: A model file is not readable, not safe, or holds no Keras layers.
    """
    output = _output(asked)
    recipe = recipe_files.load(asked.recipe)
    _check_options(asked, recipe)
    if any(map(tfmot_recipes.takes, recipe.step)):
        registry.engine_reference(tfmot_recipes.ENGINE)
    profile = hardware.load(asked.target) if asked.target else None
    planned = next((one.precision for one in recipe.step if isinstance(one, QuantizeStep)), None)
    _check_target(planned, profile, recipe)
    _check_engine(profile, recipe)
    source = _keras_file(asked.model, asked.trust)
    student = _keras_file(asked.student, asked.trust) if asked.student else None
    every = steps(asked, recipe)
    teacher = _teacher(every, asked.trust)
    preprocess, notes = conversion_plan.preprocess_of(source, asked.preprocess)
    preprocess_names.parse(preprocess)
    reference = hardware.reference(asked.target) if asked.target else None
    claims = gains.claims(recipe.step, profile)
    return CompressionPlan(
        asked=asked,
        source=source,
        student=student,
        teacher=teacher,
        recipe=recipe,
        steps=every,
        planned_precision=planned,
        profile=reference,
        channel_multiple=profile.channel_multiple if profile else 1,
        preprocess=preprocess,
        output=output,
        request_sha256=_request_sha256(
            asked, recipe, preprocess, reference, [source, student, teacher]
        ),
        claims=claims,
        notes=(*notes, *held.lost(Path((student or source).path)), *gains.warnings(claims)),
    )


def _output(asked: Request) -> Path:
    output = Path(asked.output)
    if output.suffix != SUFFIX:
        raise UsageError(
            f"-o {output} does not end in {SUFFIX}, as compressed models do",
            f"use -o {output.parent / (output.stem or 'm')}{SUFFIX}",
        )
    read = {"the model": asked.model, "--teacher": asked.teacher, "--student": asked.student}
    for what, path in read.items():
        if path is not None and output.resolve() == Path(path).resolve():
            raise UsageError(f"-o {output} is {what} itself", "choose another -o")
    return output


def _check_options(asked: Request, recipe: Recipe) -> None:
    metric_names.check_name(asked.metric)
    kinds = {recipe_steps.kind(step) for step in recipe.step}
    if asked.epochs is not None and not 1 <= asked.epochs <= MAX_EPOCHS:
        raise UsageError(f"--epochs {asked.epochs} is not in 1 to {MAX_EPOCHS}", "--epochs 10")
    if asked.max_drop is not None and not 0 <= asked.max_drop < 1:
        raise UsageError(
            f"--max-drop {asked.max_drop:g} is not in 0 to 1", "0.01 and 1% mean one point"
        )
    if asked.data is None:
        _check_without_data(asked, recipe)
    for option, value in (("--loss", asked.loss), ("--augment", asked.augment)):
        if value is not None and user_code.split(value) is None:
            raise UsageError(f"{option} {value} names no function", f"{option} FILE.py:FUNCTION")
    if asked.teacher and "distill" not in kinds:
        raise UsageError(
            f"--teacher says nothing: the recipe {recipe.name} has no step distill",
            "choose a recipe that distils (edgekit recipes list)",
        )
    trained = any(map(recipe_steps.trains, recipe.step))
    needs_training = (
        ("--epochs", asked.epochs, any(map(recipe_steps.has_epochs, recipe.step))),
        ("--loss", asked.loss, trained),
        ("--augment", asked.augment, trained),
    )
    for option, given, has_a_use in needs_training:
        if given is not None and not has_a_use:
            raise UsageError(
                f"{option} says nothing: the recipe {recipe.name} does not train",
                "leave it out, or choose a recipe that trains (edgekit recipes list)",
            )


def _check_without_data(asked: Request, recipe: Recipe) -> None:
    training = next((step for step in recipe.step if recipe_steps.trains(step)), None)
    looking = next((step for step in recipe.step if recipe_steps.looks(step)), None)
    if looking is not None and training is None:
        raise UsageError(
            f"the recipe {recipe.name} {_reason_to_look(looking)} (step"
            f" {recipe_steps.kind(looking)}), and --data was not given",
            "add --data SPEC; labels are not needed",
        )
    if training is not None:
        raise UsageError(
            f"the recipe {recipe.name} trains (step {recipe_steps.kind(training)}), and --data was"
            " not given",
            "add --data SPEC with training data: an .npz with x_train and y_train, an image"
            " directory with train/, or file.py:function",
        )
    given = {
        "--max-drop": asked.max_drop,
        "--metric": asked.metric,
        "--preprocess": asked.preprocess,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} says nothing without --data", "add --data SPEC")


def _reason_to_look(step: RecipeStep) -> str:
    if recipe_steps.is_automatic(step):
        return "chooses by the sensitivity of layers"
    return "tunes int8 on samples" if isinstance(step, QuantizeStep) else "chooses by samples"


def steps(asked: Request, recipe: Recipe) -> tuple[RecipeStep, ...]:
    """A recipe's steps with what the command line says of them, and the simplifications around.

    Raises:
        UsageError: The recipe simplifies, and simplification was to be left out.
    """
    every = [_overridden(step, asked) for step in recipe.step]
    if not asked.simplify:
        if any(isinstance(step, SimplifyStep) for step in every):
            raise UsageError(
                f"--no-simplify contradicts the recipe {recipe.name}, which simplifies",
                "leave out one of them",
            )
        return tuple(every)
    every = list(_folded_before_clusters(every))
    trained = [at for at, step in enumerate(every) if recipe_steps.looks(step)]
    finished = trained and any(isinstance(step, SimplifyStep) for step in every[trained[-1] :])
    if trained and not finished:
        at = next((at for at, one in enumerate(every) if isinstance(one, QuantizeStep)), len(every))
        every.insert(at, SimplifyStep(for_inference=True))
    return (SimplifyStep(for_inference=False), *every)


def _folded_before_clusters(every: Sequence[RecipeStep]) -> Iterator[RecipeStep]:
    """Folding normalization multiplies each channel by a number of its own, which parts values."""
    before: RecipeStep | None = None
    for step in every:
        if isinstance(step, ClusterStep) and before != SimplifyStep(for_inference=True):
            yield SimplifyStep(for_inference=True)
        yield step
        before = step


def _overridden(step: RecipeStep, asked: Request) -> RecipeStep:
    """A step with what the command line says of it."""
    if asked.epochs is not None and recipe_steps.has_epochs(step):
        step = msgspec.structs.replace(step, epochs=asked.epochs)
    if asked.teacher is not None and isinstance(step, DistillStep):
        step = msgspec.structs.replace(step, teacher=str(asked.teacher))
    return step


def _teacher(steps: Sequence[RecipeStep], trust: bool) -> ModelFile | None:
    named = {one.teacher for one in steps if isinstance(one, DistillStep) and one.teacher}
    if len(named) > 1:
        raise UsageError(
            f"the recipe names {len(named)} teachers: {', '.join(sorted(named))}",
            "name one, or leave it to --teacher",
        )
    return loading.identify(named.pop(), trust=trust) if named else None


def _check_target(planned: Precision | None, profile: Profile | None, recipe: Recipe) -> None:
    if profile and planned and planned not in profile.precision.supported:
        raise ConversionError(
            f"the recipe {recipe.name} plans {planned}, which {profile.name} does not run; it runs"
            f" {', '.join(profile.precision.supported)}",
            "choose another --recipe (edgekit recipes list) or --target",
        )


def _check_engine(profile: Profile | None, recipe: Recipe) -> None:
    """TFMOT simulates LiteRT's int8 alone."""
    trains_int8 = any(isinstance(one, QuantizeStep) and tfmot_recipes.takes(one)
                      for one in recipe.step)  # fmt: skip
    if profile and trains_int8 and hardware.scheme(profile) != "litert":
        raise ConversionError(
            f"the recipe {recipe.name} has engine tfmot, which trains for LiteRT's int8 alone, and"
            f" {profile.name} takes {profile.format} artifacts",
            'leave out engine = "tfmot", or choose another --target',
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


def _request_sha256(
    asked: Request,
    recipe: Recipe,
    preprocess: str,
    profile: ProfileRef | None,
    models: Sequence[ModelFile | None],
) -> str:
    functions = [asked.metric, asked.loss, asked.augment]
    return hashing.sha256_json(
        {
            "models": [model.sha256 if model else None for model in models],
            "held": [held.of_file(Path(model.path)) if model else None for model in models],
            "data": spec_hashes.data_sha256(asked.data) if asked.data else None,
            "functions": [spec_hashes.function_sha256(named) for named in functions],
            "recipe": recipe_files.sha256(recipe),
            "profile": profile.sha256 if profile else None,
            "versions": manifest.versions(),
            "options": [
                preprocess, *functions, asked.simplify, asked.seed, asked.epochs, asked.max_drop,
            ],
        }
    )  # fmt: skip
