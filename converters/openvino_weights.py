"""Weights as integers: for static int8 and for weight-only precisions."""

from __future__ import annotations

import nncf
import numpy as np
from nncf.quantization.advanced_parameters import (
    AdvancedCompressionParameters,
    GroupSizeFallbackMode,
)
from openvino import opset13 as ops

from edgekit.converters.openvino_graph import (
    LAYERS,
    LOOPS,
    Model,
    Node,
    brief,
    by_name,
    constant,
    constant_value,
    graphs,
    is_constant,
)
from edgekit.converters.weight_grid import fit_weights, full_scale
from edgekit.errors import ConversionError

MINIMUM_INT4_SHARE = 0.5
INTEGER_TYPES = ("i8", "u8", "i4", "u4")

NNCF_ERRORS = (
    RuntimeError,
    ValueError,
    nncf.InternalError,
    nncf.ValidationError,
    nncf.UnsupportedModelError,
    nncf.ParameterNotSupportedError,
    nncf.InvalidGroupSizeError,
)

_INT4_OPTIONS = {
    "mode": nncf.CompressWeightsMode.INT4_ASYM,
    "group_size": 64,
    "all_layers": True,
    "advanced_parameters": AdvancedCompressionParameters(
        group_size_fallback_mode=GroupSizeFallbackMode.ADJUST
    ),
}
_VALUE_MOVING = (
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Pad", "StridedSlice", "Slice",
    "Split", "VariadicSplit", "SpaceToBatch", "BatchToSpace", "SpaceToDepth", "DepthToSpace",
    "Concat", "Gather", "Broadcast", "Tile",
)  # fmt: skip
RECURRENT = {
    "LSTMSequence": (4, 5),
    "LSTMCell": (3, 4),
    "GRUSequence": (3, 4),
    "GRUCell": (2, 3),
    "RNNSequence": (3, 4),
    "RNNCell": (2, 3),
}
"""The inputs of recurrent operations that hold their weights and recurrent weights."""
_PASSED_THROUGH = ("Multiply", "Subtract", "Convert", "Reshape", "Transpose", "FakeQuantize")

_INPUT_CHANNELS = {
    "Convolution": 1,
    "ConvolutionBackpropData": 0,
    "GroupConvolution": 2,
    "GroupConvolutionBackpropData": 1,
}


def compress(model: Model, precision: str, float_layers: list[str]) -> Model:
    """A copy of a float model whose weights are stored as int8 or int4 and computed in float.

    Raises:
        ConversionError: NNCF cannot compress the model, or most of it would not become int4.
    """
    four_bits = precision == "int4-weight"
    options = _INT4_OPTIONS if four_bits else {"mode": nncf.CompressWeightsMode.INT8_ASYM}
    ignored = nncf.IgnoredScope(names=list(float_layers))
    try:
        compressed = nncf.compress_weights(model.clone(), ignored_scope=ignored, **options)
    except NNCF_ERRORS as error:
        raise ConversionError(
            f"NNCF cannot compress the weights of this model: {brief(error)}",
            "use --precision fp16",
        ) from error
    if not four_bits:
        quantize_recurrent_weights(compressed)
        return compressed
    share = stored_share(compressed, ("i4", "u4"))
    if share < MINIMUM_INT4_SHARE:
        raise ConversionError(
            f"int4-weight would reach only {share:.0%} of the weights: OpenVINO stores those of"
            " convolutions and recurrent layers in 8 bits or more",
            "use --precision int8-weight",
        )
    return compressed


def stored_share(model: Model, types: tuple[str, ...] = INTEGER_TYPES) -> float:
    """The share of all weight elements that is stored in one of these element types, 0…1."""
    counted: dict[str, int] = {}
    for node in (node for graph in graphs(model) for node in graph.get_ordered_ops()):
        for port in _weight_ports(node):
            stored = _stored_constant(node, port)
            if stored is not None:
                kind = stored.get_element_type().get_type_name()
                counted[kind] = counted.get(kind, 0) + int(np.prod(stored.output(0).get_shape()))
    total = sum(counted.values())
    return sum(counted.get(kind, 0) for kind in types) / total if total else 0.0


def float_layers_of(model: Model) -> list[str]:
    """Layers with weights whose arithmetic stays float in a quantized model."""
    return [
        name
        for name, node in by_name(model).items()
        if node.get_type_name() in LAYERS and is_constant(node.input_value(1))
        if not _quantized_input(node)
    ]


def quantize_recurrent_weights(model: Model) -> None:
    """Stores the float weights of recurrent layers as int8, for arithmetic in float.

    NNCF does not look into the bodies of loops, and leaves LSTM, GRU and RNN operations alone for
    weight-only precisions.
    """
    for number, graph in enumerate(list(graphs(model))):
        for node in graph.get_ordered_ops():
            kind = node.get_type_name()
            if kind in RECURRENT or (number > 0 and kind in LAYERS):
                for port in _weight_ports(node):
                    _store(node, port)


def stored_weights(node: Node) -> tuple[Node, Node] | None:
    """The int8 constant and the scale of a layer's weights, where they are stored so."""
    multiply = node.input_value(1).get_node()
    if multiply.get_type_name() != "Multiply":
        return None
    convert, scale = (multiply.input_value(port).get_node() for port in (0, 1))
    if convert.get_type_name() != "Convert" or scale.get_type_name() != "Constant":
        return None
    stored = convert.input_value(0).get_node()
    kind = stored.get_type_name()
    return (stored, scale) if kind == "Constant" else None


def requantize(node: Node, twin: Node) -> None:
    """Replaces the int8 weights of a layer by `fit_weights` of its float twin's."""
    stored = stored_weights(node)
    if stored is None:
        return
    constant_node, scale_node = stored
    weights = constant_value(twin.input_value(1))
    shape = tuple(constant_node.output(0).get_shape())
    scale_shape = tuple(scale_node.output(0).get_shape())
    if weights is None or weights.shape != shape or len(scale_shape) != len(shape):
        return
    channels = tuple(axis for axis, size in enumerate(scale_shape) if size > 1)
    grid, scale = fit_weights(weights.astype(np.float32), channels, _summed_axis(node, shape))
    constant_node.output(0).replace(constant(grid))
    scale_node.output(0).replace(constant(scale))


def _summed_axis(node: Node, shape: tuple[int, ...]) -> int:
    if node.get_type_name() != "MatMul":
        return _INPUT_CHANNELS[node.get_type_name()]
    return len(shape) - 1 if node.get_attributes()["transpose_b"] else max(len(shape) - 2, 0)


def _channel_axes(node: Node, rank: int) -> tuple[int, ...]:
    if node.get_type_name() == "MatMul":
        return (rank - 2 if node.get_attributes()["transpose_b"] else rank - 1,)
    return {
        "Convolution": (0,),
        "ConvolutionBackpropData": (1,),
        "GroupConvolution": (0, 1),
        "GroupConvolutionBackpropData": (0, 2),
    }[str(node.get_type_name())]


def _weight_ports(node: Node) -> tuple[int, ...]:
    """The inputs of a node that can hold weights."""
    kind = node.get_type_name()
    if kind in LOOPS:
        return tuple(range(len(node.inputs())))
    if kind == "Gather":
        return (0,)
    return (1,) if kind in LAYERS else RECURRENT.get(kind, ())


def _stored_constant(node: Node, port: int) -> Node | None:
    """The constant of two axes or more that the values of an input are stored in."""
    source = node.input_value(port).get_node()
    while source.get_type_name() in _PASSED_THROUGH:
        source = source.input_value(0).get_node()
    if source.get_type_name() != "Constant":
        return None
    shape = source.output(0).get_shape()
    return source if len(shape) > 1 and np.prod(shape) > 1 else None


def _store(node: Node, port: int) -> None:
    """Puts int8 weights with their scales in the place of float ones."""
    stored = _stored_constant(node, port)
    if stored is None or not stored.get_element_type().is_real():
        return
    weights = constant_value(node.input_value(port))
    if weights is None:
        return
    recurrent = node.get_type_name() in RECURRENT
    channels = tuple(range(weights.ndim - 1)) if recurrent else _channel_axes(node, weights.ndim)
    scale = full_scale(weights, channels)
    grid = np.rint(weights.astype(np.float32) / scale).astype(np.int8)
    real = ops.multiply(ops.convert(constant(grid), "f32"), constant(scale))
    node.input(port).replace_source_output(real.output(0))


def _quantized_input(node: Node) -> bool:
    """Whether a layer's activation comes from a quantizer, through layers that move values only."""
    source = node.input_value(0).get_node()
    while source.get_type_name() in _VALUE_MOVING:
        source = source.input_value(0).get_node()
    return bool(source.get_type_name() == "FakeQuantize")
