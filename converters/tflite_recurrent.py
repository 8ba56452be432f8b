"""Dynamic int8 for fused LSTM operators, which LiteRT Quantizer leaves in float.

LiteRT's hybrid kernel of UNIDIRECTIONAL_SEQUENCE_LSTM takes int8 weights with one symmetric scale
per tensor and quantizes activations on the fly (tensorflow/lite/kernels/lstm_eval.cc, EvalHybrid).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit.converters import tflite_graph

WEIGHT_OPERANDS = range(1, 9)
"""Operands 1–4 are the input-to-gate weights, 5–8 the recurrent ones."""


def quantize_lstm_weights(model: tflite_graph.Model) -> tuple[str, ...]:
    """Turns float weights of fused LSTM operators into int8; returns their output names."""
    changed = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            if tflite_graph.op_name(model, operator) != "UNIDIRECTIONAL_SEQUENCE_LSTM":
                continue
            weights = [operator.inputs[operand] for operand in WEIGHT_OPERANDS]
            tensors = [graph.tensors[index] for index in weights if index >= 0]
            if any(not tflite_graph.is_constant(model, tensor) for tensor in tensors):
                continue
            for tensor in tensors:
                _to_int8(model, tensor)
            operator.builtinOptions.asymmetricQuantizeInputs = True
            _raise_version(model, operator)
            changed.append(graph.tensors[operator.outputs[0]].name.decode())
    return tuple(changed)


def _to_int8(model: tflite_graph.Model, tensor: tflite_graph.Tensor) -> None:
    if tflite_graph.type_name(tensor) != "float32":
        return
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
    scale = max(float(np.abs(values).max()), 1e-9) / 127
    buffer = schema.BufferT()
    quantized = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
    buffer.data = np.frombuffer(quantized.tobytes(), np.uint8)
    model.buffers.append(buffer)
    model.buffers[tensor.buffer].data = None
    tensor.buffer = len(model.buffers) - 1
    tensor.type = schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([0], np.int64)


def _raise_version(model: tflite_graph.Model, operator: Any) -> None:
    """Asymmetric hybrid inputs need version 3 of the operator."""
    code = model.operatorCodes[operator.opcodeIndex]
    code.version = max(code.version, 3)
