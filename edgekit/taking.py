"""A quantized `.tflite` as the source of what is made of a .tflite: it is taken as it is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgekit.arena_types import TflmArena
from edgekit.building import Built, Choice
from edgekit.conversion_work import Made, Outcome, Prepared
from edgekit.errors import ConversionError
from edgekit.loading import ModelFile
from edgekit.manifest_types import ConversionPlan
from edgekit.sampling import Sampled
from edgekit.types import ModelInfo, Precision


def computed_in(info: ModelInfo) -> str | None:
    """A .tflite's precision; one without weights goes by what its operators compute."""
    if info.precision is None and any(layer.dtype == "int8" for layer in info.layers):
        return "int8"
    return info.precision


def check_max_drop(resolved: ConversionPlan, precision: str) -> None:
    """What is taken as it is has no source whose accuracy it could lose.

    Raises:
        ConversionError: `--max-drop` was given.
    """
    if resolved.max_drop is not None:
        raise ConversionError(
            f"{resolved.model} is {precision} already: --max-drop has nothing to compare it with",
            "leave out --max-drop, or convert from the float model",
        )


def no_samples(directory: Path, warnings: tuple[str, ...] = ()) -> Sampled:
    """What stands for samples where none are drawn."""
    nowhere = directory / "samples"
    return Sampled(nowhere, nowhere, False, None, None, None, warnings)


def taken(
    source: ModelFile,
    info: ModelInfo,
    sampled: Sampled,
    arena: TflmArena | None = None,
    warnings: tuple[str, ...] = (),
) -> Made:
    """The source in the place of what a conversion would have made.

    Args:
        source: The .tflite.
        info: What is in it: it computes in a precision.
        sampled: Its samples; their warnings are told.
        arena: Its planned arena, where the target has one.
        warnings: More to tell.
    """
    path = Path(source.path)
    prepared = Prepared(info, path, sampled, info.notes)
    choice = Choice(msgspec.convert(computed_in(info), Precision))
    built = Built(choice, (path,), info.inputs, info.outputs, {}, (), None)
    told = (*sampled.warnings, *warnings)
    return Made(prepared, Outcome(built, None, None, (), None, told, {}), arena)
