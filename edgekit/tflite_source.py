"""Reads `.tflite` models: what they hold, and what they answer. TensorFlow is not needed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from edgekit import loading, operator_macs, tflite_file
from edgekit.errors import ModelError
from edgekit.execution import Execution
from edgekit.tflite_file import Graph, Model, Operator
from edgekit.types import LayerInfo, ModelFile, ModelInfo, TensorSpec

WEIGHTED = {
    "BATCH_MATMUL": 1, "BIDIRECTIONAL_SEQUENCE_LSTM": 1, "CONV_2D": 1, "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1, "EMBEDDING_LOOKUP": 1, "FULLY_CONNECTED": 1, "GATHER": 0,
    "TRANSPOSE_CONV": 1, "UNIDIRECTIONAL_SEQUENCE_LSTM": 2,
}  # fmt: skip
"""Operators that carry a model's weights, and which input holds (the first of) them."""


class Source:
    """One open model. For `edgekit.workers.Worker("edgekit.tflite_source:Source", …)`."""

    def __init__(self) -> None:
        self._execution = Execution()

    def open(self, path: str, trust: bool = False) -> dict[str, Any]:
        """Opens a model in place of the one before.

        Returns:
            A ModelInfo as plain data.

        Raises:
            ModelError: It is damaged, or LiteRT cannot run it.
        """
        file = loading.identify(path, trust=trust, isolated=False)
        model = tflite_file.read(Path(path))
        try:
            opened = self._execution.open("litert", path)
        except ModelError as error:
            raise _named(error, model) from None
        inputs, outputs = (
            msgspec.convert(opened[side], type=tuple[TensorSpec, ...])
            for side in ("inputs", "outputs")
        )
        answer: dict[str, Any] = msgspec.to_builtins(_info(file, model, inputs, outputs))
        return answer

    def predict(self, samples: str, outputs: str) -> None:
        """Runs a directory of samples; see `Execution.predict`."""
        self._execution.predict(samples, outputs)


def precision(graph: Graph) -> str | None:
    """The precision that most of the weights have been given; None where there are none.

    Judged by the types of an operator's weights and of what it computes on: float activations on
    integer weights are dynamic quantization, unless the weights are dequantized first.
    """
    producers = {index: entry for entry in graph.operators for index in entry.outputs}
    found: Counter[str] = Counter()
    for operator in graph.operators:
        position = WEIGHTED.get(operator.name)
        if position is None or len(operator.inputs) <= position:
            continue
        name, elements = _operator_precision(graph, operator, position, producers)
        if name:
            found[name] += elements
    return found.most_common(1)[0][0] if found else None


def _operator_precision(
    graph: Graph, operator: Operator, position: int, producers: dict[int, Operator]
) -> tuple[str | None, int]:
    weights = graph.tensors[operator.inputs[position]]
    source = producers.get(operator.inputs[position])
    unpacked = source is not None and source.name == "DEQUANTIZE"
    if source is not None and unpacked:
        weights = graph.tensors[source.inputs[0]]
    if not weights.constant:
        return None, 0
    computed = graph.tensors[operator.outputs[0]].dtype
    return _PRECISIONS.get((weights.dtype, computed, unpacked)), weights.elements


_PRECISIONS = {
    ("float32", "float32", False): "fp32",
    ("float16", "float32", True): "fp16",
    ("float16", "float16", False): "fp16",
    ("int8", "float32", True): "int8-weight",
    ("int8", "float32", False): "int8-dynamic",
    ("int4", "float32", True): "int4-weight",
    ("int4", "float32", False): "int4-weight",
    ("int8", "int8", False): "int8",
    ("uint8", "uint8", False): "int8",
    ("int8", "int16", False): "int16x8",
}


def _info(
    file: ModelFile,
    model: Model,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> ModelInfo:
    layers = _layers(model, _batch(inputs))
    counted = [layer.macs for layer in layers if layer.macs is not None]
    return ModelInfo(
        path=file.path,
        format=file.format,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        parameters=sum(_parameters(graph) for graph in model.graphs),
        macs=sum(counted) if counted else None,
        precision=precision(model.main) or _in_loops(model),
        uncounted=tuple(sorted({layer.kind for layer in layers if layer.macs is None})),
        notes=_notes(model),
    )


def _in_loops(model: Model) -> str | None:
    """A recurrent layer's weights stand in the body of its loop."""
    return next((found for graph in model.graphs[1:] if (found := precision(graph))), None)


def _layers(model: Model, batch: int) -> tuple[LayerInfo, ...]:
    counts = operator_macs.graph_macs(model)
    return tuple(
        _layer(model.main, operator, None if macs is None else macs // batch)
        for operator, macs in zip(model.main.operators, counts, strict=True)
    )


def _layer(graph: Graph, operator: Operator, macs: int | None) -> LayerInfo:
    outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
    own = [graph.tensors[index] for index in operator.inputs if index >= 0]
    return LayerInfo(
        name=outputs[0].name if outputs else operator.name,
        kind=operator.name,
        output_shape=outputs[0].shape if outputs else None,
        parameters=sum(tensor.elements for tensor in own if _is_weight(tensor)),
        macs=macs,
        dtype=outputs[0].dtype if outputs else None,
        version=max(1, operator.version),
    )


def _is_weight(tensor: tflite_file.Tensor) -> bool:
    """Constants of whole numbers without a scale are shapes and axes, not weights."""
    return tensor.constant and (tensor.dtype.startswith("float") or tensor.scales.size > 0)


def _parameters(graph: Graph) -> int:
    return sum(tensor.elements for tensor in graph.tensors if _is_weight(tensor))


def _batch(inputs: tuple[TensorSpec, ...]) -> int:
    sizes = {spec.shape[0] for spec in inputs if spec.shape}
    return (sizes.pop() or 1) if len(sizes) == 1 else 1


def _notes(model: Model) -> tuple[str, ...]:
    custom = sorted({operator.name for operator in model.operators() if operator.custom})
    notes = (f"custom operators: {', '.join(custom)}",) if custom else ()
    named = "" if model.signatures else "it has no signature: inputs and outputs go by tensor name"
    return (*notes, named) if named else notes


def _named(error: ModelError, model: Model) -> ModelError:
    custom = sorted({operator.name for operator in model.operators() if operator.custom})
    if not custom:
        return error
    return ModelError(
        f"{error.message} (its custom operators: {', '.join(custom)})",
        "convert the model it was made from again, with built-in operators only",
    )
