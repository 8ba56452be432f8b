"""The convert stage: model + profile → artifact + manifest, or nothing at all.

Resolves the plan, has the artifact made (`conversion_work`) or its C sources (`emission`), and
holds the result against the drop that was allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekit import (
    conversion_plan,
    conversion_work,
    coral,
    coral_plan,
    emission,
    engine,
    engine_plan,
    files,
    manifest,
    metrics,
    npu_compilation,
    precision_advice,
    registry,
)
from edgekit.conversion_plan import Request
from edgekit.errors import GateError
from edgekit.manifest_types import ConversionPlan, Manifest
from edgekit.profile_types import Profile
from edgekit.types import Emit, IoType, Precision

Progress = Callable[[str], None]


def plan(model: str | Path, **options: Any) -> ConversionPlan:
    """What `convert` would do with the same arguments, without doing it."""
    resolved, _, _ = conversion_plan.resolve(Request(model=model, **options))
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
    sparse: bool = True,
    emit: Emit | None = None,
    device: str | None = None,
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
        precision: One of edgekit.types.PRECISIONS; default: what the model's recipe plans, else
            the profile's.
        data: A data SPEC; needed for static precisions and for max_drop.
        preprocess: How raw data becomes model input; default: what the manifest recorded.
        metric: For max_drop; default top1.
        input_type: Type of the artifact's quantized inputs; default: the profile's.
        output_type: Likewise for outputs.
        batch: "N" (static), "dynamic", or "A..B" for TensorRT.
        max_drop: Largest accuracy loss allowed, absolute in the metric (0.01 is one point).
        simplify: First remove identities and dead channels from Keras models.
        sparse: Store weights that are mostly zeros sparsely, where LiteRT runs that alike.
        emit: Write C sources in place of the .tflite: "c" (needs no runtime) or "c-array" (for
            TensorFlow Lite Micro); an int8 .tflite is taken as it is.
        device: Where a TensorRT engine is built: the device that will run it; "none" builds none.
            Default: this machine, where it has a GPU and TensorRT.
        output: The artifact to write; its suffix is that of the target's format, `.h` for C.
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
    asked = Request(
        model=model, target=target, precision=precision, data=data, preprocess=preprocess,
        metric=metric, input_type=input_type, output_type=output_type, batch=batch,
        max_drop=max_drop, simplify=simplify, sparse=sparse, emit=emit, device=device,
        output=output, seed=seed, trust=trust,
    )  # fmt: skip
    resolved, source, profile = conversion_plan.resolve(asked)
    found = manifest.up_to_date(output, resolved.request_sha256)
    if found and not force:
        if on_progress:
            on_progress(f"{output} is up to date: nothing was run")
        _gate(resolved, found, profile)
        return found
    work = _work(resolved, profile)
    manifest.may_replace(output, siblings=_siblings(resolved, profile), force=force)
    progress = on_progress or (lambda _: None)
    started = time.monotonic()
    with files.staging(output) as directory:
        made = work.make(resolved, source, profile, directory, trust, progress)
        elapsed_s = time.monotonic() - started
        written: Manifest = work.describe(resolved, source, target, made, command, elapsed_s)
        conversion_work.publish(written, made.files, directory, output)
    _gate(resolved, written, profile)
    return written


def _siblings(resolved: ConversionPlan, profile: Profile) -> tuple[str, ...]:
    """The endings of the files that the artifact may have beside its main one."""
    if resolved.emit:
        return registry.emitter(resolved.emit).siblings
    known = registry.artifact_format(resolved.format).siblings
    return (
        *known,
        *coral_plan.siblings(profile),
        *engine_plan.siblings(profile, resolved.device),
    )


def _work(resolved: ConversionPlan, profile: Profile) -> ModuleType:
    """What makes and describes the artifact."""
    if resolved.emit:
        return emission
    if coral_plan.applies(profile):
        return coral
    if engine_plan.applies(profile):
        return engine
    return npu_compilation if registry.is_compiled(resolved.format) else conversion_work


def _gate(resolved: ConversionPlan, written: Manifest, profile: Profile) -> None:
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
        precision_advice.more_accurate(profile, resolved.precision)
        + "calibrate on more samples (--data), or allow a larger --max-drop",
    )
