"""The convert stage with `--emit`: the .tflite as always, and then C sources in its place.

An int8 .tflite is taken as it is; anything else is converted and checked first. What writes C runs
in a worker: the model is untrusted, and golden vectors are LiteRT's answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    arena_limits,
    building,
    conversion_checks,
    conversion_work,
    files,
    loading,
    manifest,
    registry,
    sampling,
    taking,
)
from edgekit.conversion_work import Made, Progress
from edgekit.errors import ConversionError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan, Manifest, Step
from edgekit.profile_types import Profile
from edgekit.sampling import Sampled
from edgekit.types import ModelInfo, TensorSpec
from edgekit.workers import Worker


@dataclass(frozen=True, slots=True)
class Emitted:
    """C sources in the staging directory, and the .tflite that they were made of.

    `converted` is False where the source was that .tflite.
    """

    tflite: Made
    files: tuple[Path, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    step: Step
    warnings: tuple[str, ...]
    environment: dict[str, Any]
    converted: bool


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Emitted:
    """Makes C sources in a staging directory.

    Raises:
        UserError: See edgekit.errors.
    """
    assert resolved.emit is not None, "the caller looked"
    taken = None
    if source.family == "tflite":
        taken = _taken(resolved, source, profile, directory, trust, progress)
    inner = msgspec.structs.replace(
        resolved, output=str(Path(resolved.output).with_suffix(".tflite"))
    )
    tflite = taken or conversion_work.make(inner, source, profile, directory, trust, progress)
    progress(f"writing {resolved.emit} sources")
    return _emitted(resolved, tflite, directory, converted=taken is None)


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Emitted,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of the .tflite, with the C sources as its artifact."""
    inner = conversion_work.describe(resolved, source, target, made.tflite, command, elapsed_s)
    artifact = manifest.artifact_info(
        made.files,
        format_name=str(resolved.emit),
        precision=inner.artifact.precision,
        gzip_bytes=files.gzip_size_bytes(made.files),
    )
    detail = {**made.step.detail, "tflite_sha256": inner.artifact.sha256}
    return msgspec.structs.replace(
        inner,
        artifact=artifact,
        inputs=made.inputs,
        outputs=made.outputs,
        steps=(*(inner.steps if made.converted else ()), Step(made.step.name, detail)),
        claims=inner.claims if made.converted else (),
        warnings=(*inner.warnings, *made.warnings),
        environment={**inner.environment, **made.environment},
    )


def _emitted(
    resolved: ConversionPlan, tflite: Made, directory: Path, *, converted: bool
) -> Emitted:
    assert resolved.emit is not None, "the caller looked"
    place = directory / "c"
    place.mkdir()
    sampled = tflite.prepared.sampled
    emitter = registry.emitter(resolved.emit)
    with Worker(emitter.reference, f"writing {resolved.emit} sources") as worker:
        answer: dict[str, Any] = worker.call(
            "emit",
            model=str(tflite.files[0]),
            header=str(place / Path(resolved.output).name),
            samples=str(sampled.calibration) if sampled.real_data else None,
            seed=resolved.seed,
            spec=resolved.data,
            origin=_origin(resolved),
        )
    return Emitted(
        tflite,
        tuple(Path(path) for path in answer["files"]),
        building.specs(answer["inputs"]),
        building.specs(answer["outputs"]),
        Step(f"emit {resolved.emit}", answer["facts"]),
        tuple(answer["warnings"]),
        answer["environment"],
        converted,
    )


def _origin(resolved: ConversionPlan) -> str:
    version = manifest.versions()["edgekit"]
    return f"Made by edgekit {version} from {Path(resolved.model).name}; do not edit."


def _taken(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Made | None:
    """An int8 .tflite as it is; None for one that has to be converted first."""
    progress(f"loading {resolved.model}")
    with loading.opened(source, trust=trust) as (worker, opened):
        info = _one_sample(opened)
        if taking.computed_in(info) != "int8":
            _check_convertible(resolved, info)
            return None
        taking.check_max_drop(resolved, "int8")
        conversion_checks.check_target(info, profile, "int8")
        arena, warnings = arena_limits.after(
            Path(source.path), info, profile, stored=resolved.emit != "c"
        )
        sampled = _samples(resolved, info, worker, directory)
    return taking.taken(source, info, sampled, arena, warnings)


def _samples(resolved: ConversionPlan, info: ModelInfo, worker: Worker, directory: Path) -> Sampled:
    """Real samples for golden vectors, where data was given."""
    if resolved.data is None:
        return taking.no_samples(directory)
    return sampling.draw(resolved, info, worker, directory / "samples")


def _one_sample(info: ModelInfo) -> ModelInfo:
    """The model with a batch of 1, where the file leaves it open: C runs one sample at a time."""

    def closed(spec: TensorSpec) -> TensorSpec:
        return msgspec.structs.replace(spec, shape=(spec.shape[0] or 1, *spec.shape[1:]))

    return msgspec.structs.replace(
        info,
        inputs=tuple(closed(spec) if spec.shape else spec for spec in info.inputs),
        outputs=tuple(closed(spec) if spec.shape else spec for spec in info.outputs),
    )


def _check_convertible(resolved: ConversionPlan, info: ModelInfo) -> None:
    if resolved.precision in ("int8", "int16x8") and resolved.data is None:
        raise ConversionError(
            f"{resolved.model} is {info.precision or 'a model without weights'}, and bringing it to"
            f" {resolved.precision} needs calibration data",
            "add --data SPEC, or give an int8 .tflite",
        )
