"""What a target would not run of a model, before anything is converted.

The rules are the profile's: precisions, operators, shapes, memory. A Keras model is judged by the
TFLite operators that its layers become; the converted file is judged by its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit import memory_rules, registry
from edgekit.inspect_types import Finding
from edgekit.profile_types import OpsRules, Profile
from edgekit.types import STATIC_PRECISIONS, LayerInfo, ModelInfo, TensorSpec

KERAS_OPERATORS: dict[str, tuple[str, ...]] = {
    "InputLayer": (),
    "Dropout": (),
    "SpatialDropout1D": (),
    "SpatialDropout2D": (),
    "GaussianNoise": (),
    "Dense": ("FULLY_CONNECTED",),
    "Conv1D": ("CONV_2D", "RESHAPE"),
    "Conv2D": ("CONV_2D",),
    "Conv3D": ("CONV_3D",),
    "DepthwiseConv1D": ("DEPTHWISE_CONV_2D", "RESHAPE"),
    "DepthwiseConv2D": ("DEPTHWISE_CONV_2D",),
    "SeparableConv1D": ("DEPTHWISE_CONV_2D", "CONV_2D", "RESHAPE"),
    "SeparableConv2D": ("DEPTHWISE_CONV_2D", "CONV_2D"),
    "Conv1DTranspose": ("TRANSPOSE_CONV", "RESHAPE"),
    "Conv2DTranspose": ("TRANSPOSE_CONV",),
    "BatchNormalization": ("MUL", "ADD"),
    "LayerNormalization": ("MEAN", "SQUARED_DIFFERENCE", "RSQRT", "MUL", "NEG", "ADD"),
    "ReLU": ("RELU",),
    "LeakyReLU": ("LEAKY_RELU",),
    "PReLU": ("PRELU",),
    "ELU": ("ELU",),
    "Softmax": ("SOFTMAX",),
    "MaxPooling1D": ("MAX_POOL_2D", "RESHAPE"),
    "MaxPooling2D": ("MAX_POOL_2D",),
    "AveragePooling1D": ("AVERAGE_POOL_2D", "RESHAPE"),
    "AveragePooling2D": ("AVERAGE_POOL_2D",),
    "GlobalAveragePooling1D": ("MEAN",),
    "GlobalAveragePooling2D": ("MEAN",),
    "GlobalMaxPooling1D": ("REDUCE_MAX",),
    "GlobalMaxPooling2D": ("REDUCE_MAX",),
    "Flatten": ("RESHAPE",),
    "Reshape": ("RESHAPE",),
    "Permute": ("TRANSPOSE",),
    "RepeatVector": ("RESHAPE", "TILE"),
    "ZeroPadding1D": ("PAD",),
    "ZeroPadding2D": ("PAD",),
    "Cropping1D": ("STRIDED_SLICE",),
    "Cropping2D": ("STRIDED_SLICE",),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Maximum": ("MAXIMUM",),
    "Minimum": ("MINIMUM",),
    "Concatenate": ("CONCATENATION",),
    "Rescaling": ("MUL", "ADD"),
}
"""What the TFLite converter of TensorFlow 2.21 makes of Keras layers (found by converting each).

Layers whose arguments decide (Activation, UpSampling2D, the recurrent ones) are left out; ReLU
counts as RELU whatever its bounds. A layer's own `activation` is not seen: only the converted file
tells.
"""

RECURRENT_KINDS = frozenset({
    "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "WHILE",
})  # fmt: skip
"""Keras layers and TFLite operators that carry a state from step to step."""


def check(info: ModelInfo, profile: Profile, precision: str) -> tuple[Finding, ...]:
    """Everything about a model that a target does not support.

    Args:
        info: The model. Layers of a .tflite are its operators.
        profile: The target.
        precision: One of edgekit.types.PRECISIONS.

    Returns:
        Findings, the model as a whole first. Memory is judged by lower bounds, so that an error
        there is certain and its absence proves nothing.
    """
    return (
        *_precision(profile, precision),
        *_shapes(info, profile),
        *memory_rules.check(info, profile, precision),
        *_operators(info, profile),
        *_recurrent(info, profile, precision),
    )


def converter_missing(profile: Profile) -> str | None:
    """One line that says that no converter is installed for a target's format, or None."""
    if registry.exists("converter", profile.format):
        return None
    return (
        f"no converter is installed for format {profile.format}: a model can be checked against"
        f" {profile.name}, but not converted for it"
    )


def _recurrent(info: ModelInfo, profile: Profile, precision: str) -> Iterator[Finding]:
    """What edgekit's TFLite converter cannot do; a model that is quantized already needs it not."""
    if profile.format not in ("tflite", "ethos_u") or precision not in STATIC_PRECISIONS:
        return
    dynamic = "int8-dynamic" in profile.precision.supported
    for layer in info.layers:
        if layer.kind in RECURRENT_KINDS and info.precision in (None, "fp32"):
            yield Finding(
                layer.name,
                f"edgekit cannot bring recurrent layers ({layer.kind}) to static {precision} in"
                " TFLite",
                "use --precision int8-dynamic" if dynamic else "replace the recurrent layers",
            )


def _precision(profile: Profile, precision: str) -> Iterator[Finding]:
    supported = profile.precision.supported
    if precision not in supported:
        yield Finding(
            None,
            f"{profile.name} does not run {precision}; it runs {', '.join(supported)}",
            f"use --precision {profile.precision.default}, or another --target",
        )


def _shapes(info: ModelInfo, profile: Profile) -> Iterator[Finding]:
    if not profile.static_batch_only:
        return
    for tensor in info.inputs:
        axes = _open_axes(tensor, fixed_batch=info.format == "tflite")
        if axes:
            shape = ", ".join("?" if size is None else str(size) for size in tensor.shape)
            yield Finding(
                None,
                f"{profile.name} runs static shapes only, and input '{tensor.name}' is"
                f" ({shape}): axis {', '.join(map(str, axes))} may vary",
                "convert from the Keras model, which gets a batch of 1"
                if axes == [0]
                else "give the model an input of fixed size",
            )


def _open_axes(tensor: TensorSpec, *, fixed_batch: bool) -> list[int]:
    """Axes without a size; the batch of a Keras model is settled by convert."""
    first = 0 if fixed_batch else 1
    return [axis for axis, size in enumerate(tensor.shape) if size is None and axis >= first]


def _operators(info: ModelInfo, profile: Profile) -> Iterator[Finding]:
    rules = profile.ops
    if rules == OpsRules():
        return
    unknown: dict[str, list[str]] = {}
    for layer in info.layers:
        operators = _tflite_operators(info, layer)
        if operators is None:
            unknown.setdefault(layer.kind, []).append(layer.name)
            continue
        for operator in operators:
            yield from _operator(layer, operator, profile)
    for kind, layers in unknown.items():
        yield Finding(
            layers[0],
            f"{kind} ({len(layers)} of them) cannot be judged before conversion: what it becomes"
            " depends on its arguments",
            f"convert it for --target host, and inspect the .tflite with --target {profile.name}",
            "unknown",
        )


def _tflite_operators(info: ModelInfo, layer: LayerInfo) -> tuple[str, ...] | None:
    if info.format == "tflite":
        return (layer.kind,)
    return KERAS_OPERATORS.get(layer.kind) if info.generation else None


def operators(layers: Sequence[LayerInfo], profile: Profile) -> Iterator[Finding]:
    """What a target does not run of the operators of a .tflite."""
    for layer in layers:
        yield from _operator(layer, layer.kind, profile)


def _operator(layer: LayerInfo, operator: str, profile: Profile) -> Iterator[Finding]:
    rules = profile.ops
    what = operator if operator == layer.kind else f"{layer.kind} becomes {operator}, which"
    instead = "replace it in the model, or choose a --target without this limit"
    accelerated = rules.accelerated is not None and operator in rules.accelerated
    newest = rules.max_version.get(operator)
    if operator in rules.refused:
        problem = f"{what} is refused on {profile.name}: {rules.refused[operator]}"
        yield Finding(layer.name, problem, instead)
    elif rules.allowed is not None and operator not in rules.allowed and not accelerated:
        problem = f"{what} is no operator of {profile.runtime} on {profile.name}"
        yield Finding(layer.name, problem, instead)
    elif newest is not None and layer.version is not None and layer.version > newest:
        problem = f"{what} has version {layer.version}, and {profile.name} knows up to {newest}"
        yield Finding(layer.name, problem, instead)
    elif rules.accelerated is not None and not accelerated:
        problem = f"{what} runs on the CPU of {profile.name}, not on its accelerator"
        fix = f"replace it with one that [ops] lists (edgekit profiles show {profile.name})"
        yield Finding(layer.name, problem, fix, "cpu")
