"""What a conversion refuses: models the target does not run, artifacts that broke a promise."""

from __future__ import annotations

from typing import Any

from edgekit import building, target_rules
from edgekit.building import Built
from edgekit.errors import ConversionError
from edgekit.manifest_types import ConversionPlan
from edgekit.profile_types import Profile
from edgekit.types import ModelInfo, Precision


def check_target(info: ModelInfo, profile: Profile, precision: Precision) -> None:
    """Refuses what a target is known not to run.

    Raises:
        ConversionError: The first of what the target's rules refuse.
    """
    refused = [
        finding
        for finding in target_rules.check(info, profile, precision)
        if finding.severity == "error"
    ]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        where = f"{refused[0].layer}: " if refused[0].layer else ""
        raise ConversionError(f"{where}{refused[0].problem}{more}", refused[0].fix)


def check_interface(opened: dict[str, Any], built: Built, resolved: ConversionPlan) -> None:
    """The loaded artifact has the I/O types that were promised: a frequent silent error.

    Raises:
        ConversionError: It has others.
    """
    for side, wanted in (("inputs", resolved.input_type), ("outputs", resolved.output_type)):
        promised = {spec.name: spec for spec in getattr(built, side)}
        for spec in building.specs(opened[side]):
            if spec.name not in promised or spec.dtype != promised[spec.name].dtype:
                raise ConversionError(
                    f"the artifact has {side[:-1]} '{spec.name}' of type {spec.dtype}, the"
                    f" converter promised {sorted((n, s.dtype) for n, s in promised.items())}",
                    "report it with the output of edgekit inspect",
                )
            has_choice = spec.scale is not None or spec.dtype in ("float32", "float16")
            if has_choice and spec.dtype != wanted:
                raise ConversionError(
                    f"{side[:-1]} '{spec.name}' has type {spec.dtype}; asked was {wanted}",
                    f"use --{side[:-1]}-type {spec.dtype}",
                )
