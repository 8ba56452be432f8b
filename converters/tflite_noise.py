"""Where quantization noise arises: a float model and its quantized twin, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit.chunks import Arrays
from edgekit.converters import tflite_graph
from edgekit.converters.tflite_calibration import activation_indices, keeping_interpreter


def noise_by_tensor(
    float_model: Path, artifact: Path, batches: Iterable[Arrays], input_names: dict[str, int]
) -> dict[str, float]:
    """Noise-to-signal power ratio of each activation that both models keep under one name.

    Args:
        float_model: The float .tflite.
        artifact: The quantized .tflite made from it.
        batches: Arrays of shape [n, …] by input name, in float units.
        input_names: The tensor index of each input name in the float model.
    """
    reference, quantized = (
        keeping_interpreter(path.read_bytes()) for path in (float_model, artifact)
    )
    by_name = {detail["name"]: detail for detail in quantized.get_tensor_details()}
    wanted = activation_indices(float_model.read_bytes())
    pairs = [
        (detail, by_name.get(f"{detail['name']}_int8", by_name.get(detail["name"])))
        for detail in reference.get_tensor_details()
        if detail["index"] in wanted and detail["dtype"] == np.float32
    ]
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    entries = quantized.get_input_details()
    step = max((int(entry["shape"][0]) for entry in entries), default=1)
    positions = {d["index"]: k for k, d in enumerate(reference.get_input_details())}
    for arrays in batches:
        count = len(next(iter(arrays.values())))
        for start in range(0, count - step + 1, step):
            rows = slice(start, start + step)
            for name, array in arrays.items():
                index = input_names[name]
                reference.set_tensor(index, array[rows])
                entry = entries[positions[index]]
                quantized.set_tensor(entry["index"], _to_grid(array[rows], entry))
            reference.invoke()
            quantized.invoke()
            for detail, twin in pairs:
                _add_noise(reference, quantized, detail, twin, signal, noise)
    return {name: noise[name] / signal[name] for name in noise if signal[name] > 0}


def added_by_operator(
    model: tflite_graph.Model, noise: dict[str, float]
) -> list[tuple[float, str]]:
    """What each operator adds of the noise at its output, largest first, by its output's name.

    Args:
        model: The float model.
        noise: Of `noise_by_tensor`; an operator adds what its noisiest input has not.
    """
    graph = model.subgraphs[0]
    added = []
    for operator in graph.operators:
        name = graph.tensors[operator.outputs[0]].name.decode()
        before = [
            noise.get(graph.tensors[index].name.decode(), 0.0)
            for index in operator.inputs
            if index >= 0
        ]
        if name in noise:
            added.append((noise[name] - max(before, default=0.0), name))
    return sorted(added, reverse=True)


def _add_noise(
    reference: Interpreter,
    quantized: Interpreter,
    detail: dict[str, Any],
    twin: dict[str, Any] | None,
    signal: dict[str, float],
    noise: dict[str, float],
) -> None:
    if twin is None:
        return
    try:
        exact = reference.get_tensor(detail["index"]).astype(np.float64)
        found = _to_real(quantized.get_tensor(twin["index"]), twin)
    except ValueError:  # fused away in one of the two
        return
    if exact.shape != found.shape:
        return
    name = detail["name"]
    signal[name] = signal.get(name, 0.0) + float(np.square(exact).sum())
    noise[name] = noise.get(name, 0.0) + float(np.square(exact - found).sum())


def _to_grid(values: NDArray[np.generic], detail: dict[str, Any]) -> NDArray[np.generic]:
    scale, zero_point = detail["quantization"]
    if not scale:
        return values.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    grid = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max)
    typed: NDArray[np.generic] = grid.astype(detail["dtype"])
    return typed


def _to_real(values: NDArray[np.generic], detail: dict[str, Any]) -> NDArray[np.float64]:
    scale, zero_point = detail["quantization"]
    real = values.astype(np.float64)
    return (real - zero_point) * scale if scale else real
