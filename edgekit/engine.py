"""The convert stage for TensorRT: the checked .onnx, and the engine that a device builds of it.

An engine runs only on the kind of GPU and the TensorRT version that built it, so the device that is
to run it builds it. Without one the result says that none was built, and with which command it is
done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import conversion_work, engine_building, engine_plan, files, manifest, registry
from edgekit.conversion_work import Made, Progress
from edgekit.engine_building import Engine
from edgekit.errors import DeviceError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan, Manifest, Step
from edgekit.profile_types import Profile
from edgekit.workers import Worker

NOT_BUILT = "no engine was built, and TensorRT executed nothing here"


@dataclass(frozen=True, slots=True)
class Buildable:
    """A checked .onnx in the staging directory, with the engine that was made of it, if one was."""

    onnx: Made
    step: Step
    engine: Engine | None
    options: dict[str, str]
    warnings: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """What has to be moved into place."""
        return (*self.onnx.files, *([self.engine.path] if self.engine else []))


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Buildable:
    """Makes the .onnx, and the engine where there is a device for it.

    TensorRT's parser takes the .onnx, as far as that can be told without it.

    Raises:
        UserError: See edgekit.errors.
    """
    assert profile.tensorrt is not None, "profile_checks asks for it"
    if resolved.device not in (None, engine_plan.NOWHERE):
        engine_building.check(resolved.device)
    onnx = conversion_work.make(resolved, source, profile, directory, trust, progress)
    sparse = _sparse_layers(onnx.files[0])
    asked = engine_plan.wanted(profile, onnx.outcome.built.inputs, resolved.batch_range, sparse)
    options = {"cuda_graph": "on"} if profile.tensorrt.cuda_graph else {}
    engine, why_not = _engine(resolved, profile, onnx, asked, options, sparse, progress)
    detail = {
        "command": engine_plan.command(Path(resolved.output), asked),
        "ran": engine is not None,
        "tensorrt_major": profile.tensorrt.major,
        "compute_capability": profile.tensorrt.compute_capability,
        "sparse_layers": sparse,
    }
    warnings = (*_major(engine, profile.tensorrt.major), *engine.warnings) if engine else (why_not,)
    return Buildable(onnx, Step("build", detail), engine, options, warnings)


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Buildable,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of the .onnx and its engine, or of how that has to be built."""
    inner = conversion_work.describe(resolved, source, target, made.onnx, command, elapsed_s)
    described = msgspec.structs.replace(
        inner,
        steps=(*inner.steps, made.step),
        warnings=(*inner.warnings, *made.warnings),
    )
    if made.engine is None:
        return described
    return msgspec.structs.replace(
        described,
        artifact=manifest.artifact_info(
            made.files,
            format_name=resolved.format,
            precision=inner.artifact.precision,
            gzip_bytes=files.gzip_size_bytes(made.files),
        ),
        engine=made.engine.info,
        timing={**inner.timing, "engine_build_s": made.engine.build_s},
    )


def _engine(
    resolved: ConversionPlan,
    profile: Profile,
    onnx: Made,
    asked: dict[str, Any],
    options: dict[str, str],
    sparse: tuple[str, ...],
    progress: Progress,
) -> tuple[Engine | None, str]:
    """The engine, or why there is none: a device that was named has to build it."""
    for url in engine_plan.places(profile, resolved.device):
        try:
            with engine_building.opened(url) as device:
                progress(f"building the engine on {url}, which takes seconds to many minutes")
                return engine_building.build(device, onnx, asked, options, sparse), ""
        except DeviceError as error:
            if resolved.device:
                raise
            return None, f"{NOT_BUILT}: {error.message}"
    return None, f"{NOT_BUILT}: build it on the device"


def _sparse_layers(onnx: Path) -> tuple[str, ...]:
    with Worker(registry.LINTERS[engine_plan.RUNTIME], "reading the .onnx") as worker:
        return tuple(worker.call("sparse_layers", path=str(onnx)))


def _major(engine: Engine, wanted: int) -> tuple[str, ...]:
    version = engine.info.tensorrt
    if int(version.partition(".")[0]) == wanted:
        return ()
    return (f"TensorRT {version} built the engine, and the profile is for TensorRT {wanted}",)
