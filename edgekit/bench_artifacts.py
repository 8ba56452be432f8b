"""What is to be measured: an artifact with what its manifest, or its name, says of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from edgekit import engine_plan, files, hardware, manifest, registry
from edgekit.engine_types import EngineInfo
from edgekit.errors import ModelError, ProfileError, UserError
from edgekit.manifest_types import ArtifactInfo, Manifest
from edgekit.profile_types import Profile
from edgekit.recipe_types import Claim
from edgekit.types import TensorSpec

_FORMATS = {
    known.suffix: (name, known.runtime)
    for name, known in registry.FORMATS.items()
    if not known.base
}
_EMITTED = {name: known.runtime for name, known in registry.EMITTERS.items() if known.runtime}
_RUNTIMES = {**dict(_FORMATS.values()), **_EMITTED}
EMULATED = "qemu://cortex-m7"
_SOURCES = (".h",)
_MODELS = (".keras", ".h5", ".hdf5", ".pb")
_DEFAULT_OPTIONS = {"openvino": {"INFERENCE_PRECISION_HINT": "f32"}}
"""For artifacts without a manifest: OpenVINO runs float models in bf16 where it can, unasked."""


@dataclass(frozen=True, slots=True)
class Measurand:
    """An artifact and how it is to be run. `inputs` is empty where there is no manifest.

    `target` is the profile it is to be run for, `made_for` the one that its manifest names.
    """

    path: Path
    info: ArtifactInfo
    runtime: str
    options: dict[str, str]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    model_name: str | None = None
    recipe: str | None = None
    target: str | None = None
    made_for: str | None = None
    preprocess: str | None = None
    metric: str | None = None
    claims: tuple[Claim, ...] = ()
    engine: EngineInfo | None = None


def read(path: Path, target: str | None, *, stand_in: bool = False) -> Measurand:
    """Finds out what an artifact is.

    Args:
        path: Its main file.
        target: The profile it is to be run for; default: the one it was made for.
        stand_in: Let the runtime of `registry.Format` run what a device still has to compile. It
            computes the same graph with kernels of its own: never to be measured.

    Raises:
        ModelError: It is not there, is not an artifact, or nothing here runs it.
        ProfileError: The target is unknown, or does not run this format.
        UserError: Its manifest is unreadable, or not the artifact's.
    """
    if not path.exists():
        raise ModelError(f"{path} does not exist", "check the path")
    if path.suffix not in (*_FORMATS, *_SOURCES) or not path.is_file():
        raise _not_an_artifact(path)
    found = manifest.read(path)
    if path.suffix in _SOURCES and (found is None or found.artifact.format not in _EMITTED):
        raise _not_an_artifact(path)
    measurand = _from_manifest(path, found, stand_in) if found else _from_name(path)
    return _for_target(measurand, target) if target else measurand


def job(measurand: Measurand, kind: str, threads: int, **more: Any) -> dict[str, Any]:
    """A job for the runner."""
    siblings = [] if measurand.engine else [entry.path for entry in measurand.info.files]
    built = {"built": _built(measurand.engine)} if measurand.engine else {}
    return {
        "kind": kind,
        "runtime": measurand.runtime,
        "artifact": str(executed(measurand).absolute()),
        "siblings": siblings,
        "threads": threads,
        "options": measurand.options,
        "inputs": msgspec.to_builtins(measurand.inputs),
        "outputs": msgspec.to_builtins(measurand.outputs),
        **built,
        **more,
    }


def executed(measurand: Measurand) -> Path:
    """What the runtime loads: an engine stands beside the .onnx that it was built of."""
    engine = measurand.engine
    return measurand.path.with_name(engine.file) if engine else measurand.path


def _built(engine: EngineInfo) -> dict[str, Any]:
    """What the runner holds against a device before it loads an engine."""
    told: dict[str, Any] = msgspec.to_builtins(engine)
    return {key: told[key] for key in engine_plan.MATCHED}


def check_runs_here(measurand: Measurand) -> None:
    """Finds out whether this machine has the runtime of an artifact.

    Raises:
        ModelError: It is C for a microcontroller.
        MissingExtra: The runtime is not installed.
    """
    path = measurand.path
    if measurand.runtime not in registry.RUNTIMES:
        raise ModelError(
            f"{path} is C for a microcontroller, which this machine does not run",
            f"--device {EMULATED}; here, build {path.stem}_main.c, or bench the .tflite, made"
            " without --emit",
        )
    registry.require(registry.RUNTIMES[measurand.runtime], str(path))


def _from_manifest(path: Path, found: Manifest, stand_in: bool) -> Measurand:
    if damage := manifest.damage(path, found):
        runs_without = path.suffix not in _SOURCES and damage.startswith(path.name)
        raise UserError(
            f"{path} is not the artifact that {manifest.path_for(path).name} describes: {damage}",
            "convert it again" + (", or remove that manifest" if runs_without else ""),
        )
    if found.estimate:
        raise _npu_only(path, found.estimate.accelerator)
    engine = None if stand_in else found.engine
    runtime = engine_plan.RUNTIME if engine else _RUNTIMES.get(found.artifact.format)
    if runtime is None and stand_in and registry.is_compiled(found.artifact.format):
        runtime = registry.FORMATS[found.artifact.format].runtime
    if runtime is None:
        raise _not_run_here(path, found)
    return Measurand(
        path=path,
        info=msgspec.structs.replace(found.artifact, path=str(path)),
        runtime=runtime,
        options=dict(engine.options if engine else found.runtime_options),
        inputs=found.inputs,
        outputs=found.outputs,
        model_name=found.model_name,
        recipe=found.recipe,
        target=found.profile.name if found.profile else None,
        made_for=found.profile.name if found.profile else None,
        preprocess=found.data.preprocess if found.data else None,
        metric=found.data.metric if found.data else None,
        claims=found.claims,
        engine=engine,
    )


def _not_run_here(path: Path, found: Manifest) -> ModelError:
    commands = [step.detail["command"] for step in found.steps if "command" in step.detail]
    if not commands:
        return ModelError(
            f"{path} has format {found.artifact.format}, which no runtime here runs",
            f"convert the model to one of {', '.join(_RUNTIMES)}",
        )
    return ModelError(
        f"{path} is what {found.artifact.format} builds an engine of: no engine was built, and its"
        " latency in another runtime would say nothing of it",
        "convert it again with --device URL of what has the GPU; or build the engine there with"
        f" {shlex.join(commands[-1])} and time it with trtexec; edgekit compare runs the .onnx"
        " itself, in ONNX Runtime",
    )


def _npu_only(path: Path, accelerator: str) -> ModelError:
    return ModelError(
        f"{path} is compiled for {accelerator}, and nothing but such an NPU runs it: neither this"
        " machine nor a device that edgekit reaches",
        "measure it in your firmware, or bench the int8 .tflite that it was made from",
    )


def _from_name(path: Path) -> Measurand:
    format_name, runtime = _FORMATS[path.suffix]
    paths = (path, *(_weights(path) if format_name == "openvino" else ()))
    info = manifest.artifact_info(
        paths,
        format_name=format_name,
        precision=None,
        gzip_bytes=files.gzip_size_bytes(paths),
    )
    return Measurand(
        path=path,
        info=msgspec.structs.replace(info, path=str(path)),
        runtime=runtime,
        options=dict(_DEFAULT_OPTIONS.get(runtime, {})),
    )


def _weights(path: Path) -> tuple[Path]:
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(
            f"{path} has no weights beside it ({weights.name})", "copy both files of the IR"
        )
    return (weights,)


def _for_target(measurand: Measurand, target: str) -> Measurand:
    profile = hardware.load(target)
    emitted = profile.format == "tflite" and measurand.info.format in _EMITTED
    if profile.format != measurand.info.format and not emitted:
        raise ProfileError(
            f"{target} takes {profile.format} artifacts, and {measurand.path} is"
            f" {measurand.info.format}",
            f"convert it with --target {target}, or name another --target",
        )
    options = {**measurand.options, **_plugin(profile)}
    return replace(measurand, target=target, options=options)


def _plugin(profile: Profile) -> dict[str, str]:
    """The plugin or execution provider that a target names: none is ever taken in its place."""
    if profile.onnxruntime is not None:
        return {"provider": profile.onnxruntime.provider}
    if profile.openvino is None or profile.openvino.device == "CPU":
        return {}
    return {"device": profile.openvino.device}


def _not_an_artifact(path: Path) -> ModelError:
    known = ", ".join(sorted(_FORMATS))
    if path.suffix in _MODELS or path.is_dir():
        return ModelError(
            f"{path} is a model, not an artifact that runs on a device ({known})",
            f"edgekit convert {path} --target host -o {path.stem}.tflite, then bench that",
        )
    if path.suffix in (".h", ".c", ".cc"):
        return ModelError(
            f"{path} is no header of --emit c with its manifest beside it, which is the only C that"
            f" an emulated microcontroller runs; bench also runs {known}",
            f"edgekit convert MODEL --emit c -o m.h, then bench m.h --device {EMULATED}; or build"
            " NAME_main.c (or .cc) and run it",
        )
    if path.suffix == ".bin" and path.with_suffix(".xml").is_file():
        return ModelError(f"{path} holds only weights", f"bench {path.with_suffix('.xml')}")
    return ModelError(
        f"{path} is not an artifact that can be measured; known: {known}",
        "give the file that edgekit convert wrote",
    )
