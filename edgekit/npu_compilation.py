"""The convert stage for an NPU with a compiler: the .tflite as always, and then Vela.

An int8 .tflite is taken as it is; anything else is converted and checked first. What is written is
the compiled file, which nothing here can execute: the manifest says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import (
    conversion_checks,
    conversion_work,
    files,
    hashing,
    loading,
    manifest,
    registry,
    taking,
    units,
)
from edgekit.conversion_work import Made, Progress
from edgekit.errors import ConversionError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan, Manifest, Step
from edgekit.npu_types import NpuEstimate
from edgekit.profile_types import Profile
from edgekit.types import STATIC_PRECISIONS, ModelInfo
from edgekit.workers import Worker

NOT_EXECUTED = (
    "the compiled artifact was not executed here: only an Ethos-U runs it; what was checked is the"
    " {precision} .tflite that Vela was given"
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled artifact in the staging directory, and the .tflite that it was made of.

    `converted` is False where the source was that .tflite.
    """

    tflite: Made
    files: tuple[Path, ...]
    estimate: NpuEstimate
    converted: bool


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Compiled:
    """Makes a compiled artifact in a staging directory.

    Raises:
        UserError: See edgekit.errors.
    """
    taken = None
    if source.family == "tflite":
        taken = _taken(resolved, source, profile, directory, trust, progress)
    base = registry.artifact_format(resolved.format).base
    inner = msgspec.structs.replace(resolved, format=base)
    tflite = taken or conversion_work.make(inner, source, profile, directory, trust, progress)
    progress("compiling with Vela")
    out = directory / "compiled" / Path(resolved.output).name
    estimate = _compile(tflite.files[0], out, profile)
    _check_memories(estimate, out, profile)
    return Compiled(tflite, (out,), estimate, taken is None)


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Compiled,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of the .tflite, with the compiled file as its artifact."""
    inner = conversion_work.describe(resolved, source, target, made.tflite, command, elapsed_s)
    artifact = manifest.artifact_info(
        made.files,
        format_name=resolved.format,
        precision=inner.artifact.precision,
        gzip_bytes=files.gzip_size_bytes(made.files),
    )
    detail = {
        "by": made.estimate.by,
        "tflite_sha256": hashing.sha256_file(made.tflite.files[0]),
        "executed": False,
    }
    not_executed = NOT_EXECUTED.format(precision=inner.artifact.precision)
    return msgspec.structs.replace(
        inner,
        artifact=artifact,
        steps=(*(inner.steps if made.converted else ()), Step("compile", detail)),
        claims=inner.claims if made.converted else (),
        estimate=made.estimate,
        warnings=(*inner.warnings, not_executed),
    )


def _compile(model: Path, out: Path, profile: Profile) -> NpuEstimate:
    assert profile.ethos_u is not None, "profile_checks asks for it"
    out.parent.mkdir()
    with Worker(registry.converter_reference(profile.format), "Vela") as worker:
        answer = worker.call(
            "compile",
            model=str(model),
            out=str(out),
            **msgspec.to_builtins(profile.ethos_u),
        )
    return msgspec.convert(answer, type=NpuEstimate)


def _check_memories(estimate: NpuEstimate, out: Path, profile: Profile) -> None:
    """Holds what Vela placed in SRAM, and the file, against what the profile has."""
    sram = next(entry.used_bytes for entry in estimate.memories if entry.name == "sram")
    hardware = profile.hardware
    for what, needed, there, room in (
        ("Vela places", sram, hardware.sram_bytes, "SRAM"),
        ("the artifact needs", out.stat().st_size, hardware.flash_bytes, "flash"),
    ):
        if there is not None and needed > there:
            raise ConversionError(
                f"{what} {units.size(needed)} in {room}, and {profile.name} has"
                f" {units.size(there)}",
                "make the model smaller (edgekit recipes list), or choose a larger --target",
            )


def _taken(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Made | None:
    """A .tflite that is quantized already, as it is; None for one that has to be converted."""
    progress(f"loading {resolved.model}")
    with loading.opened(source, trust=trust) as (_, info):
        precision = taking.computed_in(info)
        if precision not in STATIC_PRECISIONS:
            _check_convertible(resolved, info)
            return None
        _check_taken(resolved, precision)
        conversion_checks.check_target(info, profile, resolved.precision)
    ignored = ("it is quantized already, so that --data was not needed",) if resolved.data else ()
    return taking.taken(source, info, taking.no_samples(directory, ignored))


def _check_taken(resolved: ConversionPlan, precision: str) -> None:
    if precision != resolved.precision:
        raise ConversionError(
            f"{resolved.model} is {precision} already, and {resolved.precision} was asked for",
            f"use --precision {precision}, or convert from the float model",
        )
    taking.check_max_drop(resolved, precision)


def _check_convertible(resolved: ConversionPlan, info: ModelInfo) -> None:
    if resolved.data is None:
        raise ConversionError(
            f"{resolved.model} is {info.precision or 'a model without weights'}, and an Ethos-U"
            f" computes in {' or '.join(STATIC_PRECISIONS)}: getting there needs calibration data",
            "add --data SPEC, or give an int8 .tflite",
        )
