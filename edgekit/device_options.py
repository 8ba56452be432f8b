"""Refuses what was asked for where a target's runtime cannot mean it."""

from __future__ import annotations

from edgekit import vela_options
from edgekit.errors import ConversionError
from edgekit.profile_types import Profile
from edgekit.types import IoType

INTEGER_RUNTIMES = ("tflm", "ethos-u", "edgetpu")
"""Runtimes whose artifacts are integer throughout, inputs and outputs included."""


def check(
    profile: Profile, input_type: IoType | None, output_type: IoType | None, batch: str
) -> None:
    """Looks at the options that were given, and at the profile's own for a compiler.

    Raises:
        ConversionError: The target takes whole numbers, or one sample at a time.
        ProfileError: Its Vela options do not belong together.
    """
    if profile.ethos_u:
        vela_options.check(profile.name, profile.ethos_u)
        if batch not in ("1", "dynamic"):
            raise ConversionError(
                f"{profile.name} runs one sample at a time, and --batch is {batch}",
                "leave out --batch",
            )
    if profile.runtime not in INTEGER_RUNTIMES:
        return
    for option, value in (("input-type", input_type), ("output-type", output_type)):
        if value in ("float32", "float16"):
            raise ConversionError(
                f"--{option} {value}: {profile.name} takes and gives whole numbers",
                f"leave out --{option}: the manifest has scale and zero point",
            )
