"""What `--emit` means for a plan, and what it cannot mean, before any framework is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit import registry
from edgekit.errors import ConversionError, UsageError
from edgekit.profile_types import Profile
from edgekit.types import STATIC_PRECISIONS, Emit, IoType, Precision


def check_options(
    emit: Emit,
    precision: Precision | None,
    input_type: IoType | None,
    output_type: IoType | None,
    batch: str,
    output: Path,
) -> None:
    """Options that contradict `--emit`.

    Raises:
        UsageError: One does, or there is no such emitter.
    """
    facts = registry.emitter(emit)
    if not re.fullmatch(r"[0-9A-Za-z_][0-9A-Za-z_.-]*", output.name):
        raise UsageError(
            f"-o {output}: #include lines name the file, so that it may hold only letters of ASCII,"
            " digits, '_', '-' and '.'",
            f"use -o {output.with_name('model.h')}",
        )
    if batch != "1":
        raise UsageError(
            f"--batch {batch} does not go with --emit {emit}, which runs one sample at a time",
            "leave out --batch",
        )
    if not facts.needs_int8:
        return
    if precision not in (None, "int8"):
        raise UsageError(
            f"--precision {precision} does not go with --emit {emit}, which writes int8 models",
            "leave out --precision, or use --emit c-array",
        )
    for option, value in (("input-type", input_type), ("output-type", output_type)):
        if value not in (None, "int8"):
            raise UsageError(
                f"--{option} {value} does not go with --emit {emit}, whose function takes int8",
                f"leave out --{option}: scale and zero point stand in the header",
            )


def check_profile(emit: Emit, profile: Profile) -> None:
    """C sources are made of a .tflite.

    Raises:
        ConversionError: The target takes another format.
    """
    if profile.format != "tflite":
        raise ConversionError(
            f"--emit {emit} makes C of a .tflite, and {profile.name} takes {profile.format}",
            "choose a target such as cortex-m7 (edgekit profiles list)",
        )


def check_precision(emit: Emit, precision: Precision) -> None:
    """The precision that a recipe planned suits the emitter.

    Raises:
        ConversionError: It does not.
    """
    if registry.emitter(emit).needs_int8 and precision != "int8":
        raise ConversionError(
            f"the model's recipe planned {precision}, and --emit {emit} writes int8 models",
            "add --precision int8",
        )


def suffix_of(facts: registry.Format, emit: Emit | None) -> str:
    """What the output has to end in."""
    return registry.emitter(emit).suffix if emit else facts.suffix


def io_types(
    profile: Profile,
    precision: Precision,
    emit: Emit | None,
    input_type: IoType | None,
    output_type: IoType | None,
) -> tuple[IoType, IoType]:
    """The types that were asked for, or else the profile's; C for small machines takes int8.

    Where the profile's are whole numbers, int16x8 has those of its own activations.
    """
    if precision not in STATIC_PRECISIONS:
        return input_type or "float32", output_type or "float32"
    if emit and precision == "int8":
        return input_type or "int8", output_type or "int8"
    own = (profile.precision.input_type, profile.precision.output_type)
    if precision == "int16x8":
        own = (_sixteen_bits(own[0]), _sixteen_bits(own[1]))
    return input_type or own[0], output_type or own[1]


def _sixteen_bits(own: IoType) -> IoType:
    return "int16" if own in ("int8", "uint8") else own
