"""What readers tell of a model's inner tensors: taps, as plain data between processes."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from edgekit.types import Dimension

Role = Literal["input", "inner", "output"]


class WeightFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """A layer's quantized weights.

    `largest`, `median` and `smallest` are those of the output channels' largest magnitudes, in real
    units, zero channels left out; `step` is the one step of per-tensor weights, else None.
    """

    bits: int
    channels: int
    largest: float
    median: float
    smallest: float
    step: float | None = None


class Tap(Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that can be looked at while a model runs.

    Taps stand in the order in which they are computed, and `inputs` are positions among them: the
    nearest ones upstream. `aliases` are all names it goes by; `family` groups operators across
    formats (conv, dense, activation and so on). `port` is the name of the model's input or output
    that it is. `low` and `high` are the least and largest value that its integers can hold.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    family: str
    shape: tuple[Dimension, ...]
    inputs: tuple[int, ...]
    role: Role = "inner"
    port: str | None = None
    step: float | None = None
    low: float | None = None
    high: float | None = None
    weights: WeightFacts | None = None


FAMILIES = {
    "conv": (
        "Conv", "Conv1D", "Conv2D", "Conv3D", "CONV_2D", "CONV_3D", "Convolution", "FusedConv",
        "QLinearConv", "ConvInteger", "DepthwiseConv2dNative", "DEPTHWISE_CONV_2D",
        "GroupConvolution",
    ),
    "deconv": (
        "ConvTranspose", "Conv2DBackpropInput", "TRANSPOSE_CONV", "ConvolutionBackpropData",
        "GroupConvolutionBackpropData",
    ),
    "dense": (
        "MatMul", "BatchMatMulV2", "Gemm", "FULLY_CONNECTED", "BATCH_MATMUL", "Einsum",
        "QLinearMatMul", "MatMulInteger",
    ),
    "add": ("Add", "AddV2", "ADD", "BiasAdd", "Sub", "SUB", "Subtract"),
    "multiply": ("Mul", "MUL", "Multiply"),
    "maxpool": ("MaxPool", "MAX_POOL_2D"),
    "mean": (
        "AvgPool", "AveragePool", "AVERAGE_POOL_2D", "Mean", "MEAN", "ReduceMean",
        "GlobalAveragePool",
    ),
    "softmax": ("Softmax", "SOFTMAX", "LogSoftmax", "LOG_SOFTMAX", "SoftMax"),
    "sigmoid": ("Sigmoid", "LOGISTIC", "Tanh", "TANH"),
    "relu": ("Relu", "RELU", "Relu6", "RELU6", "Clamp", "Clip", "LeakyRelu", "PRelu", "LEAKY_RELU"),
    "concat": ("ConcatV2", "Concat", "CONCATENATION"),
    "quantize": ("QUANTIZE", "QuantizeLinear", "FakeQuantize"),
}  # fmt: skip
"""Operators of TensorFlow, TFLite, ONNX and OpenVINO that compute the same kind of thing."""

_FAMILY_OF = {kind: family for family, kinds in FAMILIES.items() for kind in kinds}

PASSED = frozenset({
    "Cast", "Convert", "DEQUANTIZE", "DequantizeLinear", "Dropout", "EXPAND_DIMS", "ExpandDims",
    "Flatten", "Identity", "RESHAPE", "Reshape", "SQUEEZE", "Snapshot", "Squeeze", "StopGradient",
    "TRANSPOSE", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that change a tensor's form and none of its values: nothing can go wrong there."""


def family(kind: str) -> str:
    """The family of an operator; its own name where it is the only one."""
    return _FAMILY_OF.get(kind, kind.lower())
