"""The convert stage: model + profile → artifact + manifest, or nothing at all.

The way of the data: resolve the plan; open the source, draw samples, take its outputs and export
the hub; have the converter build candidates and run each; choose; check; publish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    building,
    calibration,
    chunks,
    conversion_plan,
    files,
    gains,
    hardware,
    ladder,
    loading,
    manifest,
    metrics,
    parity,
    registry,
    sampling,
    target_rules,
)
from edgekit.building import Built, Workshop
from edgekit.errors import ConversionError, GateError
from edgekit.ladder import Ascent
from edgekit.loading import ModelFile
from edgekit.sampling import Sampled
from edgekit.types import (
    Accuracy,
    Calibration,
    ConversionPlan,
    FileRef,
    IoType,
    Manifest,
    ModelInfo,
    Parity,
    Precision,
    Profile,
    Rung,
    Step,
)
from edgekit.workers import Worker

Progress = Callable[[str], None]


def plan(model: str | Path, **options: Any) -> ConversionPlan:
    """What `convert` would do with the same arguments, without doing it."""
    resolved, _, _ = conversion_plan.resolve(model, **options)
    return resolved


def convert(
    model: str | Path,
    *,
    target: str = "host",
    precision: Precision | None = None,
    data: str | None = None,
    preprocess: str | None = None,
    metric: str | None = None,
    input_type: IoType | None = None,
    output_type: IoType | None = None,
    batch: str = "1",
    max_drop: float | None = None,
    simplify: bool = True,
    output: str | Path,
    seed: int = 0,
    trust: bool = False,
    force: bool = False,
    command: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> Manifest:
    """Converts a model for a target, checks the artifact, and writes it with its manifest.

    Args:
        model: .keras, .h5, SavedModel directory, .tflite or .onnx.
        target: A profile's name or file.
        precision: One of edgekit.types.PRECISIONS; default: the profile's.
        data: A data SPEC; needed for static precisions and for max_drop.
        preprocess: How raw data becomes model input; default: what the manifest recorded.
        metric: For max_drop; default top1.
        input_type: Type of the artifact's quantized inputs; default: the profile's.
        output_type: Likewise for outputs.
        batch: "N" (static) or "dynamic".
        max_drop: Largest accuracy loss allowed, absolute in the metric (0.01 is one point).
        simplify: First remove identities and dead channels from Keras models.
        output: The artifact to write; its suffix is that of the target's format.
        seed: Of every random draw.
        trust: Load models whose code cannot be known to be safe.
        force: Replace whatever stands at `output`, and convert even if it is up to date.
        command: The command line, for the manifest.
        on_progress: Told each step as it begins.

    Returns:
        The manifest that was written (or found, where nothing had changed).

    Raises:
        UsageError, UserError: See edgekit.errors; nothing was written.
        GateError: max_drop does not hold; the best artifact found was written.
    """
    output = Path(output)
    resolved, source, profile = conversion_plan.resolve(
        model, target=target, precision=precision, data=data, preprocess=preprocess, metric=metric,
        input_type=input_type, output_type=output_type, batch=batch, max_drop=max_drop,
        simplify=simplify, output=output, seed=seed, trust=trust,
    )  # fmt: skip
    found = manifest.up_to_date(output, resolved.request_sha256)
    if found and not force:
        if on_progress:
            on_progress(f"{output} is up to date: nothing was run")
        _gate(resolved, found)
        return found
    siblings = registry.artifact_format(resolved.format).siblings
    manifest.may_replace(output, siblings=siblings, force=force)
    progress = on_progress or (lambda _: None)
    started = time.monotonic()
    with files.staging(output) as directory:
        prepared = _prepare(resolved, source, profile, directory, trust, progress)
        outcome = _make(resolved, profile, prepared, directory, progress)
        written = _publish(
            resolved, source, target, prepared, outcome, directory, command, started, output
        )
    _gate(resolved, written)
    return written


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was taken from the source before it was closed."""

    info: ModelInfo
    hub: Path
    sampled: Sampled
    notes: tuple[str, ...]
    simplified: Step | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The artifact that was chosen, and the evidence for it."""

    built: Built
    calibration: Calibration | None
    parity: Parity
    rungs: tuple[Rung, ...]
    accuracy: Accuracy | None
    warnings: tuple[str, ...]
    facts: dict[str, Any]


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
        _check_target(info, profile, resolved.precision)
        progress("drawing samples, and the source's outputs for them")
        sampled = sampling.draw(resolved, info, worker, directory / "samples")
        for warning in sampled.warnings:
            progress(f"warning: {warning}")
        hub_kind = _hub(source, registry.artifact_format(profile.format))
        if source.family != "keras":
            return Prepared(info, Path(source.path), sampled, info.notes)
        simplified, warnings = _simplify(resolved, profile, worker, sampled, progress)
        progress(f"exporting to {hub_kind}")
        hub = directory / f"hub.{hub_kind}"
        exported = worker.call(f"export_{hub_kind}", path=str(hub), batch=resolved.batch)
    notes = (*info.notes, *warnings, *exported.get("notes", ()))
    return Prepared(info, hub, sampled, notes, simplified)


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
    made = worker.call("simplify", samples=str(sampled.calibration), multiple=multiple)
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
        Worker(registry.converter_reference(name), f"the {name} converter") as converter,
        Worker("edgekit.execution:Execution", "running the artifact") as execution,
    ):
        sides = {
            side: [msgspec.to_builtins(spec) for spec in getattr(prepared.info, side)]
            for side in ("inputs", "outputs")
        }
        converter.call("open", hub=str(prepared.hub), batch=resolved.batch, **sides)
        shop = Workshop(
            converter, execution, directory, Path(resolved.output).name, resolved.runtime,
            resolved.threads, resolved.seed, prepared.sampled.calibration, facts.per_tensor,
            resolved.input_type, resolved.output_type,
        )  # fmt: skip
        ascent = _choose(shop, resolved, profile, prepared, progress)
        return _check(shop, resolved, prepared, ascent, progress)


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
    progress("checking the artifact: it loads, its types, its outputs")
    sampled, built = prepared.sampled, ascent.built
    opened = building.open_artifact(shop, built)
    _check_interface(opened, built, resolved)
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
        built, ascent.calibration, measured, ascent.rungs, accuracy, warnings, opened["facts"]
    )


def _publish(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    prepared: Prepared,
    outcome: Outcome,
    directory: Path,
    command: Sequence[str],
    started: float,
    output: Path,
) -> Manifest:
    built, sampled = outcome.built, prepared.sampled
    gzip_bytes = files.gzip_size_bytes(built.files)
    model_name, parents = manifest.lineage(Path(source.path))
    recipe, recipe_sha256 = manifest.recipe(Path(source.path))
    written = Manifest(
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
        steps=(*([prepared.simplified] if prepared.simplified else []), _step(resolved, built)),
        calibration=outcome.calibration,
        float_layers=built.choice.float_layers,
        parity=outcome.parity,
        ladder=outcome.rungs,
        accuracy=outcome.accuracy,
        source_accuracy=sampled.final.source if sampled.final else None,
        warnings=(*resolved.notes, *prepared.notes, *outcome.warnings),
        timing={"convert_s": time.monotonic() - started},
        environment=outcome.facts,
    )
    staged = directory / "manifest"
    staged.write_bytes(manifest.encode(written))
    siblings = [(path, output.parent / path.name) for path in reversed(built.files)]
    files.publish([*siblings, (staged, manifest.path_for(output))])
    return written


def _step(resolved: ConversionPlan, built: Built) -> Step:
    return Step(
        "convert",
        {
            "precision": built.choice.precision,
            "asked_precision": resolved.precision,
            "method": built.choice.method,
            "overrides": built.choice.overrides,
            "batch": resolved.batch,
            "quantized_share": built.quantized_share,
        },
    )


def _check_target(info: ModelInfo, profile: Profile, precision: Precision) -> None:
    refused = [
        finding
        for finding in target_rules.check(info, profile, precision)
        if finding.severity == "error"
    ]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        where = f"{refused[0].layer}: " if refused[0].layer else ""
        raise ConversionError(f"{where}{refused[0].problem}{more}", refused[0].fix)


def _check_interface(opened: dict[str, Any], built: Built, resolved: ConversionPlan) -> None:
    """The loaded artifact has the I/O types that were promised: a frequent silent error."""
    for side, wanted in (("inputs", resolved.input_type), ("outputs", resolved.output_type)):
        promised = {spec.name: spec for spec in getattr(built, side)}
        for spec in building.specs(opened[side]):
            if spec.name not in promised or spec.dtype != promised[spec.name].dtype:
                raise ConversionError(
                    f"the artifact has {side[:-1]} '{spec.name}' of type {spec.dtype}, the"
                    f" converter promised {sorted((n, s.dtype) for n, s in promised.items())}",
                    "report it with the output of edgekit inspect",
                )
            quantized = spec.scale is not None or spec.dtype == "float32"
            if quantized and spec.dtype != wanted:
                raise ConversionError(
                    f"{side[:-1]} '{spec.name}' has type {spec.dtype}; asked was {wanted}",
                    f"use --{side[:-1]}-type {spec.dtype}",
                )


def _hub(source: ModelFile, facts: registry.Format) -> str:
    return facts.hubs[0] if source.family == "keras" else source.family


def _gate(resolved: ConversionPlan, written: Manifest) -> None:
    if resolved.max_drop is None or written.accuracy is None or written.source_accuracy is None:
        return
    drop = metrics.drop(written.source_accuracy, written.accuracy)
    choosing_held = any(rung.outcome == "holds" for rung in written.ladder)
    if drop <= resolved.max_drop and choosing_held:
        return
    raise GateError(
        f"{written.accuracy.metric} is {written.accuracy.value:.4f} on the test role, the source"
        f" {written.source_accuracy.value:.4f}: a drop of {drop:.4f}, allowed was"
        f" {resolved.max_drop:g}"
        + ("" if choosing_held else "; no rung of the ladder held on the choosing samples")
        + f"; the best artifact found was written to {resolved.output}",
        "train with quantization (recipe qat-int8, once this version of edgekit has it), use"
        " --precision fp16, or allow a larger --max-drop",
    )
