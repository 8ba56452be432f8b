"""The compress stage: model + recipe → a smaller .keras + manifest, or nothing at all.

The way of the data: resolve the recipe; open the source and take its accuracy; apply step after
step, each measured on the choosing samples; read the test role; publish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    compression_plan,
    compression_warnings,
    compression_work,
    files,
    gains,
    loading,
    manifest,
    metrics,
    recipe_files,
    recipe_steps,
    step_settings,
    workers,
)
from edgekit.compression_plan import CompressionPlan, Request
from edgekit.compression_state import Work
from edgekit.errors import GateError
from edgekit.manifest_types import Manifest, Step
from edgekit.recipe_types import Claim
from edgekit.types import DryRun, FileRef, TensorSpec

COMPRESSOR = "edgekit.compression.compressor:Compressor"


def plan(model: str | Path, **options: Any) -> DryRun:
    """What `compress` would do with the same arguments, without doing it."""
    resolved = compression_plan.resolve(Request(model=model, **options))
    runs = [f"{recipe_steps.kind(step)} {step_settings.line(step)}".strip()
            for step in resolved.steps]  # fmt: skip
    writes = (str(resolved.output), str(manifest.path_for(resolved.output)))
    expected = tuple(gains.sentences(resolved.claims))
    return DryRun("edgekit.dry-run/1", runs=tuple(runs), writes=writes, expected=expected)


def compress(
    model: str | Path,
    *,
    recipe: str | Path,
    output: str | Path,
    data: str | None = None,
    preprocess: str | None = None,
    metric: str | None = None,
    target: str | None = None,
    teacher: str | Path | None = None,
    student: str | Path | None = None,
    epochs: int | None = None,
    max_drop: float | None = None,
    loss: str | None = None,
    augment: str | None = None,
    simplify: bool = True,
    seed: int = 0,
    trust: bool = False,
    force: bool = False,
    command: Sequence[str] = (),
    on_progress: Callable[[str], None] | None = None,
    on_bar: Callable[[float, str], None] | None = None,
) -> Manifest:
    """Applies a recipe to a model, measures each step, and writes the .keras and its manifest.

    Args:
        model: .keras, .h5 or a SavedModel with its layers.
        recipe: A built-in recipe's name, or a TOML file.
        output: The .keras to write.
        data: A data SPEC; a recipe that trains needs training data there.
        preprocess: How raw data becomes model input; default: what the manifest recorded.
        metric: What accuracy is; default: what suits outputs and labels.
        target: A profile: channel counts are rounded up to the multiple that it likes.
        teacher: Who teaches in a step distill: any model. Default: the model itself.
        student: The Keras model to compress instead, measured against `model`, which teaches it.
        epochs: Of every step that trains, whatever the recipe says.
        max_drop: Largest accuracy loss allowed, absolute in the metric (0.01 is one point).
        loss: `file.py:function`; default: the model's own, or what its output suggests.
        augment: `file.py:function` that changes training samples.
        simplify: First remove identities and dead channels, which changes no output.
        seed: Of every random draw.
        trust: Load models whose code cannot be known to be safe.
        force: Replace whatever stands at `output`, and compress even if it is up to date.
        command: The command line, for the manifest.
        on_progress: Told each step and each epoch.
        on_bar: Told the share of a training that is done, about once a second.

    Returns:
        The manifest that was written (or found, where nothing had changed).

    Raises:
        UsageError, UserError: See edgekit.errors; nothing was written.
        GateError: max_drop does not hold, or a loss became no finite number; the model was
            written.
    """
    asked = Request(
        model=model, recipe=recipe, output=output, data=data, preprocess=preprocess, metric=metric,
        target=target, teacher=teacher, student=student, epochs=epochs, max_drop=max_drop,
        loss=loss, augment=augment, simplify=simplify, seed=seed, trust=trust,
    )  # fmt: skip
    resolved = compression_plan.resolve(asked)
    progress = on_progress or (lambda _text: None)
    written = manifest.up_to_date(resolved.output, resolved.request_sha256)
    if written and not force:
        progress(f"{resolved.output} is up to date: nothing was run")
    else:
        manifest.may_replace(resolved.output, force=force)
        written = _made(resolved, command, progress, on_bar or (lambda _share, _text: None))
    _gate(resolved, written)
    return written


def _made(
    resolved: CompressionPlan,
    command: Sequence[str],
    progress: Callable[[str], None],
    bar: Callable[[float, str], None],
) -> Manifest:
    """Runs the recipe and publishes what it gave."""
    for sentence in gains.sentences(resolved.claims):
        progress(f"expected: {sentence}")
    with files.staging(resolved.output) as directory:
        progress(f"loading {resolved.source.path}")
        trained = any(map(recipe_steps.trains, resolved.steps))
        opened = loading.opened(
            resolved.source,
            trust=resolved.asked.trust,
            reference=COMPRESSOR,
            environment=workers.KEEP_MEMORY if trained else None,
        )
        with opened as (worker, info):
            work = Work(resolved, worker, info, directory, progress, bar)
            compression_work.run(work)
            written = _manifest(work, command)
        staged = directory / "manifest"
        staged.write_bytes(manifest.encode(written))
        sealed = staged, manifest.path_for(resolved.output)
        files.publish([(work.saved, resolved.output), sealed])
    return written


def _manifest(work: Work, command: Sequence[str]) -> Manifest:
    """What is known of the saved model."""
    source, plan = work.plan.source, work.plan
    name, parents = manifest.lineage(Path(source.path))
    made = work.worker.call("interface")
    return Manifest(
        versions=manifest.versions(),
        command=tuple(command),
        request_sha256=plan.request_sha256,
        seed=plan.asked.seed,
        artifact=manifest.artifact_info(
            (work.saved,),
            format_name="keras",
            precision=work.info.precision,
            gzip_bytes=files.gzip_size_bytes([work.saved]),
        ),
        source=FileRef(str(source.path), source.sha256, work.info.size_bytes),
        model_name=name,
        data=work.data,
        recipe=plan.recipe.name,
        recipe_sha256=recipe_files.sha256(plan.recipe),
        planned_precision=plan.planned_precision,
        quantization=work.quantization,
        profile=plan.profile,
        parents=parents,
        inputs=msgspec.convert(made["inputs"], tuple[TensorSpec, ...]),
        outputs=msgspec.convert(made["outputs"], tuple[TensorSpec, ...]),
        steps=tuple(work.steps),
        claims=tuple(_counted_claims(plan.claims, work.steps)),
        accuracy=work.accuracy,
        source_accuracy=work.final.source if work.final else None,
        paired=work.paired,
        warnings=(*plan.notes, *work.info.notes, *work.warnings),
        timing=work.timing,
    )


def _counted_claims(claims: Sequence[Claim], steps: Sequence[Step]) -> Iterator[Claim]:
    """The claims, with the MACs that each channels step has really saved."""
    saved = (
        (before.detail["macs_after"], step.detail["macs_after"])
        for before, step in pairwise(steps)
        if step.name == "channels"
    )
    for claim in claims:
        macs = next(saved) if claim.technique == "channels" else (None, None)
        yield gains.with_macs(claim, *macs) if None not in macs else claim


def _gate(resolved: CompressionPlan, written: Manifest) -> None:
    failed = compression_warnings.failed_trainings(written.steps)
    if failed:
        raise GateError(
            f"{'; '.join(failed)}; the model was written to {resolved.output}",
            "set a smaller learning_rate in the recipe, or correct the training data",
        )
    limit = resolved.asked.max_drop
    if limit is None or written.accuracy is None or written.source_accuracy is None:
        return
    drop = metrics.drop(written.source_accuracy, written.accuracy)
    if drop <= limit:
        return
    raise GateError(
        f"{written.accuracy.metric} is {written.accuracy.value:.4f} on the test role, the source"
        f" {written.source_accuracy.value:.4f}: a drop of {drop:.4f}, allowed was {limit:g}; the"
        f" model was written to {resolved.output}",
        "choose a recipe that removes less or trains longer (--epochs), or allow a larger"
        " --max-drop",
    )
