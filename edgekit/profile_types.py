"""The data of profiles: what a piece of hardware and its runtime can do."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from edgekit.types import IoType, PositiveFloat, PositiveInt, Precision, Text


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
    """The `[precision]` table: what the runtime executes, and what convert does by default.

    `per_channel` false: no weights may have a scale per channel. `per_tensor` names the TFLite
    operators alone whose weights must have one scale.
    """

    supported: Annotated[tuple[Precision, ...], Meta(min_length=1)]
    default: Precision
    per_channel: bool = True
    per_tensor: tuple[Text, ...] = ()
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


class OnnxruntimeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[onnxruntime]` table: the execution provider that takes the nodes, if it can."""

    provider: Text = "CPUExecutionProvider"


class TensorrtOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[tensorrt]` table: what a GPU is, and how engines are built and run for it.

    `hardware_compatible` engines run on every GPU from Ampere on, `version_compatible` ones on
    later TensorRT versions; both may be slower. `workspace_bytes` limits what a layer may use while
    it runs. Layers that can go to the DLA core `dla_core` do, the others stay on the GPU.
    `cuda_graph` launches an engine as one graph when it is measured.
    """

    compute_capability: str
    major: PositiveInt
    hardware_compatible: bool = False
    version_compatible: bool = False
    workspace_bytes: PositiveInt | None = None
    dla_core: Annotated[int, Meta(ge=0)] | None = None
    cuda_graph: bool = False


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
    onnxruntime: OnnxruntimeOptions | None = None
    tensorrt: TensorrtOptions | None = None
    ethos_u: EthosUOptions | None = None


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


class ProfileRef(Struct, frozen=True, forbid_unknown_fields=True):
    """The profile that was converted for."""

    name: str
    sha256: str
