"""int8 for ONNX Runtime's CPU kernels: Q/DQ as its own quantizer places them.

Activations are unsigned: signed ones have to be turned into these on x86-64, which ONNX Runtime
1.32 leaves undone where two layers read one activation; six of a ResNet's nine convolutions then
ran in float, and its int8 model slower than the float one.

Ranges and weights are edgekit's. On CPUs without VNNI some of the kernels add products in 16 bits:
an autoencoder's int8 outputs had 28.7 dB where the file itself gives 34.9, a ResNet's lost nothing.
So the weights are fitted to that where this CPU shows it, and only there: it cost the ResNet 4 dB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from edgekit.converters import onnx_graph, onnx_weights
from edgekit.converters.activation_ranges import Range
from edgekit.converters.onnx_execution import FAILURES, brief
from edgekit.converters.onnx_graph import Graph, Model
from edgekit.errors import ConversionError

NAME = "ONNX Runtime"
PRECISIONS: tuple[str, ...] = ("fp32", "fp16", "int8", "int8-dynamic")
SYMMETRIC = False
MAY_OVERFLOW = True
RUNTIME_OPTIONS: dict[str, str] = {}
INTEGER_IO = True

OPERATORS = (
    "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gather", "Gemm",
    "GlobalAveragePool", "LeakyRelu", "MatMul", "MaxPool", "Mul", "Pad", "Relu", "Reshape",
    "Resize", "Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""What is quantized: operators with int8 kernels, and those that only move values."""

DYNAMIC_OPERATORS = ("MatMul", "Gather", "LSTM")
"""Those of convolutions (ConvInteger) are several times slower than float."""

_MISTAKES = (*FAILURES, KeyError, TypeError, IndexError, AttributeError)


def activations(graph: Graph) -> list[str]:
    """The activations whose ranges the quantizer may ask for."""
    found: dict[str, None] = {}
    for node in graph.model.graph.node:
        if node.op_type in OPERATORS and node.domain in onnx_graph.STANDARD:
            names = (*node.input, *node.output)
            found |= dict.fromkeys(name for name in names if graph.is_float(name))
    return list(found)


def quantized(
    graph: Graph, ranges: Mapping[str, Range], float_layers: tuple[str, ...], *, fitted: bool
) -> Model:
    """A new int8 model, with float inputs and outputs.

    Args:
        graph: The float model.
        ranges: Of `activations(graph)`.
        float_layers: Nodes to leave in float.
        fitted: Weights that no 16-bit accumulator overflows with.

    Raises:
        ConversionError: The quantizer fails.
    """
    limits = {name: tuple(np.float32(end) for end in pair) for name, pair in ranges.items()}
    try:
        quantizer = QDQQuantizer(
            _copy(graph.model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=[],
            nodes_to_exclude=list(float_layers),
            op_types_to_quantize=list(OPERATORS),
            extra_options={"TensorQuantOverrides": _overrides(graph, float_layers, fitted)},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    except _MISTAKES as error:
        raise ConversionError(
            f"ONNX Runtime cannot quantize this model: {brief(error)}", "use --precision fp16"
        ) from error
    return quantizer.model.model


def dynamic(graph: Graph, float_layers: tuple[str, ...]) -> Model:
    """A copy whose dense and recurrent layers quantize their activations as they run.

    Raises:
        ConversionError: The quantizer fails.
    """
    try:
        quantizer = ONNXQuantizer(
            _copy(graph.model),
            per_channel=True,
            reduce_range=True,  # no 16-bit accumulator overflows, on any CPU
            mode=QuantizationMode.IntegerOps,
            static=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=None,
            nodes_to_quantize=[],
            nodes_to_exclude=list(float_layers),
            op_types_to_quantize=list(DYNAMIC_OPERATORS),
            extra_options={"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    except _MISTAKES as error:
        raise ConversionError(
            f"ONNX Runtime cannot quantize this model: {brief(error)}", "use --precision fp16"
        ) from error
    return quantizer.model.model


def check(model: Model) -> None:
    """Everything that ONNX Runtime loads will do; parity has the last word."""


def _copy(model: Model) -> Model:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _overrides(
    graph: Graph, float_layers: tuple[str, ...], fitted: bool
) -> dict[str, list[dict[str, Any]]]:
    grids = onnx_weights.grids(graph, float_layers, fitted=fitted)
    return {
        name: [
            {
                "axis": grid.axis,
                "quant_type": QuantType.QInt8,
                "scale": scale,
                "zero_point": np.int8(0),
            }
            for scale in grid.scales
        ]
        for name, grid in grids.items()
    }
