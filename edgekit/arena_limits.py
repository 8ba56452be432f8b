"""Holds a `.tflite` against a microcontroller: planned arena, flash, operators.

Called twice: with the float model, before anything is quantized, and with the artifact. The planned
part of the arena is exact, so that one which exceeds the SRAM is refused; what the interpreter
keeps for itself is an estimate, and only warned about.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgekit import shrinking, target_rules, tensor_names, units
from edgekit.arena_types import Examined, TflmArena
from edgekit.errors import ConversionError
from edgekit.memory_rules import ACTIVATION_BYTES, NAMED
from edgekit.profile_types import Profile
from edgekit.types import LayerInfo, ModelInfo, Precision
from edgekit.workers import Worker

RUNTIME = "tflm"
KEPT = (0.75, 0.5, 0.25)
"""What the built-in recipes leave of a layer's channels."""


def applies(profile: Profile) -> bool:
    """Whether a target runs TensorFlow Lite Micro."""
    return profile.runtime == RUNTIME


def before(float_model: Path, info: ModelInfo, profile: Profile, precision: Precision) -> None:
    """Refuses a model whose arena, planned at the precision to come, exceeds the SRAM.

    Args:
        float_model: The float .tflite.
        info: The source, for advice.
        profile: The target.
        precision: What it will be brought to.

    Raises:
        ConversionError: It cannot fit.
    """
    if not applies(profile):
        return
    examined = _examine(float_model, ACTIVATION_BYTES[precision])
    _check_arena(examined, info, profile, "once it is quantized")


def after(
    artifact: Path, info: ModelInfo, profile: Profile, *, stored: bool
) -> tuple[TflmArena | None, tuple[str, ...]]:
    """Refuses an artifact that exceeds a memory or has an operator that the target lacks.

    Args:
        artifact: The .tflite that was made.
        info: The source, for advice.
        profile: The target.
        stored: Whether the file itself goes into the flash.

    Returns:
        The planned arena, and warnings; nothing for other runtimes.

    Raises:
        ConversionError: It does not fit.
    """
    if not applies(profile):
        return None, ()
    examined = _examine(artifact, None)
    _check_arena(examined, info, profile, "as planned")
    if stored:
        _check_flash(artifact, info, profile)
    layers = [LayerInfo(name, kind, version=version) for name, kind, version in examined.operators]
    for finding in target_rules.operators(layers, profile):
        if finding.severity == "error":
            raise ConversionError(f"{finding.layer}: {finding.problem}", finding.fix)
    return examined.arena, tuple(_warnings(examined, profile, stored=stored))


def _examine(path: Path, float_bytes: int | None) -> Examined:
    with Worker("edgekit.arena_work:Examiner", "planning the arena") as worker:
        answer = worker.call("examine", path=str(path), float_bytes=float_bytes, kept=list(KEPT))
    return msgspec.convert(answer, type=Examined)


def _check_arena(examined: Examined, info: ModelInfo, profile: Profile, when: str) -> None:
    there, arena = profile.hardware.sram_bytes, examined.arena
    if there is None or arena.head_bytes <= there:
        return
    named = " and ".join(
        f"{tensor_names.short(buffer.name)} ({units.size(buffer.size_bytes)})"
        for buffer in arena.largest[:NAMED]
    )

    def fits(ratio: float) -> bool:
        return examined.kept_heads.get(f"{1 - ratio:g}", arena.head_bytes) <= there

    raise ConversionError(
        f"the arena needs {units.size(arena.head_bytes)} {when}, and {profile.name} has"
        f" {units.size(there)} of SRAM; the largest tensors: {named}",
        f"{shrinking.advice(info, fits)}, or choose a larger --target",
    )


def _check_flash(artifact: Path, info: ModelInfo, profile: Profile) -> None:
    there, needed = profile.hardware.flash_bytes, artifact.stat().st_size
    if there is None or needed <= there:
        return
    largest = sorted(info.layers, key=lambda layer: -layer.parameters)[:NAMED]
    named = " and ".join(f"{layer.name} ({layer.parameters:,} weights)" for layer in largest)

    def fits(ratio: float) -> bool:
        left = shrinking.parameters_after(info, ratio) / max(info.parameters, 1)
        return needed * left <= there

    raise ConversionError(
        f"the artifact is {units.size(needed)}, and {profile.name} has {units.size(there)} of"
        f" flash; the largest layers: {named}",
        f"{shrinking.advice(info, fits)}, or choose a larger --target",
    )


def _warnings(examined: Examined, profile: Profile, *, stored: bool) -> Iterator[str]:
    arena, there = examined.arena, profile.hardware.sram_bytes
    whole = arena.head_bytes + arena.tail_estimate_bytes
    if there is not None and whole > there:
        yield (
            f"the arena's {units.size(arena.head_bytes)} fit into the {units.size(there)} of SRAM,"
            f" but with what the interpreter keeps they are about {units.size(whole)} (an estimate,"
            " less on a 32-bit device)"
        )
    for what in arena.incomplete:
        yield f"the planned arena is incomplete: {what}"
    if examined.dense_per_channel and stored:
        yield (
            f"{len(examined.dense_per_channel)} dense layers have a scale per channel, which some"
            " versions of TensorFlow Lite Micro compute wrongly: convert the float model for"
            f" {profile.name}, which gives them one, or run the golden vectors of --emit c-array on"
            " the device"
        )
