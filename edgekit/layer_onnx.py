"""Looks into `.onnx` models: every activation, as the file says it, without fusions.

For workers (`edgekit.workers.Worker("edgekit.layer_onnx:Layers", …)`). An activation that goes
through QuantizeLinear and DequantizeLinear is looked at behind them: that is what its readers see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from edgekit import layer_values, layer_weights, registry
from edgekit.errors import ModelError, one_line
from edgekit.layer_types import PASSED, Tap, WeightFacts, family
from edgekit.targets.runner import tensors
from edgekit.types import Dimension

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1}
"""Operators with weights, and the axis of the output channels."""


class _Quantized(NamedTuple):
    """Where an activation's quantized value stands, its step and the range of its integers."""

    tensor: str
    step: float | None
    low: float | None
    high: float | None


class Layers:
    """One open model."""

    def open(
        self, path: str, options: Mapping[str, str] | None = None, trust: bool = False
    ) -> list[dict[str, Any]]:
        """Opens a model; see `layer_tflite.Layers.open`.

        Raises:
            ModelError: ONNX Runtime cannot run it with every tensor as output.
        """
        del trust
        model = onnx.load(path)
        taps, self._tensors = _Reader(model.graph, _shapes(model)).taps()
        own = {entry.name for entry in model.graph.output}
        added = dict.fromkeys(name for name in self._tensors if name not in own)
        inputs = {entry.name for entry in model.graph.input}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in added if name not in inputs
        )
        runtime = registry.runtime("onnxruntime")
        settings = runtime.onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        settings.graph_optimization_level = (
            runtime.onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        )
        for key, value in (options or {}).items():
            settings.add_session_config_entry(key, value)
        try:
            self._session = runtime.onnxruntime.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
        except (*runtime.Session.failures, ValueError) as error:
            raise ModelError(
                f"ONNX Runtime cannot keep the tensors of {path}: {one_line(str(error))[:300]}",
                "compare it without --layers",
            ) from None
        self._inputs = runtime.Session(self._session).inputs
        return [msgspec.to_builtins(tap) for tap in taps]

    def trace(self, samples: str, values: str, wanted: Sequence[int] | None = None) -> None:
        """Runs samples and writes the values of taps; see `layer_values.trace`."""
        kept = layer_values.positions(wanted, len(self._tensors))
        given = {entry["name"]: entry for entry in self._inputs}
        size = next((entry["shape"][0] for entry in self._inputs if entry["shape"]), None) or 1
        names = list(dict.fromkeys(self._tensors[at] for at in kept))
        asked = [name for name in names if name not in given]

        def run(arrays: Mapping[str, Any]) -> dict[int, Any]:
            feed = {name: tensors.to_runtime(arrays[name], one) for name, one in given.items()}
            found = {**feed, **dict(zip(asked, self._session.run(asked, feed), strict=True))}
            return {at: found[self._tensors[at]] for at in kept}

        layer_values.trace(Path(samples), Path(values), run, size)


class _Reader:
    """Walks a graph once and makes taps of its float activations."""

    def __init__(self, graph: Any, shapes: Mapping[str, tuple[Dimension, ...]]) -> None:
        self._graph = graph
        self._shapes = shapes
        self._constants = {entry.name: entry for entry in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                self._constants[node.output[0]] = node.attribute[0].t
        self._producers = {name: node for node in graph.node for name in node.output}
        self._consumers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._outputs = {entry.name for entry in graph.output}
        self._taps: list[Tap] = []
        self._tensors: list[str] = []
        self._origin: dict[str, int] = {}

    def taps(self) -> tuple[list[Tap], list[str]]:
        """The taps, and the tensor that each one's value is."""
        for entry in self._graph.input:
            if entry.name not in self._constants and entry.name in self._shapes:
                self._add(entry.name, "Input", (entry.name,), (), None)
                self._taps[-1] = msgspec.structs.replace(
                    self._taps[-1], role="input", port=entry.name
                )
        for node in self._graph.node:
            self._visit(node)
        for name in self._outputs:
            at = self._origin.get(name)
            if at is not None and self._taps[at].role == "inner":
                self._taps[at] = msgspec.structs.replace(self._taps[at], role="output", port=name)
        return self._taps, self._tensors

    def _visit(self, node: Any) -> None:
        sources = tuple(
            dict.fromkeys(self._origin[name] for name in node.input if name in self._origin)
        )
        if not sources:
            return
        passed = node.op_type in PASSED and len(sources) == 1
        if node.op_type == "QuantizeLinear" or (passed and node.op_type != "DequantizeLinear"):
            self._origin[node.output[0]] = sources[0]
            return
        if node.op_type == "DequantizeLinear":
            self._dequantized(node, sources)
            return
        for name in node.output:
            if name in self._shapes:
                self._add(name, node.op_type, (node.name, name), sources, self._weights(node))

    def _dequantized(self, node: Any, sources: tuple[int, ...]) -> None:
        """Behind a quantizer: the activation's own tap, or a new one where it is read as float."""
        name = node.output[0]
        if self._origin.get(name) is not None:
            return
        own = self._taps[sources[0]].name
        step, low, high = self._grid(node)
        self._origin[name] = len(self._taps)
        self._tensors.append(name)
        self._taps.append(
            Tap(
                own, (own,), "QuantizeLinear", "quantize", self._shapes.get(name, ()), sources,
                step=step, low=low, high=high,
            )
        )  # fmt: skip

    def _add(
        self,
        tensor: str,
        kind: str,
        aliases: tuple[str, ...],
        sources: tuple[int, ...],
        weights: WeightFacts | None,
    ) -> None:
        found = self._quantized(tensor)
        at = len(self._taps)
        self._origin[tensor] = at
        for quantizer in self._consumers.get(tensor, ()) if found.tensor != tensor else ():
            for reader in self._consumers.get(quantizer.output[0], ()):
                if reader.op_type == "DequantizeLinear":
                    self._origin[reader.output[0]] = at
        names = tuple(dict.fromkeys(name for name in aliases if name))
        self._tensors.append(found.tensor)
        self._taps.append(
            Tap(
                names[0], names, kind, family(kind), self._shapes[tensor], sources,
                step=found.step, low=found.low, high=found.high, weights=weights,
            )
        )  # fmt: skip

    def _quantized(self, tensor: str) -> _Quantized:
        """What readers see of an activation: its quantized value where all of them see that."""
        readers = self._consumers.get(tensor, [])
        if not readers or tensor in self._outputs:
            return _Quantized(tensor, None, None, None)
        if any(reader.op_type != "QuantizeLinear" for reader in readers):
            return _Quantized(tensor, None, None, None)
        for quantizer in readers:
            for reader in self._consumers.get(quantizer.output[0], ()):
                if reader.op_type == "DequantizeLinear":
                    return _Quantized(reader.output[0], *self._grid(reader))
        return _Quantized(tensor, None, None, None)

    def _grid(self, node: Any) -> tuple[float | None, float | None, float | None]:
        scale = self._constant(node.input[1])
        if scale is None or scale.size != 1:
            return None, None, None
        zero = self._constant(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
        if zero is None or zero.dtype.kind not in "iu":
            return float(scale.ravel()[0]), None, None
        step, zero_point = float(scale.ravel()[0]), int(zero.ravel()[0])
        limits = np.iinfo(zero.dtype)
        return step, step * (int(limits.min) - zero_point), step * (int(limits.max) - zero_point)

    def _constant(self, name: str) -> NDArray[Any] | None:
        entry = self._constants.get(name)
        return None if entry is None else np.asarray(numpy_helper.to_array(entry))

    def _weights(self, node: Any) -> WeightFacts | None:
        axis = _WEIGHTED.get(node.op_type)
        unpacked = self._producers.get(node.input[1]) if axis is not None else None
        if axis is None or unpacked is None or unpacked.op_type != "DequantizeLinear":
            return None
        integers, scales = self._constant(unpacked.input[0]), self._constant(unpacked.input[1])
        if integers is None or scales is None or integers.dtype.kind not in "iu":
            return None
        if node.op_type == "Gemm" and any(one.name == "transB" and one.i for one in node.attribute):
            axis = 0
        zero = self._constant(unpacked.input[2]) if len(unpacked.input) > 2 else np.zeros(1)
        shape = [1] * integers.ndim
        if scales.size > 1:
            shape[axis] = -1
        offset = (np.zeros(1) if zero is None else zero).astype(np.float64)
        if scales.size > 1 and scales.size != integers.shape[axis]:
            return None
        offset = offset.reshape(shape) if offset.size == scales.size else offset.ravel()[:1]
        real = (integers.astype(np.float64) - offset) * scales.astype(np.float64).reshape(shape)
        return layer_weights.facts(real, axis, 8 * integers.dtype.itemsize, scales)


def _shapes(model: Any) -> dict[str, tuple[Dimension, ...]]:
    """Shapes of the float tensors that shape inference knows."""
    try:
        graph = shape_inference.infer_shapes(model).graph
    except (shape_inference.InferenceError, ValueError) as error:
        raise ModelError(
            f"shapes cannot be inferred: {one_line(str(error))[:300]}", "compare without --layers"
        ) from None
    return {
        value.name: tuple(
            int(size.dim_value) if size.HasField("dim_value") else None
            for size in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type in _FLOATS
    }
