"""Resolves what a conversion was asked for, before any framework is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit import hardware, hashing, loading, manifest, preprocessing, registry, user_code
from edgekit.errors import ConversionError, DataError, UsageError
from edgekit.loading import ModelFile
from edgekit.types import (
    STATIC_PRECISIONS,
    ConversionPlan,
    IoType,
    Precision,
    Profile,
)


def resolve(
    model: str | Path,
    *,
    target: str,
    precision: Precision | None,
    data: str | None,
    preprocess: str | None,
    metric: str | None,
    input_type: IoType | None,
    output_type: IoType | None,
    batch: str,
    max_drop: float | None,
    output: Path,
    seed: int,
    trust: bool,
) -> tuple[ConversionPlan, ModelFile, Profile]:
    """Every default filled in, and everything refused that can be refused without the model.

    Raises:
        UsageError: The options contradict each other.
        ProfileError: The target is unknown.
        ConversionError: The target or format cannot do what was asked.
        ModelError: The model file is not readable or not safe.
    """
    if precision in STATIC_PRECISIONS and data is None:
        raise UsageError(
            f"--precision {precision} needs calibration data, and --data was not given",
            "add --data SPEC (an .npz, an image directory, or file.py:function), or use"
            " --precision int8-dynamic",
        )
    if max_drop is not None and data is None:
        raise UsageError("--max-drop needs labelled data, and --data was not given", "add --data")
    profile = hardware.load(target)
    registry.converter_reference(profile.format)
    facts = registry.artifact_format(profile.format)
    if output.suffix != facts.suffix:
        raise UsageError(
            f"-o {output} does not end in {facts.suffix}, as {profile.format} artifacts do",
            f"use -o {output.with_suffix(facts.suffix)}",
        )
    source = loading.identify(model, trust=trust)
    _check_route(source, profile, facts)
    planned = _planned_precision(source)
    runs_it = planned in profile.precision.supported
    chosen = precision or (planned if planned and runs_it else profile.precision.default)
    _check_precision(chosen, profile, data, planned if precision is None else None)
    wanted, notes = preprocess_of(source, preprocess)
    preprocessing.parse(wanted)
    if planned and not precision and not runs_it:
        note = f"{profile.name} does not run {planned}, which the model's recipe planned"
        notes = (*notes, f"{note}; it is converted to {chosen}")
    static = chosen in STATIC_PRECISIONS
    native: IoType = "float32"
    request = {
        "source": source.sha256,
        "data": data_sha256(data) if data else None,
        "profile": hardware.reference(target).sha256,
        "versions": manifest.versions(),
        "options": [chosen, wanted, metric, input_type, output_type, batch, max_drop, seed],
    }
    request_sha256 = hashing.sha256_json(request)
    plan = ConversionPlan(
        model=str(model),
        family=source.family,
        source_format=source.format,
        target=profile.name,
        format=profile.format,
        runtime=_runtime(profile, facts),
        precision=chosen,
        input_type=input_type or (profile.precision.input_type if static else native),
        output_type=output_type or (profile.precision.output_type if static else native),
        batch=_batch(batch, profile),
        threads=profile.litert.threads if profile.litert else 1,
        preprocess=wanted,
        data=data,
        metric=metric,
        max_drop=max_drop,
        seed=seed,
        output=str(output),
        request_sha256=request_sha256,
        up_to_date=manifest.up_to_date(output, request_sha256) is not None,
        notes=notes,
    )
    return plan, source, profile


def data_sha256(spec: str) -> str:
    """What is known of the data before it is opened: its file, directory, or function's file."""
    function = user_code.split(spec)
    path = Path(function[0] if function else spec)
    if not path.exists():
        raise DataError(f"--data {spec}: {path} does not exist", "check the path")
    return hashing.sha256_json([hashing.file_ref(path).sha256, function[1] if function else None])


def _check_route(source: ModelFile, profile: Profile, facts: registry.Format) -> None:
    if source.family == "keras" or source.family in facts.hubs:
        return
    others = ", ".join(f".{hub}" for hub in facts.hubs if hub != "savedmodel")
    raise ConversionError(
        f"a .{source.format} model cannot be converted to {profile.format}; possible sources:"
        f" .keras, .h5, SavedModel, {others}",
        "convert from the Keras model it was made from, or choose --target host-openvino"
        if source.family == "onnx"
        else "convert from the Keras model it was made from",
    )


def _check_precision(
    precision: Precision, profile: Profile, data: str | None, planned: Precision | None
) -> None:
    supported = profile.precision.supported
    if precision not in supported:
        raise ConversionError(
            f"{profile.name} ({profile.runtime}) does not run {precision}; it runs"
            f" {', '.join(supported)}",
            f"use --precision {supported[0]}, or another --target",
        )
    if precision in STATIC_PRECISIONS and data is None:
        whose = "the model's recipe planned" if precision == planned else f"{profile.name} takes"
        raise ConversionError(
            f"{whose} {precision} by default, which needs calibration data",
            "add --data SPEC, or name another --precision",
        )


def _batch(text: str, profile: Profile) -> int | None:
    if re.fullmatch(r"\d+\.\.\d+", text):
        raise UsageError(
            f"--batch {text}: only TensorRT engines take a range of batch sizes",
            "use --batch dynamic or a number",
        )
    if text == "dynamic":
        if profile.static_batch_only:
            raise ConversionError(
                f"{profile.name} runs static shapes only", "leave out --batch dynamic"
            )
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UsageError(f"--batch {text} is neither a positive number, A..B nor dynamic")
    return int(text)


def _runtime(profile: Profile, facts: registry.Format) -> str:
    """What executes the artifact on this machine: the profile's own runtime, or its stand-in."""
    return profile.runtime if profile.runtime in registry.RUNTIMES else facts.runtime


def preprocess_of(source: ModelFile, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """How raw data becomes input: as asked, else as recorded; and what there is to say of it."""
    found = manifest.read(Path(source.path))
    recorded = found.data.preprocess if found and found.data else None
    if recorded and wanted and wanted != recorded:
        note = f"--preprocess {wanted} is used; the model's manifest recorded {recorded}"
        return wanted, (note,)
    return wanted or recorded or "none", ()


def _planned_precision(source: ModelFile) -> Precision | None:
    """What the recipe that made the model left to `convert`; nothing if the file changed since."""
    path = Path(source.path)
    found = manifest.read(path)
    return found.planned_precision if found and manifest.matches(path, found) else None
