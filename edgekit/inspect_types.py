"""What `edgekit inspect` finds: what a target refuses, what a recipe would do, what layers bear."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.recipe_types import Claim, Removal
from edgekit.types import Accuracy, DataRef, ModelInfo, Precision, Role


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
    """What `edgekit inspect` says: the model, and what was asked about it."""

    schema: Literal["edgekit.inspect/1"]
    model: ModelInfo
    targets: tuple[TargetFindings, ...] = ()
    recipe: RecipeFindings | None = None
    sensitivity: SensitivityFindings | None = None


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


LayerChange = Literal["prune50", "prune75", "prune90", "int8", "int4"]
"""What is done to one layer's kernels: their smallest magnitudes set to zero (that share in per
cent, of each kernel), or symmetric integers with a scale per output channel."""


class ChangeEffect(Struct, frozen=True, forbid_unknown_fields=True):
    """What one change of one layer does to the model.

    `sqnr_db` is that of the outputs against the unchanged model's, of the worst output, and -200
    where some are no finite numbers; there is no accuracy then. `drop` is absolute in the metric.
    `different` says that chance does not explain the accuracy, None where there is none: of samples
    that are right or wrong by McNemar's exact test (`p_value`) with Holm's correction for all
    changes of all layers, of others by the changed model's interval.
    """

    change: LayerChange
    sqnr_db: float
    accuracy: float | None = None
    drop: float | None = None
    p_value: float | None = None
    different: bool | None = None


class LayerSensitivity(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of the model if one layer alone is changed, and nothing is trained.

    `weights` are those of its kernels. A layer is `sensitive` if half of its weights cannot go, or
    int8 cannot hold them, without damage: accuracy that is lost beyond chance or, without labels,
    an SQNR below 10 dB.
    """

    layer: str
    kind: str
    weights: int
    sensitive: bool
    effects: tuple[ChangeEffect, ...]


class SensitivityFindings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much each layer of a model bears, on samples that never are the test role's.

    `accuracy` is the unchanged model's on them, None without labels. `layers` are in the order of
    their median SQNR, the lowest first.
    """

    data: DataRef
    role: Role
    samples: int
    seed: int
    accuracy: Accuracy | None
    layers: tuple[LayerSensitivity, ...]
    warnings: tuple[str, ...] = ()
