"""The way of a conversion: source → samples and hub → candidates → the artifact, checked.

`make` does it inside a staging directory, `describe` says in a manifest what was done, `publish`
moves both into place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    arena_limits,
    building,
    calibration,
    chunks,
    conversion_checks,
    files,
    gains,
    hardware,
    held,
    ladder,
    loading,
    manifest,
    parity,
    registry,
    sampling,
    trained_ranges,
)
from edgekit.arena_types import TflmArena
from edgekit.building import Built, Workshop
from edgekit.ladder import Ascent
from edgekit.loading import ModelFile
from edgekit.manifest_types import Calibration, ConversionPlan, Manifest, Parity, Rung, Step
from edgekit.profile_types import Profile
from edgekit.sampling import Sampled
from edgekit.types import Accuracy, FileRef, ModelInfo, Precision
from edgekit.workers import Worker

Progress = Callable[[str], None]


ANOTHER_PRECISION = "try another --precision"
"""After a crash of what depends on it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was taken from the source before it was closed."""

    info: ModelInfo
    hub: Path
    sampled: Sampled
    notes: tuple[str, ...]
    simplified: Step | None = None
    trained: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The artifact that was chosen, and the evidence for it."""

    built: Built
    calibration: Calibration | None
    parity: Parity | None
    rungs: tuple[Rung, ...]
    accuracy: Accuracy | None
    warnings: tuple[str, ...]
    facts: dict[str, Any]
    sparse: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A checked artifact in the staging directory; the first of its files is the main one."""

    prepared: Prepared
    outcome: Outcome
    arena: TflmArena | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What has to be moved into place."""
        return self.outcome.built.files


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Made:
    """Makes the artifact in a staging directory and checks it.

    Raises:
        UserError: See edgekit.errors.
    """
    prepared = _prepare(resolved, source, profile, directory, trust, progress)
    arena_limits.before(prepared.hub, prepared.info, profile, resolved.precision)
    outcome = _make(resolved, profile, prepared, directory, progress)
    arena, warnings = arena_limits.after(
        outcome.built.files[0], prepared.info, profile, stored=resolved.emit != "c"
    )
    outcome = replace(outcome, warnings=(*outcome.warnings, *warnings))
    return Made(prepared, outcome, arena)


def _prepare(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Prepared:
    progress(f"loading {resolved.model}")
    with loading.opened(source, trust=trust) as (worker, info):
        conversion_checks.check_target(info, profile, resolved.precision)
        progress("drawing samples, and the source's outputs for them")
        sampled = sampling.draw(resolved, info, worker, directory / "samples")
        for warning in sampled.warnings:
            progress(f"warning: {warning}")
        hub_kind = _hub(source, registry.artifact_format(profile.format))
        if source.family != "keras":
            return Prepared(info, Path(source.path), sampled, info.notes)
        simplified, warnings = _simplify(resolved, profile, worker, sampled, progress)
        trained, untrue = _trained(resolved, source, profile, worker, sampled, progress)
        progress(f"exporting to {hub_kind}")
        hub = directory / f"hub.{hub_kind}"
        exported = worker.call(f"export_{hub_kind}", path=str(hub), batch=resolved.batch)
    notes = (*info.notes, *warnings, *untrue, *exported.get("notes", ()))
    return Prepared(info, hub, sampled, notes, simplified, trained)


def _trained(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    worker: Worker,
    sampled: Sampled,
    progress: Progress,
) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The ranges that the model was trained for, where the converter can take them; warnings."""
    found = trained_ranges.recorded(source, resolved.precision)
    if found is None or not registry.artifact_format(resolved.format).trained_ranges:
        return (), ()
    progress(f"the model's recipe left {len(found.ranges)} ranges: looking their tensors up")
    located = trained_ranges.located(worker, found, sampled.calibration, resolved.batch)
    others = trained_ranges.other_int8(
        found, hardware.scheme(profile), _per_tensor(resolved, profile)
    )
    return tuple(located), others


def _simplify(
    resolved: ConversionPlan,
    profile: Profile,
    worker: Worker,
    sampled: Sampled,
    progress: Progress,
) -> tuple[Step | None, tuple[str, ...]]:
    """Has the source simplified; where that cannot be, the conversion goes on and says so."""
    if not resolved.simplify:
        return None, ()
    progress("removing what changes no output")
    multiple = profile.channel_multiple
    channels = not held.of_file(Path(resolved.model)).groups
    made = worker.call(
        "simplify", samples=str(sampled.calibration), multiple=multiple, channels=channels
    )
    if made["report"] is not None:
        return Step("simplify", {"multiple": multiple, **made["report"]}), ()
    warning = f"the model was converted as it is, without simplification: {made['obstacle']}"
    progress(f"warning: {warning}")
    return Step("simplify", {"obstacle": made["obstacle"]}), (warning,)


def _make(
    resolved: ConversionPlan,
    profile: Profile,
    prepared: Prepared,
    directory: Path,
    progress: Progress,
) -> Outcome:
    name = resolved.format
    facts = registry.artifact_format(name)
    with (
        Worker(
            registry.converter_reference(name), f"the {name} converter", way_out=ANOTHER_PRECISION
        ) as converter,
        Worker(
            "edgekit.execution:Execution", "running the artifact", way_out=ANOTHER_PRECISION
        ) as execution,
    ):
        sides = {
            side: [msgspec.to_builtins(spec) for spec in getattr(prepared.info, side)]
            for side in ("inputs", "outputs")
        }
        converter.call("open", hub=str(prepared.hub), batch=resolved.batch, **sides)
        shop = Workshop(
            converter, execution, directory, Path(resolved.output).name, resolved.runtime,
            resolved.threads, resolved.seed, prepared.sampled.calibration, facts.per_tensor,
            resolved.input_type, resolved.output_type, _per_tensor(resolved, profile),
        )  # fmt: skip
        warnings: tuple[str, ...] = ()
        if prepared.trained:
            warnings = trained_ranges.hand_over(
                converter, prepared.sampled.calibration, prepared.trained
            )
        ascent = _choose(shop, resolved, profile, prepared, progress)
        outcome = _check(shop, resolved, prepared, ascent, progress)
        return replace(outcome, warnings=(*outcome.warnings, *warnings))


def _per_tensor(resolved: ConversionPlan, profile: Profile) -> tuple[str, ...]:
    """Operators whose weights get one scale. C of edgekit's own takes a scale per channel."""
    if resolved.emit == "c":
        return ()
    return hardware.one_scale(profile)


def _choose(
    shop: Workshop,
    resolved: ConversionPlan,
    profile: Profile,
    prepared: Prepared,
    progress: Progress,
) -> Ascent:
    sampled = prepared.sampled
    expected = chunks.read_all(sampled.calibration_outputs)
    hub_bytes = prepared.hub.stat().st_size

    def best(precision: Precision) -> ladder.Climbed:
        progress(f"converting to {precision}")
        return calibration.choose(shop, precision, expected, hub_bytes, progress)

    first = best(resolved.precision)
    if resolved.max_drop is None or sampled.choosing is None:
        return Ascent(*first, (), holds=True)
    beyond = best if "int16x8" in profile.precision.supported else None
    return ladder.climb(shop, first, sampled.choosing, resolved.max_drop, beyond, progress)


def _check(
    shop: Workshop,
    resolved: ConversionPlan,
    prepared: Prepared,
    ascent: Ascent,
    progress: Progress,
) -> Outcome:
    sampled, built = prepared.sampled, ascent.built
    sparse = _stored_sparsely(shop, resolved, built)
    progress("checking the artifact: it loads, its types, its outputs")
    opened = building.open_artifact(shop, built)
    conversion_checks.check_interface(opened, built, resolved)
    expected = chunks.read_all(sampled.calibration_outputs)
    found = building.predict(shop, built, sampled.calibration)
    precision = built.choice.precision
    measured = parity.measure(expected, found, precision, real_data=sampled.real_data)
    warnings = (*sampled.warnings, *built.warnings, *parity.judge(measured, precision))
    accuracy = None
    if sampled.final is not None:
        progress("reading the test role once, for the final accuracy")
        outputs = building.predict(shop, built, sampled.final.samples)
        accuracy = ladder.judge_outputs(sampled.final, outputs)
    return Outcome(
        built, ascent.calibration, measured, ascent.rungs, accuracy, warnings, opened["facts"],
        sparse,
    )  # fmt: skip


def _stored_sparsely(shop: Workshop, resolved: ConversionPlan, built: Built) -> tuple[str, ...]:
    """Weights that are mostly zeros, in a form that LiteRT reads and microcontrollers do not."""
    dense_only = resolved.runtime != "litert" or resolved.format != "tflite" or resolved.emit
    if dense_only or not resolved.sparse:
        return ()
    names: list[str] = shop.converter.call(
        "store_sparsely", path=str(built.files[0]), precision=built.choice.precision
    )
    return tuple(names)


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Made,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of what `make` made."""
    prepared, outcome = made.prepared, made.outcome
    built, sampled = outcome.built, prepared.sampled
    gzip_bytes = files.gzip_size_bytes(built.files)
    model_name, parents = manifest.lineage(Path(source.path))
    recipe, recipe_sha256 = manifest.recipe(Path(source.path))
    return Manifest(
        versions=manifest.versions(),
        command=tuple(command),
        request_sha256=resolved.request_sha256,
        seed=resolved.seed,
        artifact=manifest.artifact_info(
            built.files,
            format_name=resolved.format,
            precision=built.choice.precision,
            gzip_bytes=gzip_bytes,
        ),
        source=FileRef(str(source.path), source.sha256, prepared.info.size_bytes),
        model_name=model_name,
        data=sampled.data,
        recipe=recipe,
        recipe_sha256=recipe_sha256,
        profile=hardware.reference(target),
        claims=gains.of_conversion(Path(source.path), built.choice.precision, target),
        parents=parents,
        inputs=built.inputs,
        outputs=built.outputs,
        runtime_options=built.runtime_options,
        steps=(*([prepared.simplified] if prepared.simplified else []), _step(resolved, outcome)),
        calibration=outcome.calibration,
        float_layers=built.choice.float_layers,
        parity=outcome.parity,
        ladder=outcome.rungs,
        accuracy=outcome.accuracy,
        source_accuracy=sampled.final.source if sampled.final else None,
        arena=made.arena,
        warnings=(*resolved.notes, *prepared.notes, *outcome.warnings),
        timing={"convert_s": elapsed_s},
        environment=outcome.facts,
    )


def publish(written: Manifest, made: Sequence[Path], directory: Path, output: Path) -> None:
    """Moves an artifact's files, its main one first, and then its manifest into place."""
    staged = directory / "manifest"
    staged.write_bytes(manifest.encode(written))
    siblings = [(path, output.parent / path.name) for path in reversed(made)]
    files.publish([*siblings, (staged, manifest.path_for(output))])


def _step(resolved: ConversionPlan, outcome: Outcome) -> Step:
    built = outcome.built
    return Step(
        "convert",
        {
            "precision": built.choice.precision,
            "asked_precision": resolved.precision,
            "method": built.choice.method,
            "overrides": built.choice.overrides,
            "batch": resolved.batch_range or resolved.batch,
            "quantized_share": built.quantized_share,
            "sparse": list(outcome.sparse),
        },
    )


def _hub(source: ModelFile, facts: registry.Format) -> str:
    return facts.hubs[0] if source.family == "keras" else source.family
