"""Static int8 for OpenVINO: where NNCF places quantizers, with ranges and weights of our own.

NNCF knows where the CPU plugin's int8 kernels want quantizers; one sample suffices for that. What
it does next is replaced, because it was measured to ruin real models: its mean ranges (see
activation_ranges), its fast bias correction (a ResNet-8 lost a whole point: SQNR 19 dB, without it
24, here 30; see openvino_noise), its cure for 16-bit overflow (see openvino_weights), and its
per-channel activation ranges, which count the wrong axis where a transpose follows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import nncf
import numpy as np
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
    OverflowFix,
    QuantizationParameters,
)

from edgekit.chunks import Arrays
from edgekit.converters.activation_ranges import LEVELS, Range, affine
from edgekit.converters.openvino_graph import (
    LAYERS,
    LOOPS,
    Model,
    Node,
    brief,
    by_name,
    constant,
    is_constant,
    rank_of,
    tensor_key,
)
from edgekit.converters.openvino_weights import NNCF_ERRORS, quantize_recurrent_weights, requantize
from edgekit.errors import ConversionError

nncf.set_log_level(logging.ERROR)


def place_quantizers(model: Model, sample: Arrays, float_layers: list[str]) -> Model:
    """A copy of a float model with quantizers, and int8 weights that no kernel overflows with.

    Ranges of activations are those of one sample, to be replaced by `set_ranges`.

    Args:
        model: The float model; layers that keep their names keep their meaning.
        sample: One batch by input name.
        float_layers: Layers to leave in float.

    Raises:
        ConversionError: NNCF cannot quantize the model, or a float layer does not exist.
    """
    unknown = sorted(set(float_layers) - set(by_name(model)))
    if unknown:
        raise ConversionError(
            f"the model has no layer '{unknown[0]}' to keep in float",
            "name layers as rank_layers gives them",
        )
    parameters = AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.ENABLE,  # for weights that this module does not see
        disable_bias_correction=True,
        activations_quantization_params=QuantizationParameters(per_channel=False),
        # Smoothing inserts multiplications; activations would no longer be the float model's.
        smooth_quant_alphas=AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
    )
    try:
        placed = nncf.quantize(
            model.clone(),
            nncf.Dataset([sample]),
            subset_size=1,
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if _has_attention(model) else None,
            ignored_scope=nncf.IgnoredScope(names=list(float_layers)),
            advanced_parameters=parameters,
        )
    except NNCF_ERRORS as error:
        raise ConversionError(
            f"NNCF cannot quantize this model: {brief(error)}", "use --precision int8-weight"
        ) from error
    floats = by_name(model)
    for name, node in by_name(placed).items():
        if node.get_type_name() in LAYERS and name in floats:
            requantize(node, floats[name])
    quantize_recurrent_weights(placed)
    return placed


def quantizers(model: Model, floats: Model) -> dict[str, list[Node]]:
    """The activation quantizers of a quantized model by the activation that they quantize.

    Quantizers that the source brought along (QAT) are not among them: their ranges were learned.
    """
    known = set(by_name(floats))
    found: dict[str, list[Node]] = {}
    for name, node in by_name(model).items():
        if node.get_type_name() == "FakeQuantize" and name not in known:
            key = tensor_key(node.input_value(0))
            if not is_constant(node.input_value(0)):
                found.setdefault(key, []).append(node)
    return found


def set_ranges(model: Model, floats: Model, ranges: Mapping[str, Range]) -> None:
    """Gives the activation quantizers of a quantized model their ranges."""
    for key, nodes in quantizers(model, floats).items():
        scale, zero_point = affine(ranges[key])
        ends = (-zero_point * scale, (LEVELS - 1 - zero_point) * scale)
        for node in nodes:
            shape = node.input_value(1).get_shape()
            for port, end in zip((1, 2, 3, 4), (*ends, *ends), strict=True):
                value = constant(np.full(shape, end, np.float32))
                node.input(port).replace_source_output(value)


def has_loops(model: Model) -> bool:
    """Whether a model has recurrent layers as loops."""
    return any(node.get_type_name() in LOOPS for node in model.get_ordered_ops())


def channel_axis(node: Node) -> int:
    """The axis of a layer's output that its weights' channels lie along."""
    return rank_of(node.output(0)) - 1 if node.get_type_name() == "MatMul" else 1


def _has_attention(model: Model) -> bool:
    """Whether activations are multiplied with activations, as attention does."""
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("ScaledDotProductAttention", "Einsum"):
            return True
        if kind == "MatMul" and not any(is_constant(port) for port in node.input_values()):
            return True
    return False
