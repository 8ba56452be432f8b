"""Resolves what a conversion was asked for, before any framework is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import (
    coral_plan,
    device_options,
    emission_plan,
    engine_plan,
    hardware,
    hashing,
    held,
    loading,
    manifest,
    metric_names,
    precision_advice,
    preprocess_names,
    registry,
    spec_hashes,
    trained_ranges,
)
from edgekit.errors import ConversionError, OutputError, UsageError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan
from edgekit.profile_types import Profile
from edgekit.types import IO_TYPES, PRECISIONS, STATIC_PRECISIONS, Emit, IoType, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `convert` was asked for; see `conversion.convert`."""

    model: str | Path
    output: str | Path
    target: str = "host"
    precision: Precision | None = None
    data: str | None = None
    preprocess: str | None = None
    metric: str | None = None
    input_type: IoType | None = None
    output_type: IoType | None = None
    batch: str = "1"
    max_drop: float | None = None
    simplify: bool = True
    sparse: bool = True
    emit: Emit | None = None
    device: str | None = None
    seed: int = 0
    trust: bool = False


def resolve(asked: Request) -> tuple[ConversionPlan, ModelFile, Profile]:
    """Every default filled in, and everything refused that can be refused without the model.

    Raises:
        UsageError: The options contradict each other.
        ProfileError: The target is unknown.
        ConversionError: The target or format cannot do what was asked.
        ModelError: The model file is not readable or not safe.
    """
    _check_values(asked)
    profile = hardware.load(asked.target)
    _check_target(asked, profile)
    facts = registry.artifact_format(profile.format)
    source = loading.identify(asked.model, trust=asked.trust)
    _check_route(source, profile, facts)
    chosen = _chosen(source, asked, profile)
    wanted, notes = preprocess_of(source, asked.preprocess)
    simplified = asked.simplify and source.family == "keras"
    request_sha256 = _request_sha256(
        source, asked, profile, chosen, preprocess=wanted, simplified=simplified
    )
    input_type, output_type = emission_plan.io_types(
        profile, chosen, asked.emit, asked.input_type, asked.output_type
    )
    plan = ConversionPlan(
        model=str(asked.model),
        family=source.family,
        source_format=source.format,
        target=profile.name,
        format=profile.format,
        runtime=_runtime(profile, facts),
        precision=chosen,
        input_type=input_type,
        output_type=output_type,
        batch=_batch(asked.batch, profile),
        batch_range=engine_plan.batch_range(asked.batch, profile),
        threads=profile.litert.threads if profile.litert else 1,
        preprocess=wanted,
        simplify=simplified,
        sparse=asked.sparse,
        data=asked.data,
        metric=asked.metric,
        max_drop=asked.max_drop,
        seed=asked.seed,
        emit=asked.emit,
        device=asked.device,
        output=str(asked.output),
        request_sha256=request_sha256,
        up_to_date=manifest.up_to_date(Path(asked.output), request_sha256) is not None,
        notes=(
            *notes,
            *(() if asked.precision else _plan_left_out(source, chosen)),
            *trained_ranges.left_out(source, chosen),
        ),
    )
    return plan, source, profile


def _check_target(asked: Request, profile: Profile) -> None:
    """Refuses what this target cannot do with any model, and what it needs and is not there."""
    engine_plan.check_options(profile, asked.device, asked.batch)
    _check_data_options(asked, profile)
    registry.converter_reference(profile.format)
    facts = registry.artifact_format(profile.format)
    device_options.check(profile, asked.input_type, asked.output_type, asked.batch)
    runtime = _runtime(profile, facts)
    if runtime in registry.RUNTIMES:
        registry.require(registry.RUNTIMES[runtime], "checking the artifact")
    if asked.emit:
        emission_plan.check_profile(asked.emit, profile)
    suffix = emission_plan.suffix_of(facts, asked.emit)
    _check_output(Path(asked.output), Path(asked.model), asked.emit or profile.format, suffix)


def _may_be_int8(asked: Request, profile: Profile) -> bool:
    """Whether the model may be quantized already, so that no calibration data is needed."""
    taken = asked.emit is not None or registry.is_compiled(profile.format)
    return taken and Path(asked.model).suffix == ".tflite"


def _recorded(source: ModelFile, chosen: Precision, *, simplified: bool) -> list[Any]:
    """What is taken of the source's manifest besides the precision: ranges, zeros in groups."""
    trained = trained_ranges.recorded(source, chosen)
    grouped = simplified and held.of_file(Path(source.path)).groups
    return [msgspec.to_builtins(trained)] * bool(trained) + ["zeros in groups"] * grouped


def _chosen(source: ModelFile, asked: Request, profile: Profile) -> Precision:
    """The precision asked for, else what the recipe planned, else the profile's own."""
    planned = None if asked.precision else _planned_precision(source)
    own: Precision = "int8" if asked.emit else profile.precision.default
    chosen = asked.precision or planned or own
    if asked.emit:
        emission_plan.check_precision(asked.emit, chosen)
    if not (asked.emit and source.family == "tflite"):
        calibrated = asked.data is not None or _may_be_int8(asked, profile)
        _check_precision(chosen, profile, calibrated, planned)
    return chosen


def _check_output(output: Path, model: Path, what: str, suffix: str) -> None:
    if output.is_dir():
        named = output / f"model{suffix}"
        raise OutputError(f"-o {output} is a directory", f"name a file, as in -o {named}")
    if output.suffix != suffix:
        raise UsageError(
            f"-o {output} does not end in {suffix}, as {what} artifacts do",
            f"use -o {output.with_suffix(suffix)}",
        )
    if output.exists() and model.exists() and output.samefile(model):
        raise UsageError(
            f"-o {output} is the model itself, which would be lost", "name another file with -o"
        )


def _request_sha256(
    source: ModelFile,
    asked: Request,
    profile: Profile,
    chosen: Precision,
    *,
    preprocess: str,
    simplified: bool,
) -> str:
    """The identity of a conversion: all its inputs, options and versions."""
    options: list[Any] = [
        chosen, preprocess, asked.metric, asked.input_type, asked.output_type, asked.batch,
        asked.max_drop, asked.seed, simplified,
    ]  # fmt: skip
    options += [asked.emit] if asked.emit else []
    options += [] if asked.sparse else ["no-sparse"]
    options += _recorded(source, chosen, simplified=simplified)
    options += coral_plan.siblings(profile)  # with the compiler there is more to make
    options += engine_plan.places(profile, asked.device)  # likewise where an engine can be built
    request = {
        "source": source.sha256,
        "data": spec_hashes.data_sha256(asked.data) if asked.data else None,
        "metric": spec_hashes.function_sha256(asked.metric),
        "profile": hardware.reference(asked.target).sha256,
        "versions": manifest.versions(),
        "options": options,
    }
    return hashing.sha256_json(request)


def _check_values(asked: Request) -> None:
    """Refuses what contradicts itself, and what the command line's own choices would refuse."""
    precision = asked.precision
    types = (("input-type", asked.input_type), ("output-type", asked.output_type))
    given = (("precision", precision, PRECISIONS), *((*one, IO_TYPES) for one in types))
    for option, value, allowed in given:
        if value is not None and value not in allowed:
            raise UsageError(
                f"--{option} {value!r} is not one of {', '.join(allowed)}", "name one of these"
            )
    if asked.max_drop is not None and not 0 <= asked.max_drop < 1:
        raise UsageError(
            f"--max-drop {asked.max_drop:g} is not in 0 to 1", "0.01 and 1% mean one point"
        )
    for option, value in types:
        half = precision == "fp16" and value == "float16"
        integer = value not in (None, "float32") and not half
        if precision and precision not in STATIC_PRECISIONS and integer:
            raise UsageError(
                f"--{option} {value}: {precision} has no integer activations to take or give",
                f"leave out --{option}, or use --precision int8",
            )
        if precision == "int8" and value in ("int16", "float16"):
            raise UsageError(
                f"--{option} {value} does not go with --precision int8", "use int8 or uint8"
            )
    engine_plan.check_text(asked.batch)
    if asked.emit:
        emission_plan.check_options(
            asked.emit, precision, asked.input_type, asked.output_type, asked.batch,
            Path(asked.output),
        )  # fmt: skip


def _check_data_options(asked: Request, profile: Profile) -> None:
    metric_names.check_name(asked.metric)
    if asked.data is not None:
        return
    precision = None if _may_be_int8(asked, profile) else asked.precision
    if precision in STATIC_PRECISIONS:
        raise UsageError(
            f"--precision {precision} needs calibration data, and --data was not given",
            "add --data SPEC (an .npz, an image directory, or file.py:function)"
            + precision_advice.without_data(profile),
        )
    given = {
        "--max-drop": asked.max_drop,
        "--metric": asked.metric,
        "--preprocess": asked.preprocess,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} says nothing without --data", "add --data SPEC")


def _check_route(source: ModelFile, profile: Profile, facts: registry.Format) -> None:
    if source.family == "keras" or source.family in facts.hubs:
        return
    others = ", ".join(f".{hub}" for hub in facts.hubs if hub != "savedmodel")
    raise ConversionError(
        f"a .{source.format} model cannot be converted to {profile.format}; possible sources:"
        f" .keras, .h5, SavedModel, {others}",
        "convert from the Keras model it was made from, or choose --target host-openvino or"
        " host-onnxruntime"
        if source.family == "onnx"
        else "convert from the Keras model it was made from",
    )


def _check_precision(
    precision: Precision, profile: Profile, calibrated: bool, planned: Precision | None
) -> None:
    supported = profile.precision.supported
    if precision not in supported:
        why = engine_plan.why_not(precision) if engine_plan.applies(profile) else ""
        raise ConversionError(
            f"{profile.name} ({profile.runtime}) does not run {precision}{why}; it runs"
            f" {', '.join(supported)}",
            f"use --precision {profile.precision.default}, or another --target",
        )
    if precision in STATIC_PRECISIONS and not calibrated:
        whose = "the model's recipe planned" if precision == planned else f"{profile.name} takes"
        raise ConversionError(
            f"{whose} {precision} by default, which needs calibration data",
            "add --data SPEC" + precision_advice.without_data(profile),
        )


def _batch(text: str, profile: Profile) -> int | None:
    if engine_plan.batch_range(text, profile):
        return None
    if text == "dynamic":
        if profile.static_batch_only:
            raise ConversionError(
                f"{profile.name} runs static shapes only", "leave out --batch dynamic"
            )
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise UsageError(
            f"--batch {text} is neither dynamic nor a number from 1 to"
            f" {engine_plan.LARGEST_BATCH:,}",
            "--batch 1",
        )
    return int(text)


def _runtime(profile: Profile, facts: registry.Format) -> str:
    """What executes the artifact on this machine: the profile's own runtime, or its stand-in."""
    own = profile.runtime in registry.RUNTIMES and facts.base is None
    return profile.runtime if own else facts.runtime


def preprocess_of(source: ModelFile, asked: str | None) -> tuple[str, tuple[str, ...]]:
    """How raw data becomes model input, and a note where that is not what the manifest says."""
    found = manifest.read(Path(source.path))
    recorded = found.data.preprocess if found and found.data else None
    wanted = asked or recorded or "none"
    preprocess_names.parse(wanted)
    if recorded is None or wanted == recorded:
        return wanted, ()
    return wanted, (f"--preprocess {asked} is used; the model's manifest recorded {recorded}",)


def _planned_precision(source: ModelFile) -> Precision | None:
    """What the recipe that made the model left to `convert`; nothing if the file changed since."""
    path = Path(source.path)
    found = manifest.read(path)
    return found.planned_precision if found and manifest.matches(path, found) else None


def _plan_left_out(source: ModelFile, chosen: Precision) -> tuple[str, ...]:
    """A warning where a file is no longer the one that its manifest plans a precision for."""
    outdated = manifest.outdated(Path(source.path))
    if outdated is None or outdated[0].planned_precision in (None, chosen):
        return ()
    found, why = outdated
    text = (
        f"the target's own precision {chosen} is used, and not {found.planned_precision}, as the"
        f" recipe {found.recipe} planned: {why}; --precision says which"
    )
    return (text,)
