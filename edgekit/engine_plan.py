"""What is known of TensorRT engines without building one; loads nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import ConversionError, UsageError
from edgekit.profile_types import Profile
from edgekit.types import TensorSpec

RUNTIME = "tensorrt"
BUILDER = "trtexec"
SUFFIX = ".engine"

LARGEST_BATCH = 999_999
_RANGE = re.compile(r"([1-9]\d{0,5})\.\.([1-9]\d{0,5})")


def applies(profile: Profile) -> bool:
    """Whether a target's artifacts are engines of TensorRT."""
    return profile.format == RUNTIME


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


def command(model: Path, inputs: Sequence[TensorSpec], sizes: tuple[int, int] | None) -> list[str]:
    """What builds an engine beside its .onnx, on the device that will run it.

    `--stronglyTyped` is needed by TensorRT 10 and is the only mode of 11, which takes the option
    and does nothing about it. The largest batch is the one that kernels are chosen for.
    """
    words = [
        BUILDER,
        f"--onnx={model}",
        f"--saveEngine={model.with_suffix(SUFFIX)}",
        "--stronglyTyped",
        "--skipInference",
    ]
    if sizes is None:
        return words
    low, high = sizes
    for option, batch in (("minShapes", low), ("optShapes", high), ("maxShapes", high)):
        shapes = ",".join(f"{spec.name}:{_shape(spec, batch)}" for spec in inputs if spec.shape)
        words.append(f"--{option}={shapes}")
    return words


def _shape(spec: TensorSpec, batch: int) -> str:
    return "x".join(str(size) for size in (batch, *spec.shape[1:]))
