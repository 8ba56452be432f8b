"""The ranges that a recipe trained or refined for int8, from the model's manifest to a converter.

Nothing here imports a framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import manifest
from edgekit.manifest_types import Manifest, Quantization
from edgekit.recipe_types import Scheme
from edgekit.types import ModelFile, Precision
from edgekit.workers import Worker


def recorded(source: ModelFile, precision: Precision) -> Quantization | None:
    """What a model's manifest records for a precision; nothing if the file changed since."""
    found = _beside(source, precision)
    return found.quantization if found and manifest.matches(Path(source.path), found) else None


def left_out(source: ModelFile, precision: Precision) -> tuple[str, ...]:
    """A warning where a file is no longer the one that its manifest records ranges for."""
    outdated = manifest.outdated(Path(source.path)) if _beside(source, precision) else None
    if outdated is None:
        return ()
    found, why = outdated
    text = (
        f"the ranges that the recipe {found.recipe} left are not used, and {precision} is plainly"
        f" calibrated: {why}; convert that, or compress again"
    )
    return (text,)


def located(
    worker: Worker, quantization: Quantization, samples: Path, batch: int | None
) -> list[dict[str, Any]]:
    """The ranges, each with the extremes on the calibration samples that its tensor is known by.

    What a Rescaling multiplies before it adds its offset can be an operator of its own; its values,
    and so its range, are the layer's without the offset. It goes by the layer's name, too.

    Args:
        worker: With the model as it is exported.
        quantization: Of its manifest.
        samples: Calibration samples.
        batch: How many samples the artifact takes at once; None where that may vary.
    """
    found: dict[str, list[float]] = worker.call(
        "extremes",
        samples=str(samples),
        quantization=msgspec.to_builtins(quantization),
        batch=batch or 1,
    )
    offsets: dict[str, float] = worker.call("offsets")
    return [
        {
            "name": name,
            "range": [limit - offset for limit in limits],
            "extremes": [extreme - offset for extreme in found[name]],
        }
        for name, limits in quantization.ranges.items()
        if name in found
        for offset in (0.0, *([offsets[name]] if name in offsets else []))
    ]


def other_int8(
    quantization: Quantization, scheme: Scheme, per_tensor: Sequence[str]
) -> tuple[str, ...]:
    """A warning where a model was trained for another int8 than the target's.

    That is another runtime's, or one with more or fewer scales of weights.
    """
    if quantization.scheme != scheme:
        text = (
            f"the model was trained for int8 as {quantization.scheme} has it, and this target's is"
            f" {scheme}: compress it with the same --target to have that trained"
        )
        return (text,)
    trained = set(quantization.per_tensor)
    if scheme != "litert" or trained == set(per_tensor):
        return ()
    differing = ", ".join(sorted(trained ^ set(per_tensor))).replace("*", "every layer")
    text = (
        f"the model was trained for other scales of weights ({differing}) than this target has:"
        " compress it with the same --target to have these trained"
    )
    return (text,)


def hand_over(
    converter: Worker, samples: Path, trained: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """Gives the ranges to a converter, which then calibrates nothing else; returns warnings."""
    return tuple(converter.call("take_ranges", samples=str(samples), trained=list(trained)))


def _beside(source: ModelFile, precision: Precision) -> Manifest | None:
    """The manifest beside a model, if it records ranges for a precision."""
    found = manifest.read(Path(source.path)) if source.family == "keras" else None
    trained = found.quantization if found else None
    return found if trained and trained.precision == precision else None
