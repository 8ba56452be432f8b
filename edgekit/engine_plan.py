"""What is known of TensorRT engines without building one; loads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit import registry
from edgekit.errors import ConversionError, UsageError
from edgekit.profile_types import Profile
from edgekit.types import TensorSpec

RUNTIME = "tensorrt"
BUILDER = "trtexec"
SUFFIX = ".engine"

MATCHED = (
    "os", "arch", "compute_capability", "gpu", "tensorrt", "hardware_compatible",
    "version_compatible",
)  # fmt: skip
"""What the runner holds against a device before it loads an engine."""

LARGEST_BATCH = 999_999
_RANGE = re.compile(r"([1-9]\d{0,5})\.\.([1-9]\d{0,5})")


def applies(profile: Profile) -> bool:
    """Whether a target's artifacts are engines of TensorRT."""
    return profile.format == RUNTIME


NOWHERE = "none"
"""The device of engines that are not to be built, though this machine could."""

_GPU_NODES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")
"""What Linux shows of a GPU of NVIDIA: on a card, on a Jetson (two kernels' names), under WSL."""


def check_options(profile: Profile, device: str | None, batch: str) -> None:
    """Refuses a device or a batch that nothing can be done with.

    Raises:
        UsageError: The target has no engine to build.
        ConversionError: A DLA was asked for a batch that varies.
    """
    if device is not None and not applies(profile):
        raise UsageError(
            f"--device {device}: only TensorRT engines are built on a device, and {profile.name}"
            f" takes {profile.format} artifacts",
            "leave it out; edgekit bench takes --device",
        )
    options = profile.tensorrt
    if options and options.dla_core is not None and ".." in batch:
        raise ConversionError(
            f"--batch {batch}: a DLA takes no batch that varies, and {profile.name} names DLA core"
            f" {options.dla_core}",
            "use --batch N, or take dla_core out of the profile",
        )


def places(profile: Profile, device: str | None) -> list[str]:
    """Where an engine is to be built: the device that was named, else here where that can be.

    Without one, an engine is made by hand with `command`.
    """
    if not applies(profile) or device == NOWHERE:
        return []
    here = registry.has_module("tensorrt") and any(Path(one).exists() for one in _GPU_NODES)
    return [device] if device else ["local"] * here


def siblings(profile: Profile, device: str | None) -> tuple[str, ...]:
    """The endings of the files beside the .onnx."""
    return (SUFFIX,) if places(profile, device) else ()


def why_not(precision: str) -> str:
    """Why TensorRT is given no artifact of a precision, to stand in a message; "" for no reason."""
    return {
        "int4-weight": ": it takes int4 weights, in blocks, of matrix products alone and leaves"
        " convolutions in float, and the blocks need ONNX opset 21, where this export has 18",
        "int8-weight": ": of quantized weights without quantized activations it takes int4 alone",
        "int8-dynamic": ": ranges stand in its graph",
        "int16x8": ": it has no 16-bit integers",
    }.get(precision, "")


def check_text(batch: object) -> None:
    """Refuses what a caller from Python gave in place of text.

    Raises:
        UsageError: It is a number, a range or anything else.
    """
    if isinstance(batch, str):
        return
    meant = str(batch) if isinstance(batch, int) else "1"
    if isinstance(batch, tuple | list | range) and len(batch) > 1:
        meant = f"{batch[0]}..{batch[-1]}"
    raise UsageError(f"batch={batch!r} is no text", f'use batch="{meant}"')


def batch_range(text: str, profile: Profile) -> tuple[int, int] | None:
    """The batch sizes that an engine is to take: `A..B`, or None for any other text.

    Raises:
        UsageError: The target's runtime takes no range, or it is none.
        ConversionError: TensorRT was asked for a batch without limits.
    """
    if applies(profile) and text == "dynamic":
        raise ConversionError(
            "TensorRT builds an engine for a range of batch sizes, and dynamic has no end",
            "use --batch A..B, as in --batch 1..16",
        )
    if ".." not in text:
        return None
    found = _RANGE.fullmatch(text)
    if not applies(profile):
        raise UsageError(
            f"--batch {text}: only TensorRT engines take a range of batch sizes",
            "use --batch dynamic or a number",
        )
    if not found or int(found[1]) > int(found[2]):
        raise UsageError(
            f"--batch {text} is no range A..B with 1 ≤ A ≤ B ≤ {LARGEST_BATCH:,}", "--batch 1..16"
        )
    return int(found[1]), int(found[2])


def shapes(
    inputs: Sequence[TensorSpec], sizes: tuple[int, int] | None
) -> dict[str, list[list[int]]]:
    """The optimization profile: smallest, best and largest shape of each input that may vary.

    The largest batch is the one that kernels are chosen for.
    """
    if sizes is None:
        return {}
    low, high = sizes
    return {
        spec.name: [_shape(spec, batch) for batch in (low, high, high)]
        for spec in inputs
        if spec.shape
    }


def wanted(
    profile: Profile,
    inputs: Sequence[TensorSpec],
    sizes: tuple[int, int] | None,
    sparse: Sequence[str],
) -> dict[str, Any]:
    """What the builder on a device is asked for (`runner.tensorrt_build.Wanted`)."""
    options = profile.tensorrt
    assert options is not None, "profile_checks asks for it"
    return {
        "profile": shapes(inputs, sizes),
        "sparse": bool(sparse),
        "compute_capability": options.compute_capability,
        "workspace_bytes": options.workspace_bytes,
        "dla_core": options.dla_core,
        "hardware_compatible": options.hardware_compatible,
        "version_compatible": options.version_compatible,
    }


def command(model: Path, asked: dict[str, Any]) -> list[str]:
    """What builds an engine beside its .onnx by hand, on the device that will run it.

    `--stronglyTyped` is needed by TensorRT 10 and is the only mode of 11, which takes the option
    and does nothing about it.

    Args:
        model: The .onnx.
        asked: From `wanted`.
    """
    words = [
        BUILDER,
        f"--onnx={model}",
        f"--saveEngine={model.with_suffix(SUFFIX)}",
        "--stronglyTyped",
        "--skipInference",
    ]
    words += _options(asked)
    for at, option in enumerate(("minShapes", "optShapes", "maxShapes") * bool(asked["profile"])):
        listed = ",".join(
            f"{name}:{'x'.join(map(str, shape[at]))}" for name, shape in asked["profile"].items()
        )
        words.append(f"--{option}={listed}")
    return words


def _options(asked: dict[str, Any]) -> Iterator[str]:
    if asked["sparse"]:
        yield "--sparsity=enable"
    if asked["workspace_bytes"]:
        yield f"--memPoolSize=workspace:{asked['workspace_bytes'] / 2**20:g}"
    if asked["version_compatible"]:
        yield "--versionCompatible"
    if asked["hardware_compatible"]:
        yield "--hardwareCompatibilityLevel=ampere+"
    if asked["dla_core"] is not None:
        yield f"--useDLACore={asked['dla_core']}"
        yield "--allowGPUFallback"


def _shape(spec: TensorSpec, batch: int) -> list[int]:
    return [batch, *(size or 1 for size in spec.shape[1:])]
