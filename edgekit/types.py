"""The data that travels: specs, profiles, manifests, measurements, results.

Every type is frozen and has no behaviour. msgspec checks what is read from files and names the
key that is wrong; `edgekit schema NAME` prints the JSON Schema of each.

Units stand in the names: `_s` seconds, `_bytes` bytes, `_hz` hertz. `None` means *not measured*
or *not known*, never zero and never an estimate.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

Precision = Literal[
    "fp32", "fp16", "int8", "int8-dynamic", "int8-weight", "int4-weight", "int16x8"
]
PRECISIONS: tuple[str, ...] = get_args(Precision)
STATIC_PRECISIONS = ("int8", "int16x8")
"""Precisions whose activation ranges come from calibration data."""

IoType = Literal["float32", "float16", "int8", "uint8", "int16"]
IO_TYPES: tuple[str, ...] = get_args(IoType)

Role = Literal["train", "val", "calib", "test"]
ROLES: tuple[str, ...] = get_args(Role)

SCHEMA_VERSION = 1

PositiveInt = Annotated[int, Meta(gt=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
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


class LayerInfo(Struct, frozen=True, forbid_unknown_fields=True):
    """One layer (Keras) or operator (TFLite, ONNX) of a model.

    `macs` counts multiply-accumulates of one sample; None where the layer's type has no rule.
    """

    name: str
    kind: str
    output_shape: tuple[Dimension, ...] | None = None
    parameters: int = 0
    macs: int | None = None
    dtype: str | None = None


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

    supported: tuple[Precision, ...]
    default: Precision
    per_channel: bool = True
    input_type: IoType = "float32"
    output_type: IoType = "float32"


class OpsRules(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[ops]` table: operators the runtime limits, with the highest version it has.

    `allowed` None means that the runtime sets no list. `refused` maps an operator to the reason.
    """

    allowed: dict[str, PositiveInt] | None = None
    refused: dict[str, str] = {}


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

    `sources` gives, for each figure (by its dotted key, e.g. "hardware.clock_hz"), where it
    comes from. `channel_multiple` is the channel count that the target's kernels like.
    """

    name: str
    title: str
    source: str
    format: Literal["tflite", "openvino", "onnx", "tensorrt", "ethos_u"]
    runtime: Literal[
        "litert", "openvino", "onnxruntime", "tensorrt", "tflm", "ethos-u", "edgetpu"
    ]
    kind: Literal["cpu", "gpu", "npu", "mcu"]
    precision: PrecisionRules
    hardware: Hardware = Hardware()
    ops: OpsRules = OpsRules()
    gain: dict[str, Gain] = {}
    channel_multiple: PositiveInt = 8
    static_batch_only: bool = False
    sources: dict[str, str] = {}
    litert: LitertOptions | None = None
    openvino: OpenvinoOptions | None = None
    tensorrt: TensorrtOptions | None = None
    ethos_u: EthosUOptions | None = None


# ------------------------------------------------------------------------------------ recipes


class RecipeStep(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[step]]` of a recipe. Compression steps add their keys as they are built."""

    kind: Literal["quantize"]
    mode: Literal["ptq"] = "ptq"
    precision: Precision = "int8"


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """The ordered compression steps, as data."""

    name: str
    step: tuple[RecipeStep, ...]


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
    source's on the calibration samples, in decibels, worst output first.
    """

    method: str
    sqnr_db: float
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
    magnitude of that output. `agreement` is top-1 agreement for classifiers, else None.
    """

    samples: int
    real_data: bool
    max_abs: float
    max_rel: float
    sqnr_db: float
    tolerance: str
    agreement: float | None = None


class Accuracy(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric with its 95 % interval; n is the number of samples (or of groups of samples)."""

    metric: str
    value: float
    ci95: tuple[float, float] | None
    n: int
    higher_is_better: bool = True


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
    profile: ProfileRef | None = None
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
    warnings: tuple[str, ...] = ()
    timing: dict[str, float] = {}
    environment: dict[str, Any] = {}


# ------------------------------------------------------------------------------------ results


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


class Result(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was measured of one artifact on one device."""

    artifact: ArtifactInfo
    device: DeviceInfo
    latency: Latency
    throughput_per_s: float | None
    cold_start: ColdStart
    memory: Memory
    accuracy: Accuracy | None
    energy: None = None
    delegate: Delegate
    environment: dict[str, Any] = {}
    warnings: tuple[str, ...] = ()
    complete: bool = True
    timing: dict[str, float] = {}


class Comparison(Struct, frozen=True, forbid_unknown_fields=True):
    """Two artifacts measured interleaved: candidate latency / baseline latency, by SHA-256."""

    baseline: str
    candidate: str
    device: str
    ratio: float
    ratio_ci95: tuple[float, float]
    different: bool
    rounds: int


class BenchReport(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole `--json` of bench; also what `-o RESULT.json` holds."""

    schema: Literal["edgekit.bench/1"]
    results: tuple[Result, ...]
    comparison: tuple[Comparison, ...] = ()


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
