"""The ranges that a recipe trained or refined for int8, from the model's manifest to a converter.

Nothing here imports a framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgekit import manifest
from edgekit.manifest_types import Quantization
from edgekit.recipe_types import Scheme
from edgekit.types import ModelFile, Precision
from edgekit.workers import Worker


def recorded(source: ModelFile, precision: Precision) -> Quantization | None:
    """What a model's manifest records for a precision; nothing if the file changed since."""
    path = Path(source.path)
    found = manifest.read(path) if source.family == "keras" else None
    if found is None or found.quantization is None or not manifest.matches(path, found):
        return None
    return found.quantization if found.quantization.precision == precision else None


def located(
    worker: Worker, quantization: Quantization, samples: Path, batch: int | None
) -> list[dict[str, Any]]:
    """The ranges, each with the extremes on the calibration samples that its tensor is known by.

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
    return [
        {"name": name, "range": list(limits), "extremes": found[name]}
        for name, limits in quantization.ranges.items()
        if name in found
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
