"""Looks into OpenVINO IR: every activation, in float32 arithmetic, quantizers as the file says.

For workers (`edgekit.workers.Worker("edgekit.layer_openvino:Layers", …)`). An activation that goes
through a FakeQuantize is looked at behind it: that is what its readers see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import layer_values, layer_weights, registry
from edgekit.errors import ModelError, one_line
from edgekit.layer_types import PASSED, Tap, WeightFacts, family
from edgekit.targets.runner import tensors

AS_THE_FILE_SAYS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "LP_TRANSFORMS_MODE": "NO",  # quantizers stay float arithmetic instead of int8 kernels
}
_WEIGHTED = {
    "Convolution": 0, "GroupConvolution": 0, "ConvolutionBackpropData": 1,
    "GroupConvolutionBackpropData": 1, "MatMul": 0,
}  # fmt: skip
_BITS = {"i8": 8, "u8": 8, "i4": 4, "u4": 4}
_FOLLOWED = ("Convert", "FakeQuantize", "Multiply", "Reshape", "Subtract", "Transpose")


class Layers:
    """One open model."""

    def open(
        self, path: str, options: Mapping[str, str] | None = None, trust: bool = False
    ) -> list[dict[str, Any]]:
        """Opens a model; see `layer_tflite.Layers.open`.

        Raises:
            ModelError: OpenVINO cannot read it, or cannot run it with every tensor as output.
        """
        del options, trust
        runtime = registry.runtime("openvino")
        self._openvino = runtime.openvino
        core = self._openvino.Core()
        try:
            model = core.read_model(path)
            self._inputs = [_spec(port) for port in model.inputs]
            taps, ports = _Reader(model, self._openvino).taps()
            results = [self._openvino.opset13.result(port) for port in ports]
            kept = self._openvino.Model(results, model.get_parameters(), "taps")
            compiled = core.compile_model(kept, "CPU", AS_THE_FILE_SAYS)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot keep the tensors of {path}: {one_line(str(error))[:300]}",
                "compare it without --layers",
            ) from None
        self._request = compiled.create_infer_request()
        self._count = len(ports)
        return [msgspec.to_builtins(tap) for tap in taps]

    def trace(self, samples: str, values: str, wanted: Sequence[int] | None = None) -> None:
        """Runs samples and writes the values of taps; see `layer_values.trace`."""
        kept = layer_values.positions(wanted, self._count)
        size = next((one["shape"][0] for one in self._inputs if one["shape"]), None) or 1

        def run(arrays: Mapping[str, Any]) -> dict[int, Any]:
            feed = [tensors.to_runtime(arrays[one["name"]], one) for one in self._inputs]
            found = self._request.infer(dict(enumerate(feed)))
            return {at: np.array(found[at]) for at in kept}

        layer_values.trace(Path(samples), Path(values), run, size)


class _Reader:
    """Walks a graph once and makes taps of its float activations."""

    def __init__(self, model: Any, openvino: Any) -> None:
        self._model, self._openvino = model, openvino
        self._taps: list[Tap] = []
        self._ports: list[Any] = []
        self._origin: dict[tuple[str, int], int] = {}

    def taps(self) -> tuple[list[Tap], list[Any]]:
        """The taps, and the port that each one's value is."""
        for node in self._model.get_ordered_ops():
            self._visit(node)
        return self._taps, self._ports

    def _visit(self, node: Any) -> None:
        kind = node.get_type_name()
        sources = self._sources(node)
        if kind == "Parameter":
            port = _name(node.output(0), node)
            self._add(node.output(0), kind, (port, node.get_friendly_name()), (), None)
            self._taps[-1] = msgspec.structs.replace(self._taps[-1], role="input", port=port)
        elif not sources or all(_key(port) in self._origin for port in node.outputs()):
            return  # it depends on constants only, or is a quantizer that was looked behind
        elif kind == "Result":
            self._end(node, sources[0])
        elif kind in PASSED and len(sources) == 1:
            self._origin[_key(node.output(0))] = sources[0]
        else:
            for port in node.outputs():
                if port.get_element_type().is_real():
                    self._add(port, kind, (_name(port, node),), sources, self._weights(node))

    def _end(self, node: Any, at: int) -> None:
        if self._taps[at].role == "inner":
            port = _name(node.input_value(0), node)
            self._taps[at] = msgspec.structs.replace(self._taps[at], role="output", port=port)

    def _sources(self, node: Any) -> tuple[int, ...]:
        keys = [_key(port) for port in node.input_values()]
        return tuple(dict.fromkeys(self._origin[key] for key in keys if key in self._origin))

    def _add(
        self,
        port: Any,
        kind: str,
        aliases: tuple[str, ...],
        sources: tuple[int, ...],
        weights: WeightFacts | None,
    ) -> None:
        quantizers = _quantizers(port) if kind != "FakeQuantize" else []
        grid = quantizers[0] if quantizers else port.get_node() if kind == "FakeQuantize" else None
        step, low, high = _grid(grid)
        at = len(self._taps)
        self._origin[_key(port)] = at
        for quantizer in quantizers:
            self._origin[_key(quantizer.output(0))] = at
        # The name of a quantizer that stands for itself is that of its reader: no alias of its own.
        plain = _plain if kind != "FakeQuantize" else str
        names = tuple(dict.fromkeys(plain(name) for name in aliases if name))
        self._ports.append(quantizers[0].output(0) if quantizers else port)
        shape = tuple(
            None if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape()
        )
        self._taps.append(
            Tap(
                names[0], names, kind, family(kind), shape, sources,
                step=step, low=low, high=high, weights=weights,
            )
        )  # fmt: skip

    def _weights(self, node: Any) -> WeightFacts | None:
        axis = _WEIGHTED.get(node.get_type_name())
        if axis is None or _key(node.input_value(1)) in self._origin:
            return None
        bits, scales = _storage(node.input_value(1))
        if bits is None:
            return None
        weights = self._value(node.input_value(1))
        if node.get_type_name() == "MatMul":
            axis = weights.ndim - 2 if node.get_attributes()["transpose_b"] else weights.ndim - 1
        if node.get_type_name().startswith("Group"):
            weights = weights.reshape(-1, *weights.shape[2:])
            axis = 0
        return layer_weights.facts(weights, axis, bits, scales)

    def _value(self, port: Any) -> NDArray[np.float64]:
        """The value of a port that depends on constants only."""
        model = self._openvino.Model([self._openvino.opset13.result(port)], [], "constant")
        exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        compiled = self._openvino.Core().compile_model(model, "CPU", exact)
        return np.array(compiled({})[0], np.float64)


def _key(port: Any) -> tuple[str, int]:
    return port.get_node().get_name(), port.get_index()


def _name(port: Any, node: Any) -> str:
    names = sorted(port.get_names())
    found: str = names[0] if names else node.get_friendly_name()
    return found


def _plain(name: str) -> str:
    """A name without what NNCF adds to it for a quantizer."""
    return name.partition("/fq_output_")[0].partition("/fq_input_")[0]


def _quantizers(port: Any) -> list[Any]:
    """The FakeQuantize nodes that read a port, where nothing else does."""
    readers = [found.get_node() for found in port.get_target_inputs()]
    quantizers = [node for node in readers if node.get_type_name() == "FakeQuantize"]
    return quantizers if len(quantizers) == len(readers) else []


def _grid(node: Any) -> tuple[float | None, float | None, float | None]:
    """Step, least and largest value of a FakeQuantize with one range for all channels."""
    if node is None:
        return None, None, None
    ends = [node.input_value(at).get_node() for at in (3, 4)]
    if any(end.get_type_name() != "Constant" for end in ends):
        return None, None, None
    low, high = (np.asarray(end.get_data(), np.float64).ravel() for end in ends)
    if low.size != 1 or high.size != 1:
        return None, None, None
    levels = int(node.get_attributes()["levels"])
    return float((high[0] - low[0]) / (levels - 1)), float(low[0]), float(high[0])


def _storage(port: Any) -> tuple[int | None, NDArray[np.float64]]:
    """Bits and scales of stored weights; None where they are float."""
    node, scales = port.get_node(), np.ones(1)
    while node.get_type_name() in _FOLLOWED:
        if node.get_type_name() == "Multiply":
            factor = node.input_value(1).get_node()
            while factor.get_type_name() == "Convert":
                factor = factor.input_value(0).get_node()
            if factor.get_type_name() == "Constant":
                scales = np.asarray(factor.get_data(), np.float64)
        if node.get_type_name() == "FakeQuantize":
            high = node.input_value(4).get_node()
            low = node.input_value(3).get_node()
            if high.get_type_name() == low.get_type_name() == "Constant":
                width = np.asarray(high.get_data(), np.float64) - np.asarray(low.get_data())
                scales = np.asarray(width / (int(node.get_attributes()["levels"]) - 1))
            source = node.input_value(0).get_node()
            if source.get_type_name() == "Constant":
                return 8, scales
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None, scales
    return _BITS.get(node.get_element_type().get_type_name()), scales


def _spec(port: Any) -> dict[str, Any]:
    """An input as the runner describes it."""
    sizes = port.get_partial_shape()
    return {
        "name": _name(port, port.node),
        "shape": [None if size.is_dynamic else size.get_length() for size in sizes],
        "dtype": np.dtype(port.element_type.to_dtype()).name,
        "scale": None,
        "zero_point": None,
    }
