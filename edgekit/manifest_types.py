"""The data of manifests: what was made, from what, how it was checked, and what it costs."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from edgekit.arena_types import TflmArena
from edgekit.engine_types import EngineInfo
from edgekit.npu_types import NpuEstimate
from edgekit.profile_types import ProfileRef
from edgekit.recipe_types import Claim, Scheme
from edgekit.types import Accuracy, DataRef, Emit, FileRef, IoType, Precision, TensorSpec


class CalibrationCandidate(Struct, frozen=True, forbid_unknown_fields=True):
    """One way of choosing activation ranges, and what it did to the model's outputs.

    `sqnr_db` is the signal-to-quantization-noise ratio of the artifact's outputs against the
    source's on the calibration samples, in decibels, of the worst output; None where the method
    failed, with its `error`.
    """

    method: str
    sqnr_db: float | None
    error: str | None = None


class Calibration(Struct, frozen=True, forbid_unknown_fields=True):
    """How activation ranges were chosen: every candidate, and the one that was taken."""

    samples: int
    seed: int
    chosen: str
    candidates: tuple[CalibrationCandidate, ...]


class Parity(Struct, frozen=True, forbid_unknown_fields=True):
    """How far the artifact's outputs are from the source's.

    `max_abs` and `max_rel` are over all outputs and samples; `max_rel` is relative to the largest
    magnitude of that output. `agreement` is top-1 agreement for classifiers, else None. `constant`
    names an output that no longer depends on the input.
    """

    samples: int
    real_data: bool
    max_abs: float
    max_rel: float
    sqnr_db: float
    tolerance: str
    agreement: float | None = None
    constant: str | None = None


class Quantization(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The int8 that a model was trained or refined for, for `convert` to realise.

    `ranges` gives the lowest and highest value of each activation that is rounded: a layer's name
    is that of its output, `NAME/sum` what its own activation reads, `NAME#2` the output of its
    second call, `NAME:1` its second output. `per_tensor` are the TFLite operators whose weights
    have one scale. `float_layers` were computed in float, each for the reason given.
    """

    scheme: Scheme
    mode: Literal["qat", "refined"]
    precision: Precision
    per_tensor: tuple[str, ...] = ()
    ranges: dict[str, tuple[float, float]]
    float_layers: dict[str, str] = {}


class PairedChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Source and result on the same samples, each right or wrong.

    `p_value` is that of an exact two-sided McNemar test: how likely chance alone parts the two
    counts at least this far.
    """

    only_source_right: int
    only_result_right: int
    p_value: float


class EpochRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One epoch: its mean loss on training data, and the accuracy on the choosing samples.

    Epoch 0 is the state before training, and has no loss.
    """

    epoch: int
    loss: float | None
    accuracy: Accuracy


Stopped = Literal["epochs", "patience", "not finite"]
"""Why a training ended."""


class Trained(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one training did.

    `failed_at_step` is the step, counted from the first, whose loss was no finite number: it was
    not applied, and training ended there.
    """

    loss: str
    learning_rate: float
    batch_size: int
    steps_per_epoch: int
    best_epoch: int
    stopped: Stopped
    failed_at_step: int | None
    history: tuple[EpochRecord, ...]
    notes: tuple[str, ...] = ()


class ConversionPlan(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a conversion will do, with every default resolved; `--dry-run` prints it.

    `batch` None is dynamic, within `batch_range` where the target builds engines for one.
    `simplify`: lossless simplification comes first; of Keras models only. `sparse`: weights that
    are mostly zeros may be stored sparsely.
    `emit` names the C sources that are written in place of the .tflite. `device` is where an engine
    is to be built.
    """

    schema: Literal["edgekit.plan/1"] = "edgekit.plan/1"
    model: str
    family: str
    source_format: str
    target: str
    format: str
    runtime: str
    precision: Precision
    input_type: IoType
    output_type: IoType
    batch: int | None
    batch_range: tuple[int, int] | None = None
    threads: int
    preprocess: str
    simplify: bool
    sparse: bool = True
    data: str | None
    metric: str | None
    max_drop: float | None
    seed: int
    emit: Emit | None = None
    device: str | None = None
    output: str
    request_sha256: str
    up_to_date: bool
    notes: tuple[str, ...] = ()


class Rung(Struct, frozen=True, forbid_unknown_fields=True):
    """One rung of the `--max-drop` ladder, and what it gave on the choosing samples."""

    name: str
    outcome: str
    accuracy: Accuracy | None = None
    drop: float | None = None


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was done to the model, with its measured effect."""

    name: str
    detail: dict[str, Any] = {}


class ArtifactInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """A deployable file. For several files, size is their sum and SHA-256 that of the list."""

    path: str
    sha256: str
    format: str
    precision: str | None
    size_bytes: int
    gzip_bytes: int
    files: tuple[FileRef, ...] = ()


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands beside each output: `OUT.edgekit.json`.

    Equal for equal inputs, seed and versions, outside `timing` and `environment`.
    `planned_precision` is what a recipe leaves to `convert`, `quantization` what it trained for
    it. `claims` say what the steps are expected to buy on the profile's target, against the float
    model before any of them.
    """

    schema: Literal["edgekit.manifest/1"] = "edgekit.manifest/1"
    versions: dict[str, str]
    command: tuple[str, ...]
    request_sha256: str
    seed: int
    artifact: ArtifactInfo
    source: FileRef
    model_name: str
    data: DataRef | None = None
    recipe: str | None = None
    recipe_sha256: str | None = None
    planned_precision: Precision | None = None
    quantization: Quantization | None = None
    profile: ProfileRef | None = None
    claims: tuple[Claim, ...] = ()
    parents: tuple[FileRef, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    runtime_options: dict[str, str] = {}
    steps: tuple[Step, ...] = ()
    calibration: Calibration | None = None
    float_layers: tuple[str, ...] = ()
    parity: Parity | None = None
    ladder: tuple[Rung, ...] = ()
    accuracy: Accuracy | None = None
    source_accuracy: Accuracy | None = None
    paired: PairedChange | None = None
    arena: TflmArena | None = None
    estimate: NpuEstimate | None = None
    engine: EngineInfo | None = None
    warnings: tuple[str, ...] = ()
    timing: dict[str, float] = {}
    environment: dict[str, Any] = {}
