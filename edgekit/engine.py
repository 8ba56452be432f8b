"""The convert stage for TensorRT: the checked .onnx, and the command that builds its engine.

An engine runs only on the kind of GPU and the TensorRT version that built it, so it has to be built
on the device. Nothing is built here; the result says so, and with which command it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgekit import conversion_work, engine_plan
from edgekit.conversion_work import Made, Progress
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan, Manifest, Step
from edgekit.profile_types import Profile


@dataclass(frozen=True, slots=True)
class Buildable:
    """A checked .onnx in the staging directory, and how an engine is made of it."""

    onnx: Made
    step: Step
    warnings: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """What has to be moved into place."""
        return self.onnx.files


def make(
    resolved: ConversionPlan,
    source: ModelFile,
    profile: Profile,
    directory: Path,
    trust: bool,
    progress: Progress,
) -> Buildable:
    """Makes the .onnx, which TensorRT's parser takes as far as that can be told without it.

    Raises:
        UserError: See edgekit.errors.
    """
    assert profile.tensorrt is not None, "profile_checks asks for it"
    onnx = conversion_work.make(resolved, source, profile, directory, trust, progress)
    words = engine_plan.command(
        Path(resolved.output), onnx.outcome.built.inputs, resolved.batch_range
    )
    detail = {
        "command": words,
        "ran": False,
        "tensorrt_major": profile.tensorrt.major,
        "compute_capability": profile.tensorrt.compute_capability,
    }
    warning = "no engine was built, and TensorRT executed nothing here: build it on the device"
    return Buildable(onnx, Step("build", detail), (warning,))


def describe(
    resolved: ConversionPlan,
    source: ModelFile,
    target: str,
    made: Buildable,
    command: Sequence[str],
    elapsed_s: float,
) -> Manifest:
    """The manifest of the .onnx, with how its engine has to be built."""
    inner = conversion_work.describe(resolved, source, target, made.onnx, command, elapsed_s)
    return msgspec.structs.replace(
        inner,
        steps=(*inner.steps, made.step),
        warnings=(*inner.warnings, *made.warnings),
    )
