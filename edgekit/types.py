"""The data that travels: specs, profiles, manifests, measurements, results.

Every type is frozen and has no behaviour. msgspec checks what is read from files and names the
key that is wrong; `edgekit schema NAME` prints the JSON Schema of each.

Units stand in the names: `_s` seconds, `_bytes` bytes, `_hz` hertz. `None` means *not measured*
or *not known*, never zero and never an estimate.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from edgekit.arena_types import TflmArena
from edgekit.npu_types import NpuEstimate

if TYPE_CHECKING:  # a batch is never encoded, and `--help` must not pay for numpy
    import numpy as np
    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weight", "int4-weight", "int16x8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
STATIC_PRECISIONS = ("int8", "int16x8")
"""Precisions whose activation ranges come from calibration data."""

IoType = Literal["float32", "float16", "int8", "uint8", "int16"]
IO_TYPES: tuple[str, ...] = get_args(IoType)

Emit = Literal["c", "c-array"]
EMITS: tuple[str, ...] = get_args(Emit)

Role = Literal["train", "val", "calib", "test"]
ROLES: tuple[Role, ...] = get_args(Role)

SCHEMA_VERSION = 1

PositiveInt = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
Text = Annotated[str, Meta(min_length=1)]
Dimension = int | None
"""One axis of a shape; None is a size that may vary."""


# --------------------------------------------------------------------------- tensors and models


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of a model or artifact.

    `scale` and `zero_point` are those of an integer tensor: real = scale · (q − zero_point).
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class ModelFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A model file whose content has been looked at, and found whole and harmless.

    `family` says which source reads it; `format` what it is, whatever its name ends in.
    """

    path: str
    family: Literal["keras", "tflite", "onnx"]
    format: Literal["keras", "h5", "savedmodel", "tflite", "onnx"]
    sha256: str
    size_bytes: int


class LayerInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """One layer (Keras) or operator (TFLite, ONNX) of a model.

    `macs` counts multiply-accumulates of one sample; None where the layer's type has no rule.
    `version` is the version of a TFLite operator.
    """

    name: str
    kind: str
    output_shape: tuple[Dimension, ...] | None = None
    parameters: int = 0
    macs: int | None = None
    dtype: str | None = None
    version: PositiveInt | None = None


class ModelInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit inspect` knows of a model file.

    `generation` is "keras3", "keras2" (read by tf_keras and replayed), or None for other formats.
    `uncounted` names the kinds of layers whose MACs no rule covers.
    """

    path: str
    format: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[LayerInfo, ...]
    parameters: int
    macs: int | None
    generation: str | None = None
    precision: str | None = None
    uncounted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


# --------------------------------------------------------------------------------------- data


class Batch(Struct, frozen=True, eq=False):
    """Consecutive samples: arrays of shape [n, …] by input name, and their labels if there are."""

    x: dict[str, NDArray[np.generic]]
    y: NDArray[np.generic] | None = None


class Preprocess(Struct, frozen=True, forbid_unknown_fields=True):
    """What `--preprocess` does to raw values, in this order: (x / divide_by − mean) / std.

    `mean` and `std` hold one value, or one per channel; empty leaves that part out. `bgr` turns
    the channels around first.
    """

    text: str
    divide_by: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    bgr: bool = False


# ----------------------------------------------------------------------------------- profiles


class Hardware(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[hardware]` table of a profile. What a profile does not know is left out."""

    arch: str | None = None
    isa: tuple[str, ...] = ()
    cores: PositiveInt | None = None
    clock_hz: PositiveFloat | None = None
    memory_bytes: PositiveInt | None = None
    flash_bytes: PositiveInt | None = None
    sram_bytes: PositiveInt | None = None


class PrecisionRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[precision]` table: what the runtime executes, and what convert does by default."""

    supported: Annotated[tuple[Precision, ...], Meta(min_length=1)]
    default: Precision
    per_channel: bool = True
    input_type: IoType = "float32"
    output_type: IoType = "float32"


class OpsRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[ops]` table: TFLite operators that the runtime limits.

    `allowed` None means that the runtime sets no list. `accelerated` are the operators that the
    accelerator takes; others in `allowed` run on its CPU. `refused` maps an operator to the reason,
    `max_version` to the highest version that the runtime has, where it looks at versions.
    """

    allowed: tuple[Text, ...] | None = None
    accelerated: tuple[Text, ...] | None = None
    refused: dict[str, Text] = {}
    max_version: dict[str, PositiveInt] = {}


Technique = Literal[
    "fp32", "fp16", "int8", "int8-dynamic", "int8-weight", "int4-weight", "int16x8",
    "channels", "prune", "cluster",
]  # fmt: skip
"""What a profile's `[gain]` can speak of: the precisions, and the compression techniques.

`channels` means half of the channels of every layer, `prune` 80 % of the weights in no pattern.
"""


class Gain(Struct, frozen=True, forbid_unknown_fields=True):
    """What one technique is expected to buy on a target, as factors (2.0: twice as good).

    Expected, not measured: bench proves it. None: nothing is known; 1.0: buys nothing.
    """

    latency: PositiveFloat | None = None
    raw_size: PositiveFloat | None = None
    zipped_size: PositiveFloat | None = None


class LitertOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[litert]` table."""

    threads: PositiveInt = 1


class OpenvinoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[openvino]` table: the plugin, and NNCF's target device."""

    device: str = "CPU"
    target_device: str = "CPU"


class TensorrtOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[tensorrt]` table."""

    compute_capability: str
    major: PositiveInt


class EthosUOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[ethos_u]` table: the three Vela options, which always go together."""

    accelerator: str
    system_config: str
    memory_mode: str


class Profile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a piece of hardware and its runtime can do, as data.

    `format` names a converter, `runtime` what executes its artifacts. `sources` gives, for each
    figure (by its dotted key, e.g. "hardware.clock_hz"), where it comes from. `notes` say what an
    engineer has to know before deploying there. `channel_multiple` is the channel count that the
    target's kernels like.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$(?!\n)", max_length=80)]
    title: Text
    source: Text
    format: Annotated[str, Meta(examples=["tflite", "openvino", "onnx", "tensorrt", "ethos_u"])]
    runtime: Annotated[
        str,
        Meta(
            examples=[
                "litert", "openvino", "onnxruntime", "tensorrt", "tflm", "ethos-u", "edgetpu",
            ]
        ),
    ]  # fmt: skip
    kind: Literal["cpu", "gpu", "npu", "mcu"]
    precision: PrecisionRules
    hardware: Hardware = Hardware()
    ops: OpsRules = OpsRules()
    gain: dict[Technique, Gain] = {}
    channel_multiple: PositiveInt = 8
    static_batch_only: bool = False
    sources: dict[str, Text] = {}
    notes: tuple[Text, ...] = ()
    litert: LitertOptions | None = None
    openvino: OpenvinoOptions | None = None
    tensorrt: TensorrtOptions | None = None
    ethos_u: EthosUOptions | None = None


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


class ProfileList(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit profiles list` found."""

    schema: Literal["edgekit.profiles/1"]
    profiles: tuple[Profile, ...]


class ProfileReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit profiles show` says. `reference` is what a manifest records of it."""

    schema: Literal["edgekit.profile-report/1"]
    profile: Profile
    reference: ProfileRef
    convertible: bool


# ------------------------------------------------------------------------------------ recipes


Budget = Annotated[int, Meta(ge=1)] | Annotated[float, Meta(gt=0, lt=1)]
"""A number, or a share of what the source has."""

Epochs = Annotated[int, Meta(ge=1, le=10_000)]


class SimplifyStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="simplify"
):
    """Removes what does not change the outputs.

    `for_inference` also folds batch normalization and removes Dropout: for models that are not
    trained any more.
    """

    for_inference: bool = True


class ChannelsStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="channels"
):
    """Removes the least important channels.

    Exactly one of `ratio` (a share of the channels, per layer or over all of them), `max_macs` and
    `max_parameters` (a number, or a share below 1 of the source's) says how far. With several
    `iterations` the model is trained for `epochs` after each but the last.
    """

    ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None
    max_macs: Budget | None = None
    max_parameters: Budget | None = None
    criterion: Literal["l1", "l2", "bn-scale", "taylor"] = "l1"
    scope: Literal["layer", "global"] = "layer"
    iterations: Annotated[int, Meta(ge=1, le=100)] = 1
    epochs: Epochs = 1


class FinetuneStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="finetune"
):
    """Trains on the labels. None: what `compress` finds suitable, and says.

    Training ends after `patience` epochs without improvement on the choosing samples, and the best
    epoch is kept, even if that is the one before training.
    """

    epochs: Epochs = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class DistillStep(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="distill"):
    """Trains on the outputs of a teacher: by default the source, as it was before compression.

    `weight` is the teacher's share of the loss, the labels have the rest. `features` also makes
    inner activations alike, through a learned projection: true for pairs that are found by their
    shapes, or names as "layer" or "layer=teacher_layer".
    """

    teacher: str | None = None
    temperature: Annotated[float, Meta(gt=0, le=100)] = 4.0
    weight: Annotated[float, Meta(gt=0, le=1)] = 0.9
    features: bool | tuple[str, ...] = False
    epochs: Epochs = 10
    learning_rate: PositiveFloat | None = None
    patience: PositiveInt | None = None
    batch_size: PositiveInt | None = None


class QuantizeStep(
    Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="quantize"
):
    """The precision that `convert` takes by default; always the last step."""

    mode: Literal["ptq"] = "ptq"
    precision: Precision = "int8"


RecipeStep = SimplifyStep | ChannelsStep | FinetuneStep | DistillStep | QuantizeStep
"""One `[[step]]` of a recipe; its `kind` says which."""


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """The ordered compression steps, as data."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$(?!\n)", max_length=80)]
    step: Annotated[tuple[RecipeStep, ...], Meta(min_length=1)]
    title: str = ""


class RecipeList(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit recipes list` found."""

    schema: Literal["edgekit.recipes/1"]
    recipes: tuple[Recipe, ...]


class RecipeReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit recipes show` says. `sha256` is what a manifest records of it."""

    schema: Literal["edgekit.recipe-report/1"]
    recipe: Recipe
    sha256: str


# -------------------------------------------------------------------------------- compression


class Removal(Struct, frozen=True, forbid_unknown_fields=True):
    """What was taken out of one layer, or had to stay in it, and why.

    `channels` is None where the layer as a whole is meant; `remaining` then too.
    """

    layer: str
    kind: str
    channels: int | None
    remaining: int | None
    why: str


class Simplification(Struct, frozen=True, forbid_unknown_fields=True):
    """What a lossless simplification did.

    `largest_difference` is relative to each output's largest magnitude; None if nothing was
    compared, since nothing was removed. `kept` are parts that are dead and could not go.
    """

    removed: tuple[Removal, ...]
    kept: tuple[Removal, ...]
    frozen: tuple[Removal, ...]
    parameters_before: int
    parameters_after: int
    largest_difference: float | None


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """What one step is expected to buy on a target, before it is measured: factors as in `Gain`.

    `step` is the kind of a recipe's step, or "convert"; `technique` what the profile's `[gain]`
    calls it, None where the step promises no gain. `share` is the share of the channels or weights
    that goes, None where a budget decides. `macs` is counted and not expected:
    multiply-accumulates before over after. `sources` gives, for each figure, where it comes from;
    `note` says what is not known and why.
    """

    step: str
    technique: Technique | None
    target: str | None
    latency: PositiveFloat | None = None
    raw_size: PositiveFloat | None = None
    zipped_size: PositiveFloat | None = None
    share: float | None = None
    macs: PositiveFloat | None = None
    sources: dict[str, str] = {}
    note: str = ""


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


# ----------------------------------------------------------------------------------- manifest


class FileRef(Struct, frozen=True, forbid_unknown_fields=True):
    """A file (or directory, or set of files) and what it contained."""

    path: str
    sha256: str
    size_bytes: int


class DataRef(Struct, frozen=True, forbid_unknown_fields=True):
    """The data a stage used. `notes` say how roles were made where the data did not give them."""

    spec: str
    sha256: str
    preprocess: str
    metric: str | None = None
    notes: tuple[str, ...] = ()


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


class Accuracy(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric with its 95 % interval; n is the number of samples (or of groups of samples).

    `labels_sha256` is that of the labels in order, which tells one role from another of its size.
    """

    metric: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    higher_is_better: bool = True
    labels_sha256: str | None = None


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

    `batch` None is dynamic. `simplify`: lossless simplification comes first; of Keras models only.
    `emit` names the C sources that are written in place of the .tflite.
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
    threads: int
    preprocess: str
    simplify: bool
    data: str | None
    metric: str | None
    max_drop: float | None
    seed: int
    emit: Emit | None = None
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


class ProfileRef(Struct, frozen=True, forbid_unknown_fields=True):
    """The profile that was converted for."""

    name: str
    sha256: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What stands beside each output: `OUT.edgekit.json`.

    Equal for equal inputs, seed and versions, outside `timing` and `environment`.
    `planned_precision` is what a recipe leaves to `convert`. `claims` say what the steps are
    expected to buy on the profile's target, against the float model before any of them.
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
    warnings: tuple[str, ...] = ()
    timing: dict[str, float] = {}
    environment: dict[str, Any] = {}


# ------------------------------------------------------------------------------------ results


class Replicate(Struct, frozen=True, kw_only=True):
    """What one fresh process measured of an artifact: the runner's frame `measured`.

    `samples_ns` are single inferences in order of size, at most 2000, evenly thinned. `median_s`
    and `min_s` are over all `runs`. CPU time is the whole process', per inference.
    `involuntary_switches` counts while inferences were timed, for `elapsed_s`.
    """

    import_s: float
    load_s: float
    first_inference_s: float
    runs: int
    median_s: float
    min_s: float
    samples_ns: tuple[int, ...]
    cpu_median_s: float
    wall_per_cpu: float
    involuntary_switches: int
    elapsed_s: float
    warm_up_runs: int
    warm_up_stable: bool
    inputs: str
    clock: str
    peak_delta_bytes: int | None
    anonymous_bytes: int | None


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """Wall time of one inference, in seconds, over fresh processes.

    `median_s` is the median of the processes' medians and `ci95_s` a distribution-free interval
    for it. `p90_s` and `p99_s` are None where there were too few runs to claim them (64 and 662;
    MLPerf LoadGen's early-stopping rule). `cpu_median_s` is CPU time, which another process's
    load disturbs less; it is the figure to trust where `contended` is true. `why` says why
    latency as a whole is None.
    """

    median_s: float | None
    ci95_s: tuple[float, float] | None
    p90_s: float | None
    p99_s: float | None
    min_s: float | None
    runs: int
    processes: int
    cpu_median_s: float | None
    contended: bool | None
    stopped: str
    process_medians_s: tuple[float, ...] = ()
    why: str | None = None


class ColdStart(Struct, frozen=True, forbid_unknown_fields=True):
    """Medians over processes: importing the runtime, loading the artifact, the first inference."""

    import_s: float | None
    load_s: float | None
    first_inference_s: float | None


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """Memory that the artifact adds to a process which has the runtime imported.

    `peak_delta_bytes` is the peak resident set minus the resident set before load;
    `anonymous_bytes` the part of it that no file backs.
    """

    peak_delta_bytes: int | None
    anonymous_bytes: int | None


class Delegate(Struct, frozen=True, forbid_unknown_fields=True):
    """What executed the graph (XNNPACK, the CPU plugin, …) and how many nodes it took."""

    name: str | None
    nodes: int | None
    total_nodes: int | None


class DeviceInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a measurement was taken. `target` is what the artifact was made for."""

    url: str
    target: str | None
    arch: str
    cpu: str | None
    cores: int | None
    threads: int
    measured_here: bool


class OperatorTime(Struct, frozen=True, forbid_unknown_fields=True):
    """One operator's median time, by the runtime's own profiler, which slows the whole down."""

    name: str
    kind: str
    implementation: str
    median_s: float


class Result(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured of one artifact on one device.

    `model` and `recipe` are those that its manifest names, None where there is none.
    """

    artifact: ArtifactInfo
    model: str | None = None
    recipe: str | None = None
    device: DeviceInfo
    latency: Latency
    throughput_per_s: float | None
    cold_start: ColdStart
    memory: Memory
    accuracy: Accuracy | None
    energy: None = None
    delegate: Delegate
    operators: tuple[OperatorTime, ...] | None = None
    environment: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    complete: bool = True
    timing: dict[str, float] = {}


class ClaimCheck(Struct, frozen=True, forbid_unknown_fields=True):
    """What manifests claim of a candidate against its baseline, beside what was measured.

    Factors as in `Gain`; a claim of None was not made, or not for where it was measured. `macs` is
    baseline's multiply-accumulates over candidate's, where the manifests counted them.
    `shortfalls` say in words where less came than was claimed.
    """

    target: str
    claimed: Gain
    measured: Gain
    macs: float | None = None
    sources: tuple[str, ...] = ()
    shortfalls: tuple[str, ...] = ()


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """Two artifacts measured interleaved: candidate latency / baseline latency, by SHA-256.

    `ratio_ci99` is None for fewer than 8 rounds. `claim` is None where the manifests claim nothing
    of the one against the other.
    """

    baseline: str
    candidate: str
    device: str
    ratio: float
    ratio_ci95: tuple[float, float]
    different: bool
    rounds: int
    ratio_ci99: tuple[float, float] | None = None
    claim: ClaimCheck | None = None


class BenchReport(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole `--json` of bench; also what `-o RESULT.json` holds."""

    schema: Literal["edgekit.bench/1"]
    results: tuple[Result, ...]
    comparison: tuple[Comparison, ...] = ()


# --------------------------------------------------------------------------- dry run, schemas


class SchemaList(Struct, frozen=True, forbid_unknown_fields=True):
    """The names that `edgekit schema` knows."""

    schema: Literal["edgekit.schemas/1"]
    names: tuple[str, ...]


class DryRun(Struct, frozen=True, forbid_unknown_fields=True):
    """What a command with `--dry-run` would do: what it would run, and the files it would write.

    `expected` is what the target's profile says that it would buy.
    """

    schema: Literal["edgekit.dry-run/1"]
    runs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------- doctor


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """This machine, as the runner describes it in every result.

    `cpu_quota_cores` is a cgroup's limit; None where there is none.
    """

    system: str
    arch: str
    virtual: bool | None
    cpu: str | None
    cores: int | None
    usable_cores: int | None
    cpu_quota_cores: float | None
    governor: str | None
    memory_bytes: int | None
    load_1min: float | None


class Measuring(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether figures measured here can be trusted now.

    `wall_per_cpu` is the wall time of a busy loop over its CPU time: above 1.05, something else
    uses this core. `peak_memory` says whether the kernel resets the peak of a process.
    """

    wall_per_cpu: float
    involuntary_switches: int
    contended: bool
    peak_memory: bool
    notes: tuple[str, ...] = ()


class PackageState(Struct, frozen=True, forbid_unknown_fields=True):
    """A package that an extra asks for. `fits` is None where it is not installed."""

    name: str
    wanted: str
    installed: str | None
    fits: bool | None


class ExtraState(Struct, frozen=True, forbid_unknown_fields=True):
    """An extra (`core` for what is always there), and what to type for what it lacks."""

    name: str
    packages: tuple[PackageState, ...]
    complete: bool
    install: str | None


class BackendState(Struct, frozen=True, forbid_unknown_fields=True):
    """A source, converter, runtime or target, and whether it can be used here."""

    kind: Literal["source", "converter", "runtime", "target"]
    name: str
    ready: bool
    detail: str = ""


class DoctorReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgekit doctor` found."""

    schema: Literal["edgekit.doctor/1"]
    edgekit: str
    python: str
    python_supported: bool
    machine: Machine
    measuring: Measuring
    extras: tuple[ExtraState, ...]
    backends: tuple[BackendState, ...]


# ------------------------------------------------------------------------------------- errors


class ErrorBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is the exit code; `kind` the class of the error."""

    code: int
    kind: str
    message: str
    fix: str


class ErrorReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What `--json` prints when a command fails."""

    schema: Literal["edgekit.error/1"]
    error: ErrorBody
