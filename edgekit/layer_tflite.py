"""Looks into `.tflite` models: every activation, as LiteRT's built-in kernels compute it.

For workers (`edgekit.workers.Worker("edgekit.layer_tflite:Layers", …)`). XNNPACK keeps no inner
tensor, so that values are those of LiteRT's own kernels, which round the last bit otherwise here
and there; the comparison says how far the outputs of both are apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit import layer_values, layer_weights, tflite_file
from edgekit.errors import ModelError, one_line
from edgekit.layer_types import PASSED, Role, Tap, WeightFacts, family
from edgekit.targets.runner import tensors
from edgekit.tflite_file import Graph, Model, Operator, Tensor

_LEVELS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
_CHANNEL_AXES = {"DEPTHWISE_CONV_2D": 3}
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_SUFFIXES = ("_int8", "_uint8", "_int16", "_quantized", "_dequant")


class Layers:
    """One open model."""

    def open(
        self, path: str, options: Mapping[str, str] | None = None, trust: bool = False
    ) -> list[dict[str, Any]]:
        """Opens a model.

        Args:
            path: The .tflite.
            options: Unused: LiteRT has none.
            trust: Unused: such files carry no code.

        Returns:
            Its taps (`layer_types.Tap`) as plain data.

        Raises:
            ModelError: LiteRT cannot run it with every tensor kept.
        """
        del options, trust
        model = tflite_file.read(Path(path))
        self._graph = model.main
        self._interpreter = _interpreter(path)
        self._inputs, self._outputs = _ports(model)
        taps, self._tensors = _taps(self._graph, self._inputs, self._outputs)
        self._details = {one["index"]: one for one in self._interpreter.get_tensor_details()}
        return [msgspec.to_builtins(tap) for tap in taps]

    def trace(self, samples: str, values: str, wanted: Sequence[int] | None = None) -> None:
        """Runs samples and writes the values of taps; see `layer_values.trace`."""
        kept = layer_values.positions(wanted, len(self._tensors))
        size = max((int(self._details[at]["shape"][0]) for at in self._inputs), default=1)

        def run(arrays: Mapping[str, Any]) -> dict[int, Any]:
            for index, name in self._inputs.items():
                self._interpreter.set_tensor(index, self._stored(index, arrays[name]))
            self._interpreter.invoke()
            return {at: self._value(self._tensors[at]) for at in kept}

        layer_values.trace(Path(samples), Path(values), run, size)

    def _stored(self, index: int, values: NDArray[Any]) -> NDArray[Any]:
        tensor = self._graph.tensors[index]
        quantized = tensor.scales.size == 1
        return np.asarray(
            tensors.to_runtime(
                values,
                {
                    "name": tensor.name,
                    "dtype": np.dtype(self._details[index]["dtype"]).name,
                    "scale": float(tensor.scales[0]) if quantized else None,
                    "zero_point": int(tensor.zero_points[0]) if quantized else None,
                },
            )
        )

    def _value(self, index: int) -> NDArray[Any]:
        found: NDArray[Any] = self._interpreter.get_tensor(index)
        tensor = self._graph.tensors[index]
        if tensor.scales.size != 1 or found.dtype.kind not in "iu":
            return np.asarray(found, np.float32)
        real = (found.astype(np.float64) - float(tensor.zero_points[0])) * float(tensor.scales[0])
        return real.astype(np.float32)


def _interpreter(path: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it says that kept tensors cost memory
            interpreter = Interpreter(
                model_path=path, num_threads=1, experimental_preserve_all_tensors=True
            )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"LiteRT cannot keep the tensors of {path}: {one_line(str(error))[:300]}",
            "compare it without --layers",
        ) from None
    return interpreter


def _ports(model: Model) -> tuple[dict[int, str], dict[int, str]]:
    """Names of inputs and outputs by tensor: the signature's where it has them."""
    graph = model.main
    sides = ({at: graph.tensors[at].name for at in ends} for ends in (graph.inputs, graph.outputs))
    inputs, outputs = sides
    for signature in model.signatures[:1]:
        if signature.graph == 0:
            inputs |= {at: name for name, at in signature.inputs.items()}
            outputs |= {at: name for name, at in signature.outputs.items()}
    return inputs, outputs


def _taps(
    graph: Graph, inputs: Mapping[int, str], outputs: Mapping[int, str]
) -> tuple[list[Tap], list[int]]:
    taps: list[Tap] = []
    tapped: list[int] = []
    origin: dict[int, int] = {}
    for index, name in inputs.items():
        origin[index] = len(taps)
        taps.append(_tap(graph.tensors[index], "Input", (), "input", name))
        tapped.append(index)
    for operator in graph.operators:
        sources = tuple(dict.fromkeys(origin[at] for at in operator.inputs if at in origin))
        if not sources:
            continue
        for index in operator.outputs:
            tensor = graph.tensors[index]
            if operator.name in PASSED and len(sources) == 1:
                origin[index] = sources[0]
                continue
            if not _is_activation(tensor):
                continue
            origin[index] = len(taps)
            weights = _weights(graph, operator)
            taps.append(_tap(tensor, operator.name, sources, "inner", None, weights))
            tapped.append(index)
    for index, name in outputs.items():
        at = origin.get(index)
        if at is not None and taps[at].role == "inner":
            taps[at] = msgspec.structs.replace(taps[at], role="output", port=name)
    return taps, tapped


def _is_activation(tensor: Tensor) -> bool:
    return tensor.dtype.startswith("float") or tensor.scales.size == 1


def _tap(
    tensor: Tensor,
    kind: str,
    sources: tuple[int, ...],
    role: Role,
    port: str | None,
    weights: WeightFacts | None = None,
) -> Tap:
    aliases = tuple(_plain(name) for name in tensor.name.split(";") if name)
    step = low = high = None
    if tensor.scales.size == 1 and tensor.dtype in _LEVELS:
        step, zero_point = float(tensor.scales[0]), int(tensor.zero_points[0])
        low, high = (step * (edge - zero_point) for edge in _LEVELS[tensor.dtype])
    return Tap(
        name=tensor.name.partition(";")[0],
        aliases=aliases,
        kind=kind,
        family=family(kind),
        shape=tensor.shape,
        inputs=sources,
        role=role,
        port=port,
        step=step,
        low=low,
        high=high,
        weights=weights,
    )


def _plain(name: str) -> str:
    """A name without what quantizing adds to it."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _weights(graph: Graph, operator: Operator) -> WeightFacts | None:
    if operator.name not in _WEIGHTED:
        return None
    tensor = graph.tensors[operator.inputs[1]]
    if not tensor.constant or not tensor.scales.size or tensor.dtype not in ("int8", "int4"):
        return None
    axis = _CHANNEL_AXES.get(operator.name, 0)
    integers = _integers(tensor)
    if integers is None:
        return None
    shape = [1] * integers.ndim
    if tensor.scales.size > 1:
        if tensor.scales.size != integers.shape[axis]:
            return None
        shape[axis] = -1
    real = integers * tensor.scales.astype(np.float64).reshape(shape)
    return layer_weights.facts(real, axis, 8 if tensor.dtype == "int8" else 4, tensor.scales)


def _integers(tensor: Tensor) -> NDArray[np.float64] | None:
    shape = [int(size or 1) for size in tensor.shape]
    if tensor.dtype == "int8":
        return tensor.data.view(np.int8).reshape(shape).astype(np.float64)
    halves = np.stack([tensor.data << 4, tensor.data & 0xF0], axis=1).view(np.int8) >> 4
    return halves.reshape(-1)[: int(np.prod(shape))].reshape(shape).astype(np.float64)
