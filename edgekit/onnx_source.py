"""Reads `.onnx` models: what they hold, and what they answer. For workers only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker, shape_inference

from edgekit import loading
from edgekit.errors import ModelError, one_line
from edgekit.execution import Execution
from edgekit.types import Dimension, LayerInfo, ModelFile, ModelInfo, TensorSpec

COPY_AGAIN = "export the model again (torch.onnx.export, tf2onnx)"
_NO_RULE = frozenset({
    "Attention", "Conv3D", "ConvInteger", "DFT", "Einsum", "GRU", "If", "LSTM", "Loop",
    "MatMulInteger", "MultiHeadAttention", "RNN", "STFT", "Scan",
})  # fmt: skip


class Source:
    """One open model. For `edgekit.workers.Worker("edgekit.onnx_source:Source", …)`."""

    def __init__(self) -> None:
        self._execution = Execution()

    def open(self, path: str, trust: bool = False) -> dict[str, Any]:
        """Opens a model in place of the one before.

        Returns:
            A ModelInfo as plain data.

        Raises:
            ModelError: It is not valid ONNX, or ONNX Runtime cannot run it.
        """
        file = loading.identify(path, trust=trust, isolated=False)
        model = _load(Path(path))
        opened = self._execution.open("onnxruntime", path)
        inputs, outputs = (
            msgspec.convert(opened[side], type=tuple[TensorSpec, ...])
            for side in ("inputs", "outputs")
        )
        answer: dict[str, Any] = msgspec.to_builtins(_info(file, model, inputs, outputs))
        return answer

    def predict(self, samples: str, outputs: str) -> None:
        """Runs a directory of samples; see `Execution.predict`."""
        self._execution.predict(samples, outputs)


def _load(path: Path) -> Any:
    try:
        checker.check_model(str(path))
        return shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    except (
        checker.ValidationError,
        shape_inference.InferenceError,
        DecodeError,
        ValueError,
    ) as error:
        raise ModelError(
            f"{path} is not valid ONNX: {one_line(str(error))[:300]}", COPY_AGAIN
        ) from None


def _info(
    file: ModelFile, model: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> ModelInfo:
    layers = tuple(_layers(model))
    counted = [layer.macs for layer in layers if layer.macs is not None]
    weights = [_elements(entry.dims) for entry in model.graph.initializer if _is_weight(entry)]
    return ModelInfo(
        path=file.path,
        format=file.format,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        inputs=inputs,
        outputs=outputs,
        layers=layers,
        parameters=sum(weights),
        macs=sum(counted) if counted else None,
        precision=_precision(model),
        uncounted=tuple(sorted({layer.kind for layer in layers if layer.macs is None})),
        opset=_opset(model),
    )


def _layers(model: Any) -> Iterator[LayerInfo]:
    graph = model.graph
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    weights = {entry.name: entry for entry in graph.initializer}
    shapes: dict[str, tuple[Dimension, ...]] = {
        name: tuple(int(size) for size in entry.dims) for name, entry in weights.items()
    }
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = _shape(value)
    for node in graph.node:
        if node.op_type == "Constant":
            continue
        own = [weights[name] for name in node.input if name in weights]
        yield LayerInfo(
            name=node.name or (node.output[0] if node.output else node.op_type),
            kind=node.op_type if not node.domain else f"{node.domain}.{node.op_type}",
            output_shape=shapes.get(node.output[0]) if node.output else None,
            parameters=sum(_elements(entry.dims) for entry in own if _is_weight(entry)),
            macs=_macs(node, shapes),
            version=opsets.get(node.domain) or None,
        )


def _macs(node: Any, shapes: dict[str, tuple[Dimension, ...]]) -> int | None:
    """MACs of one sample, by the convention of `layer_macs`."""
    kind = node.op_type
    if kind in _NO_RULE or (node.domain not in ("", "ai.onnx") and kind != "FusedConv"):
        return None
    if kind not in ("Conv", "ConvTranspose", "FusedConv", "Gemm", "MatMul"):
        return 0
    given, output = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    weights = shapes.get(node.input[1], ())
    if not given or not output or not weights or None in (*given[1:], *output[1:], *weights):
        return None
    if kind in ("Conv", "FusedConv", "ConvTranspose"):
        return _known(given if kind == "ConvTranspose" else output, 2) * _known(weights, 0)
    inner = given[-1]
    if kind == "Gemm" and any(entry.name == "transA" and entry.i for entry in node.attribute):
        inner = given[0]
    return _known(output, 1) * (inner or 1)


def _known(shape: tuple[Dimension, ...], start: int) -> int:
    return math.prod(int(size or 1) for size in shape[start:])


def _elements(sizes: Any) -> int:
    return math.prod(int(size) for size in sizes)


def _shape(value: Any) -> tuple[Dimension, ...]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return ()
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") else None for size in tensor.shape.dim
    )


def _is_weight(entry: Any) -> bool:
    return (
        entry.data_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        and len(entry.dims) > 0
    )


def _precision(model: Any) -> str | None:
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"DequantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "int8"
    if kinds & {"DynamicQuantizeLinear", "MatMulInteger"}:
        return "int8-dynamic"
    types = {entry.data_type for entry in model.graph.initializer if _is_weight(entry)}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    return names.get(types.pop()) if len(types) == 1 else None


def _opset(model: Any) -> str:
    return ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
