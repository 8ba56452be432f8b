"""Whether a model's weights and activations can fit into a target's memories at all.

Judged by lower bounds, before anything is converted: an error is certain, its absence proves
nothing. The planned arena of microcontrollers is looked at by `arena_limits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgekit import shrinking, tensor_names, units
from edgekit.inspect_types import Finding
from edgekit.profile_types import Profile
from edgekit.types import ModelInfo

WEIGHT_BITS = {
    "fp32": 32, "fp16": 16, "int8": 8, "int8-dynamic": 8, "int8-weight": 8, "int4-weight": 4,
    "int16x8": 8,
}  # fmt: skip
ACTIVATION_BYTES = {
    "fp32": 4, "fp16": 2, "int8": 1, "int8-dynamic": 4, "int8-weight": 4, "int4-weight": 4,
    "int16x8": 2,
}  # fmt: skip
"""fp16 counts 2 bytes, though some runtimes compute in float32: both tables are lower bounds."""

_FOLDED = ("BatchNormalization",)
"""Layers whose parameters vanish into their neighbours."""

NAMED = 2
"""How many of the largest contributors a message names."""


def check(info: ModelInfo, profile: Profile, precision: str) -> Iterator[Finding]:
    """What certainly does not fit.

    Args:
        info: The model.
        profile: The target.
        precision: One of edgekit.types.PRECISIONS.
    """
    if precision not in WEIGHT_BITS:
        return
    hardware = profile.hardware
    weights, activations = _weights_bytes(info, precision), _activations(info, precision)
    activation, layer = activations[0] if activations else (0, None)
    if hardware.flash_bytes is not None:
        if weights > hardware.flash_bytes:
            yield _flash(info, profile, precision, weights)
        if hardware.sram_bytes is not None and activation > hardware.sram_bytes:
            yield _sram(info, profile, precision, layer)
    elif hardware.memory_bytes is not None and weights + activation > hardware.memory_bytes:
        yield Finding(
            None,
            "the weights and the largest activation need at least"
            f" {units.size(weights + activation)} at {precision}, and {profile.name} has"
            f" {units.size(hardware.memory_bytes)} of memory",
            f"{_smaller(profile, precision, WEIGHT_BITS)}make the model smaller, or choose a larger"
            " --target",
        )


def _flash(info: ModelInfo, profile: Profile, precision: str, weights: int) -> Finding:
    there = profile.hardware.flash_bytes
    assert there is not None, "the caller looked"
    largest = sorted(info.layers, key=lambda layer: -layer.parameters)
    named = [
        (layer.name, layer.parameters * WEIGHT_BITS[precision] // 8)
        for layer in largest
        if layer.parameters and layer.kind not in _FOLDED
    ]
    share = weights / max(info.parameters, 1)

    def fits(ratio: float) -> bool:
        return shrinking.parameters_after(info, ratio) * share <= there

    return Finding(
        None,
        f"the weights need at least {units.size(weights)} at {precision}, and {profile.name} has"
        f" {units.size(there)} of flash{_named(named)}",
        _fix(info, profile, precision, WEIGHT_BITS, fits),
    )


def _sram(info: ModelInfo, profile: Profile, precision: str, layer: str | None) -> Finding:
    there = profile.hardware.sram_bytes
    assert there is not None, "the caller looked"
    activations = _activations(info, precision)
    ends = {info.layers[0].name, info.layers[-1].name}

    def fits(ratio: float) -> bool:
        return all(size * (1 if name in ends else 1 - ratio) <= there for size, name in activations)

    others = [(str(name), size) for size, name in activations]
    return Finding(
        layer,
        f"its output needs at least {units.size(activations[0][0])} at {precision}, and"
        f" {profile.name} has {units.size(there)} of SRAM{_named(others)}",
        _fix(info, profile, precision, ACTIVATION_BYTES, fits),
    )


def _fix(
    info: ModelInfo,
    profile: Profile,
    precision: str,
    widths: dict[str, int],
    fits: shrinking.Fits,
) -> str:
    first = _smaller(profile, precision, widths)
    then = "make the model smaller" if first else shrinking.advice(info, fits)
    return f"{first}{then}, or choose a larger --target"


def _smaller(profile: Profile, precision: str, widths: dict[str, int]) -> str:
    smallest = min(profile.precision.supported, key=lambda name: widths[name])
    return f"use --precision {smallest}, " if widths[smallest] < widths[precision] else ""


def _named(entries: Sequence[tuple[str, int]]) -> str:
    """The largest contributors, where there is more than one."""
    if len(entries) < NAMED:
        return ""
    return "; the largest: " + " and ".join(
        f"{tensor_names.short(name)} ({units.size(size)})" for name, size in entries[:NAMED]
    )


def _weights_bytes(info: ModelInfo, precision: str) -> int:
    folded = sum(layer.parameters for layer in info.layers if layer.kind in _FOLDED)
    return (info.parameters - folded) * WEIGHT_BITS[precision] // 8


def _activations(info: ModelInfo, precision: str) -> list[tuple[int, str]]:
    """Bytes of each layer's output for one sample, and its name; the largest first."""
    sized = [
        (
            math.prod(size for size in layer.output_shape[1:] if size)
            * ACTIVATION_BYTES[precision],
            layer.name,
        )
        for layer in info.layers
        if layer.output_shape
    ]
    return sorted(sized, key=lambda entry: -entry[0])
