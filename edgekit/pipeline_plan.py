"""What an edgekit.toml asks for, as stages: model × recipe × target × precision, and benches.

Nothing is read but recipes and profiles, and nothing is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    coral_plan,
    engine_plan,
    hardware,
    manifest,
    pipeline_checks,
    recipe_files,
    recipe_steps,
    registry,
)
from edgekit.build_file import NO_RECIPE, located
from edgekit.build_paths import OUTPUTS
from edgekit.build_types import Bench, Build, BuildFile, ModelTable, Named, Stage
from edgekit.profile_types import Profile
from edgekit.recipe_types import DistillStep, QuantizeStep, Recipe
from edgekit.types import STATIC_PRECISIONS, Precision

RESULT = ".result.json"
_MICROCONTROLLERS = "qemu://cortex-m"


def stages(file: BuildFile, *, seed: int = 0, trust: bool = False) -> tuple[Stage, ...]:
    """Every stage, each after those that it needs; measurements come last.

    Args:
        file: What `build_file.read` gave.
        seed: Of every random draw.
        trust: Load models whose code cannot be known to be safe.

    Raises:
        BuildFileError: Two tables ask for the same file, a target does not run a precision, or
            data is lacking.
    """
    found: dict[str, Stage] = {}
    for name in dict.fromkeys(model for build in file.builds for model in build.models):
        pipeline_checks.model(file, name)
    for build in file.builds:
        for stage in _built(file, build, {"seed": seed, "trust": trust}):
            _add(file, found, stage)
    artifacts = [stage for stage in found.values() if stage.kind == "convert"]
    for bench in file.benches:
        for stage in _measured(file, bench, artifacts, seed):
            _add(file, found, stage)
    return tuple(found.values())


def _add(file: BuildFile, found: dict[str, Stage], stage: Stage) -> None:
    before = found.setdefault(stage.name, stage)
    if msgspec.structs.replace(stage, where=before.where) != before:
        raise pipeline_checks.wrong(
            file,
            stage.where,
            f"writes {stage.outputs[0]}, which {before.where} writes with other options",
            "give both the same options, or take the combination out of one of them",
        )


def _built(file: BuildFile, build: Build, common: Mapping[str, Any]) -> Iterator[Stage]:
    for model, recipe, target in product(build.models, build.recipes, build.targets):
        profile = hardware.load(located(Path(file.directory), target.spec))
        steps = _recipe(file, recipe)
        place = f"{OUTPUTS}/{model}/{recipe.name}/{target.name}"
        made = _compressed(file, build, (model, recipe, target), steps, place, common)
        if made:
            yield made
        for given in build.precisions:
            own = "int8" if build.emit else profile.precision.default
            precision: Precision = given or _planned(steps) or own
            pipeline_checks.combination(file, build, model, profile, precision)
            yield _converted(
                file, build, (model, recipe, target), profile, precision, place, made, common
            )


Combination = tuple[str, Named, Named]
"""Model, recipe and target."""


def _compressed(
    file: BuildFile,
    build: Build,
    combination: Combination,
    recipe: Recipe | None,
    place: str,
    common: Mapping[str, Any],
) -> Stage | None:
    if recipe is None:
        return None
    model, named, target = combination
    table = file.models[model]
    pipeline_checks.compressible(file, build, model, named.name)
    looks = any(map(recipe_steps.looks, recipe.step))
    trains = any(map(recipe_steps.trains, recipe.step))
    distils = any(isinstance(step, DistillStep) for step in recipe.step)
    wants = "trains" if trains else "looks at samples"
    if looks and table.data is None:
        raise pipeline_checks.wrong(
            file, ["model", model], f"has no data, and the recipe {recipe.name} {wants}",
            'add data = "FILE.npz" with training data',
        )  # fmt: skip
    output = f"{place}/{model}.keras"
    return Stage(
        name=f"compress {output}",
        kind="compress",
        where=build.key,
        model=model,
        recipe=named.name,
        target=target.name,
        options={
            "model": table.path,
            "recipe": named.spec,
            "target": target.spec,
            **_data(table),
            "teacher": table.teacher if distils else None,
            "loss": table.loss if trains else None,
            "augment": table.augment if trains else None,
            "epochs": build.epochs if trains else None,
            "output": output,
            **common,
        },
        outputs=_sealed(output),
    )


def _converted(
    file: BuildFile,
    build: Build,
    combination: Combination,
    profile: Profile,
    precision: Precision,
    place: str,
    source: Stage | None,
    common: Mapping[str, Any],
) -> Stage:
    model, recipe, target = combination
    facts = registry.emitter(build.emit) if build.emit else registry.artifact_format(profile.format)
    siblings = facts.siblings if build.emit else (*facts.siblings, *coral_plan.siblings(profile))
    # The name of C sources is that of the functions and constants in them.
    name = model if build.emit and precision == "int8" else f"{model}-{precision}"
    output = f"{place}/{name}{facts.suffix}"
    static = precision in STATIC_PRECISIONS
    return Stage(
        name=f"convert {output}",
        kind="convert",
        where=build.key,
        model=model,
        recipe=recipe.name,
        target=target.name,
        precision=precision,
        options={
            "model": source.outputs[0] if source else file.models[model].path,
            "target": target.spec,
            "precision": precision,
            **_data(file.models[model]),
            "input_type": build.input_type if static else None,
            "output_type": build.output_type if static else None,
            "batch": build.batch,
            "max_drop": build.max_drop,
            "emit": build.emit,
            "device": engine_plan.NOWHERE if engine_plan.applies(profile) else None,
            "output": output,
            **common,
        },
        outputs=_sealed(output, siblings),
        needs=(source.name,) if source else (),
    )


def _measured(file: BuildFile, bench: Bench, artifacts: list[Stage], seed: int) -> Iterator[Stage]:
    for _, url in bench.devices:
        pipeline_checks.device(file, bench, url)
    for model, target, (device, url) in product(bench.models, bench.targets, bench.devices):
        built = [one for one in artifacts if (one.model, one.target) == (model, target)]
        chosen = [one for one in built if _runs(url, one.options["emit"])]
        if built and not chosen:
            raise pipeline_checks.wrong(
                file, bench.key,
                f"measures {model} for {target} on {url}, where nothing that is built of it runs",
                _runnable(file, bench, url, built[0]),
            )  # fmt: skip
        if not chosen:
            continue
        results = [f"{Path(one.outputs[0]).with_suffix('')}.{device}{RESULT}" for one in chosen]
        yield Stage(
            name=f"bench {OUTPUTS}/{model}/*/{target} on {device}",
            kind="bench",
            where=bench.key,
            model=model,
            target=target,
            options={
                "artifacts": [one.outputs[0] for one in chosen],
                "devices": [url],
                "threads": bench.threads,
                "budget_s": bench.budget_s,
                **_data(file.models[model]),
                "seed": seed,
            },
            outputs=tuple(path for result in results for path in _sealed(result)),
            needs=tuple(one.name for one in chosen),
        )


def _runnable(file: BuildFile, bench: Bench, url: str, built: Stage) -> str:
    """What to write so that something of a target runs on a device."""
    out = f"take it out of {bench.key}"
    if not _runs(url, "c"):
        return f"add a [[build]] for {built.target} without emit, or {out}"
    profile = hardware.load(located(Path(file.directory), built.options["target"]))
    if profile.format != "tflite":
        return f"{out}: no C is made for {built.target}, which takes {profile.format}"
    return f'add a [[build]] for {built.target} with emit = "c", or {out}'


def _runs(url: str, emit: str | None) -> bool:
    """An emulated microcontroller runs standalone C and nothing else; no other device runs C."""
    return emit == "c" if url.startswith(_MICROCONTROLLERS) else emit is None


def _data(table: ModelTable) -> dict[str, str | None]:
    return {"data": table.data, "preprocess": table.preprocess, "metric": table.metric}


def _sealed(output: str, siblings: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The files of an output, its manifest last."""
    main = Path(output)
    beside = (main.with_name(main.stem + ending) for ending in siblings)
    parts = (main, *beside, manifest.path_for(main))
    return tuple(map(str, parts))


def _recipe(file: BuildFile, recipe: Named) -> Recipe | None:
    if recipe.name == NO_RECIPE:
        return None
    return recipe_files.load(located(Path(file.directory), recipe.spec))


def _planned(recipe: Recipe | None) -> Precision | None:
    steps = recipe.step if recipe else ()
    return next((one.precision for one in steps if isinstance(one, QuantizeStep)), None)
