"""The data of `edgekit compare`: two models on the same samples, and layer by layer.

As in `edgekit.types`: frozen, without behaviour, units in the names, None for not measured.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.manifest_types import PairedChange
from edgekit.types import Accuracy, DataRef, Dimension


class Compared(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the two models, and what executed it.

    `precision` is what it stores; `ran` the arithmetic that the runtime reports, None where it
    tells nothing; `precision_hint` OpenVINO's own.
    """

    path: str
    sha256: str
    format: str
    precision: str | None
    size_bytes: int
    runtime: str
    ran: str | None = None
    precision_hint: str | None = None


class OutputDifference(Struct, frozen=True, forbid_unknown_fields=True):
    """How far one output is from the reference's, over all samples.

    `artifact_output` is its name in the artifact. `max_abs` and `mean_abs` are None where they are
    not finite: one of the two outputs holds an infinity or something that is no number. `cosine` is
    None where one of the two is zero throughout or not finite. `step` is the artifact's
    quantization step of this output, and `max_steps` the largest difference in such steps.
    `top1_agreement` is the share of samples for which both have their largest value in the same
    place; None where the output is no list of classes.
    """

    name: str
    artifact_output: str
    samples: int
    max_abs: float | None
    mean_abs: float | None
    sqnr_db: float
    cosine: float | None
    step: float | None = None
    max_steps: float | None = None
    top1_agreement: float | None = None


class ClassChange(Struct, frozen=True, forbid_unknown_fields=True):
    """One class of a classifier: how many of its n samples each model gets right.

    `lost` are right in the reference alone, `won` in the artifact alone; `p_value` is that of
    McNemar's exact test on these two. `change_ci95` is the interval of artifact − reference.
    """

    label: int
    n: int
    reference_right: int
    artifact_right: int
    lost: int
    won: int
    p_value: float
    change_ci95: tuple[float, float]


class AccuracyChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Both models' accuracy on the same samples.

    `drop` is absolute in the metric, negative where the artifact is better; `drop_ci95` its
    interval, for paired samples. `paired` and `classes` are None where samples are neither right
    nor wrong, or belong to no class.
    """

    reference: Accuracy
    artifact: Accuracy
    drop: float
    drop_ci95: tuple[float, float] | None = None
    paired: PairedChange | None = None
    classes: tuple[ClassChange, ...] | None = None


class Rerun(Struct, frozen=True, forbid_unknown_fields=True):
    """The artifact once more with other runtime options, on calibration samples.

    `sqnr_db` and `max_abs` compare with the reference: as it ran, and with the options. The largest
    differences are None where they are not finite.
    """

    options: dict[str, str]
    as_it_ran_max_abs: float | None
    max_abs: float | None
    as_it_ran_sqnr_db: float
    sqnr_db: float


class Cause(Struct, frozen=True, forbid_unknown_fields=True):
    """A likely reason for a layer's error, and the figures that speak for it."""

    kind: Literal[
        "range-clipped", "few-levels", "channel-spread", "scaled-channel", "saturated",
        "few-weight-levels", "not-finite",
    ]  # fmt: skip
    evidence: str


Matching = Literal["input", "output", "name", "structure", "values"]


class Layer(Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor of the artifact beside the reference's that it stands for.

    `own_loss_db` is by how much `sqnr_db` lies below the worst of the layer's inputs, 0 where the
    inputs are no better. `max_abs`, `step` and `max_steps` as in OutputDifference. `matched_by`:
    how the two were found to belong together.
    """

    name: str
    kind: str
    reference: str
    matched_by: Matching
    shape: tuple[Dimension, ...]
    sqnr_db: float
    own_loss_db: float
    max_abs: float | None
    cosine: float | None
    step: float | None = None
    max_steps: float | None = None
    bad: bool = False
    causes: tuple[Cause, ...] = ()


class Unmatched(Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor of the artifact that has no counterpart, and why."""

    name: str
    kind: str
    why: str


class LayerReport(Struct, frozen=True, forbid_unknown_fields=True):
    """The artifact's layers in the order in which they are computed.

    `kernels_max_abs` is by how much the outputs of the run that keeps every tensor differ at most
    from those as shipped (None where that is not finite, or no output could be set beside its own),
    `kernels_max_steps` the same in quantization steps of that output (None without such).
    `suggestion` names the option of edgekit that helps, None where no layer is bad. `changed` says
    that the artifact is of another network than the reference, whose layers are not judged then;
    `suggestion` is what to compare with instead.
    """

    samples: int
    layers: tuple[Layer, ...]
    unmatched: tuple[Unmatched, ...]
    first_bad: str | None
    kernels_max_abs: float | None
    kernels_max_steps: float | None
    suggestion: str | None = None
    changed: str | None = None


class CompareReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit compare --json` prints, and `-o` writes."""

    schema: Literal["edgekit.compare/1"]
    reference: Compared
    artifact: Compared
    data: DataRef
    outputs: tuple[OutputDifference, ...]
    accuracy: AccuracyChange | None
    rerun: Rerun | None
    layers: LayerReport | None
    warnings: tuple[str, ...] = ()
