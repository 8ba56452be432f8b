"""What `edgekit inspect` finds: what a target refuses, and what a recipe would do."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.recipe_types import Claim, Removal
from edgekit.types import ModelInfo, Precision


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """Something about a model that a target does not support.

    "error" means that it will not run there, "cpu" that it runs beside the accelerator, "unknown"
    that it cannot be judged before conversion. `layer` None means the model as a whole.
    """

    layer: str | None
    problem: str
    fix: str
    severity: Literal["error", "cpu", "unknown"] = "error"


class TargetFindings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one target does not support of a model, at one precision."""

    target: str
    precision: Precision
    findings: tuple[Finding, ...]


class InspectReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit inspect` says: the model, and each target and recipe that was asked about."""

    schema: Literal["edgekit.inspect/1"]
    model: ModelInfo
    targets: tuple[TargetFindings, ...] = ()
    recipe: RecipeFindings | None = None


class StepFindings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one step of a recipe would do to a model, layer by layer; nothing was run.

    `applies` are layers that the step may change, `stays` those that it leaves alone, with the
    reason; `channels` counts those that would go or may go.
    """

    kind: str
    settings: str
    applies: tuple[Removal, ...] = ()
    stays: tuple[Removal, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    claim: Claim | None = None


class RecipeFindings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a recipe would do to a model, for a target if one was named."""

    name: str
    title: str
    sha256: str
    target: str | None
    steps: tuple[StepFindings, ...]
