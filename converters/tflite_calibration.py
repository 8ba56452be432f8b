"""Activation ranges for static quantization, from one pass over the calibration samples.

The float model runs once with every tensor kept. Of each tensor the pass stores the exact range of
every sample and a thinned set of values; each calibration method then turns these into a range.
No method is right for every model, so the stage tries all of them and looks at the outputs.

Methods:
    minmax: the extremes over all samples (nothing is clipped).
    moving-average: the mean over samples of each sample's extremes (TensorFlow's
        `moving_average_quantize`, LiteRT Quantizer's and NNCF's default).
    percentile: the 0.01 and 99.99 percentiles of the values (TensorRT's entropy-free choice;
        Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 5).
    mse: the range with the least squared error after rounding to the integer grid (Nagel et al.
        2021, "A White Paper on Neural Network Quantization", section 2.3).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit.chunks import Arrays
from edgekit.errors import ConversionError, DataError

METHODS = ("minmax", "percentile", "mse", "moving-average")

KEPT_VALUES_PER_TENSOR = 65_536
MSE_VALUES = 8_192
SHRINK_FACTORS = np.linspace(1.0, 0.2, 41)

Floats = NDArray[np.float32]
Range = tuple[float, float]


@dataclass(slots=True)
class TensorStatistics:
    """What one pass keeps of a tensor: per-sample extremes and thinned values."""

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)

    def add(self, tensor: Floats, keep: int) -> None:
        """Takes in a tensor of one sample, keeping at most `keep` of its values."""
        flat = tensor.reshape(-1)
        self.lows.append(float(flat.min()))
        self.highs.append(float(flat.max()))
        self.values.append(flat[:: max(1, flat.size // keep)].copy())


def activation_indices(model: bytes) -> frozenset[int]:
    """Tensor indices of the main graph that hold activations: its inputs and all op outputs."""
    graph = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    written = {index for op in graph.operators or () for index in op.outputs}
    return frozenset(written | set(graph.inputs))


@dataclass(frozen=True, slots=True)
class Collected:
    """Statistics by tensor name, over a number of samples."""

    tensors: dict[str, TensorStatistics]
    samples: int


def collect(float_model: Path, batches: Iterable[Arrays], input_names: dict[str, int]) -> Collected:
    """Runs the float model over the samples and keeps each activation's statistics.

    Args:
        float_model: A float32 .tflite with static shapes.
        batches: Arrays of shape [n, …] by input name.
        input_names: The tensor index of each input name.

    Raises:
        DataError: An activation is not finite, or there are no samples.
        ConversionError: The graph keeps state in sub-graphs, whose tensors cannot be seen.
    """
    content = float_model.read_bytes()
    interpreter = keeping_interpreter(content)
    wanted = activation_indices(content)
    tensors = [
        detail
        for detail in interpreter.get_tensor_details()
        if detail["index"] in wanted and detail["dtype"] == np.float32
    ]
    found: dict[str, TensorStatistics] = {detail["name"]: TensorStatistics() for detail in tensors}
    step = max((int(detail["shape"][0]) for detail in interpreter.get_input_details()), default=1)
    samples = 0
    for arrays in batches:
        count = len(next(iter(arrays.values())))
        for start in range(0, count - step + 1, step):
            for name, array in arrays.items():
                interpreter.set_tensor(input_names[name], array[start : start + step])
            interpreter.invoke()
            _observe(interpreter, tensors, found)
            samples += step
    if not samples:
        raise DataError(
            "no calibration samples were given", "check the calib or train role of --data"
        )
    return Collected({name: kept for name, kept in found.items() if kept.lows}, samples)


def ranges(collected: Collected, method: str, *, levels: int = 256) -> dict[str, Range]:
    """The range of every tensor by one of METHODS.

    Args:
        collected: What `collect` saw.
        method: One of METHODS.
        levels: Integer levels of the activations (256 or 65536).
    """
    return {
        name: _including_zero(_range(statistics, method, levels))
        for name, statistics in collected.tensors.items()
    }


def _range(statistics: TensorStatistics, method: str, levels: int) -> Range:
    low, high = min(statistics.lows), max(statistics.highs)
    if method == "minmax":
        return low, high
    if method == "moving-average":
        return float(np.mean(statistics.lows)), float(np.mean(statistics.highs))
    values = np.concatenate(statistics.values)
    if method == "percentile":
        below, above = np.percentile(values, (0.01, 99.99))
        return float(below), float(above)
    return least_squares_range(values, low, high, levels)


def least_squares_range(values: Floats, low: float, high: float, levels: int) -> Range:
    """The range inside [low, high] whose uniform grid gives the values the least squared error.

    Both ends shrink along a fixed grid, one after the other, twice.
    """
    thinned = values[:: max(1, values.size // MSE_VALUES)]
    points = np.concatenate([thinned, np.array([low, high], np.float32)])
    low, high = _including_zero((low, high))
    best = (low, high)
    for _ in range(2):
        best = min(
            ((low * f, best[1]) for f in SHRINK_FACTORS), key=lambda r: _error(points, r, levels)
        )
        best = min(
            ((best[0], high * f) for f in SHRINK_FACTORS), key=lambda r: _error(points, r, levels)
        )
    return best


def _error(values: Floats, limits: Range, levels: int) -> float:
    low, high = limits
    scale = (high - low) / (levels - 1)
    if scale <= 0:
        return float(np.square(values).sum())
    rounded = np.round(np.clip(values, low, high) / scale) * scale
    return float(np.square(values - rounded).sum())


def _including_zero(limits: Range) -> Range:
    """Zero has to be exactly representable (the TFLite quantization specification)."""
    return min(limits[0], 0.0), max(limits[1], 0.0)


def _observe(
    interpreter: Interpreter, tensors: list[dict[str, Any]], found: dict[str, TensorStatistics]
) -> None:
    for detail in tensors:
        try:
            tensor = interpreter.get_tensor(detail["index"])
        except ValueError:  # fused away: no buffer, so nothing to quantize there
            continue
        if tensor.size == 0:
            continue
        name = detail["name"]
        keep = max(64, KEPT_VALUES_PER_TENSOR // 32)
        found[name].add(tensor, keep)
        if not np.isfinite((found[name].lows[-1], found[name].highs[-1])).all():
            raise DataError(
                f"the float model gives NaN or infinity at tensor '{name}' on a calibration sample",
                "check --preprocess and the calibration data",
            )


def keeping_interpreter(content: bytes) -> Interpreter:
    """An interpreter that keeps every activation, so that it can be read after a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that kept tensors cost memory
        interpreter = Interpreter(
            model_content=content, num_threads=1, experimental_preserve_all_tensors=True
        )
    try:
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"LiteRT cannot run the float model: {error}",
            "use --precision fp16 or int8-dynamic, which need no calibration",
        ) from None
    return interpreter
