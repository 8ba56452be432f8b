"""Multiply-accumulates of one sample, per Keras layer.

By convention only the products of weights (or of two activations, in matrix products) count;
biases, normalisation, activations, pooling and element-wise arithmetic are 0. A kind without a
rule gives None, never a guess. No framework is imported: rules see shapes and weights only.
`operator_macs` counts TFLite operators by the same convention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from edgekit.types import Dimension

Shape = tuple[Dimension, ...]
"""A shape without the batch axis."""

FREE_LAYERS = frozenset({
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "AveragePooling1D",
    "AveragePooling2D", "AveragePooling3D", "BatchNormalization", "CategoryEncoding", "CenterCrop",
    "Concatenate", "Cropping1D", "Cropping2D", "Cropping3D", "Discretization", "Dropout", "ELU",
    "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D",
    "GlobalMaxPooling3D", "GroupNormalization", "Hashing", "Identity", "InputLayer",
    "IntegerLookup", "LayerNormalization", "LeakyReLU", "Masking", "MaxPooling1D", "MaxPooling2D",
    "MaxPooling3D", "Maximum", "Minimum", "Multiply", "Normalization", "PReLU", "Permute",
    "RMSNormalization", "RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip",
    "RandomRotation", "RandomTranslation", "RandomZoom", "ReLU", "RepeatVector", "Rescaling",
    "Reshape", "Resizing", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
    "Subtract", "UnitNormalization", "UpSampling1D", "UpSampling2D", "UpSampling3D",
    "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D",
})  # fmt: skip
COSTLY_OPERATIONS = frozenset({
    "Conv", "ConvTranspose", "Correlate", "DepthwiseConv", "Dot", "DotProductAttention", "Einsum",
    "FFT", "FFT2", "IFFT2", "IRFFT", "Inner", "Inv", "Outer", "QR", "RFFT", "SVD", "STFT",
    "ISTFT", "SeparableConv", "Solve", "SolveTriangular", "Tensordot", "Vdot", "CTCDecode",
})  # fmt: skip
"""keras.ops operations that cost multiplications and have no rule; all others but Matmul are 0."""


def layer_macs(layer: Any, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int | None:
    """MACs of one call of a Keras layer (or keras.ops operation) on one sample.

    Args:
        layer: The built layer.
        inputs: Shapes of its inputs, without the batch axis.
        outputs: Shapes of its outputs, likewise.

    Returns:
        The count; None where the kind has no rule or a size may vary.
    """
    kind = type(layer).__name__
    if kind in FREE_LAYERS:
        return 0
    rule = _LAYER_RULES.get(kind)
    if rule is None:
        operation = not hasattr(layer, "weights")
        return 0 if operation and kind not in COSTLY_OPERATIONS else None
    known_inputs, known_outputs = _known(inputs), _known(outputs)
    if not known_inputs or not known_outputs:
        return None
    return rule(layer, known_inputs, known_outputs)


_Known = Sequence[tuple[int, ...]]
_LayerRule = Callable[[Any, _Known, _Known], int | None]


def _known(shapes: Sequence[Shape]) -> list[tuple[int, ...]]:
    """The shapes, or nothing where a size may vary."""
    if any(size is None for shape in shapes for size in shape):
        return []
    return [tuple(int(size or 0) for size in shape) for shape in shapes]


def _size(weight: Any) -> int:
    return math.prod(int(size) for size in weight.shape)


def _spatial(layer: Any, shape: tuple[int, ...]) -> int:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return math.prod(shape[1:] if first else shape[:-1])


def _convolution(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del inputs
    return _spatial(layer, outputs[0]) * _size(layer.kernel)


def _transposed_convolution(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del outputs
    return _spatial(layer, inputs[0]) * _size(layer.kernel)


def _separable_convolution(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del inputs
    weights = _size(layer.depthwise_kernel) + _size(layer.pointwise_kernel)
    return _spatial(layer, outputs[0]) * weights


def _dense(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del outputs
    return math.prod(inputs[0][:-1]) * _size(layer.kernel)


def _einsum_dense(layer: Any, inputs: _Known, outputs: _Known) -> int | None:
    del outputs
    given, _, rest = layer.equation.partition(",")
    weights, _, _ = rest.partition("->")
    if "." in layer.equation or len(given) != len(inputs[0]) + 1:
        return None
    sizes = dict(zip(given[1:], inputs[0], strict=True))
    sizes.update(zip(weights, (int(size) for size in layer.kernel.shape), strict=True))
    return math.prod(sizes.values())


def _recurrent(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del outputs
    return inputs[0][0] * (_size(layer.cell.kernel) + _size(layer.cell.recurrent_kernel))


def _convolutional_recurrent(layer: Any, inputs: _Known, outputs: _Known) -> int:
    shape = outputs[0][1:] if layer.return_sequences else outputs[0]
    weights = _size(layer.cell.kernel) + _size(layer.cell.recurrent_kernel)
    return inputs[0][0] * _spatial(layer.cell, shape) * weights


def _bidirectional(layer: Any, inputs: _Known, outputs: _Known) -> int | None:
    both = [
        layer_macs(side, inputs, outputs) for side in (layer.forward_layer, layer.backward_layer)
    ]
    return None if None in both else sum(count for count in both if count is not None)


def _time_distributed(layer: Any, inputs: _Known, outputs: _Known) -> int | None:
    one = layer_macs(layer.layer, [inputs[0][1:]], [outputs[0][1:]])
    return None if one is None else inputs[0][0] * one


def _multi_head_attention(layer: Any, inputs: _Known, outputs: _Known) -> int | None:
    del outputs
    query, value = inputs[0], inputs[1] if len(inputs) > 1 else inputs[0]
    if len(query) != 2 or len(value) != 2:
        return None
    queries, keys = query[0], value[0]
    products = queries * keys * int(layer.num_heads * (layer.key_dim + layer.value_dim))
    return (
        queries * _size(layer.query_dense.kernel)
        + keys * _size(layer.key_dense.kernel)
        + keys * _size(layer.value_dense.kernel)
        + products
        + queries * _size(layer.output_dense.kernel)
    )


def _attention(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del layer, outputs
    query, value = inputs[0], inputs[1]
    return query[0] * value[0] * (query[-1] + value[-1])


def _matrix_product(layer: Any, inputs: _Known, outputs: _Known) -> int:
    del layer
    return math.prod(outputs[0]) * inputs[0][-1]


_LAYER_RULES: dict[str, _LayerRule] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _convolution),
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed_convolution
    ),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable_convolution),
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), _recurrent),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolutional_recurrent),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "MultiHeadAttention": _multi_head_attention,
    "Attention": _attention,
    "Matmul": _matrix_product,
}
