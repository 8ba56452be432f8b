"""Runs ONNX graphs over calibration samples, on one thread."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Since 1.29 the library reports models and machine to its maker unless told before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from edgekit.chunks import Arrays
from edgekit.converters import calibration_feeds, onnx_graph
from edgekit.converters.activation_ranges import TensorStatistics
from edgekit.converters.onnx_graph import Model
from edgekit.errors import ConversionError, DataError, one_line

PROVIDERS = ["CPUExecutionProvider"]
FAILURES = (
    RuntimeError,
    ValueError,
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NotImplemented,
    states.RuntimeException,
)
"""What ONNX Runtime raises; its classes have no common parent but Exception."""


class Session:
    """A loaded graph.

    Args:
        model: The graph.
        extra: Tensors that are outputs too, after the graph's own.
        simulated: Compute Q/DQ in float, as the file says, and not with this CPU's int8 kernels.
    """

    def __init__(self, model: Model, extra: Sequence[str] = (), *, simulated: bool = False) -> None:
        own = [value.name for value in model.graph.output]
        self._names = [*own, *extra]
        content = _with_outputs(model, [name for name in extra if name not in own])
        settings = _settings()
        if simulated:
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = onnxruntime.InferenceSession(content, settings, PROVIDERS)
        except FAILURES as error:
            raise ConversionError(
                f"ONNX Runtime cannot load the model: {brief(error)}",
                "look for the operator that it names",
            ) from None

    def run(self, feed: Arrays) -> list[NDArray[np.generic]]:
        """The outputs of one batch, in order."""
        try:
            found: list[NDArray[np.generic]] = self._session.run(self._names, feed)
        except FAILURES as error:
            raise ConversionError(
                f"ONNX Runtime fails on a sample: {brief(error)}", "check --data and --preprocess"
            ) from None
        return found


def optimized(model: Model) -> Model:
    """What ONNX Runtime's basic optimizations make of a model.

    Raises:
        ConversionError: ONNX Runtime cannot load it.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as directory:
        path = Path(directory) / "model.onnx"
        settings = _settings()
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        settings.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), settings, PROVIDERS)
        except FAILURES as error:
            raise ConversionError(
                f"ONNX Runtime cannot load the model: {brief(error)}",
                "look for the operator that it names",
            ) from None
        return onnx.load(str(path))


def feeds(samples: Path, model: Model, limit: int | None = None) -> Iterator[Arrays]:
    """Samples in batches as a graph takes them; see `calibration_feeds`."""
    return calibration_feeds.feeds(samples, onnx_graph.specs(model.graph.input), limit)


def collect(model: Model, names: Sequence[str], samples: Path) -> dict[str, TensorStatistics]:
    """Extremes and histograms of activations over the calibration samples.

    Args:
        model: The float graph.
        names: Activations of that graph.
        samples: A directory of edgekit.chunks.

    Raises:
        DataError: An activation is not finite.
    """
    found = {name: TensorStatistics() for name in names}
    if not found:
        return found
    session = Session(model, list(found))
    own = len(model.graph.output)
    for feed in feeds(samples, model):
        for name, values in zip(found, session.run(feed)[own:], strict=True):
            low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
            if not np.isfinite((low, high)).all():
                raise DataError(
                    f"the float model gives NaN or infinity at '{name}' on a calibration sample",
                    "check --preprocess and the calibration data",
                )
            found[name].add_extremes(low, high)
    for feed in feeds(samples, model):
        for name, values in zip(found, session.run(feed)[own:], strict=True):
            found[name].add_values(values.astype(np.float32, copy=False))
    return found


def brief(error: BaseException) -> str:
    """ONNX Runtime's message on one line, without its own prefix."""
    return one_line(str(error).rpartition("[ONNXRuntimeError] : ")[2])[:300].rstrip(".")


def _settings() -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    return settings


def _with_outputs(model: Model, names: Sequence[str]) -> bytes:
    if not names:
        return bytes(model.SerializeToString())
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return bytes(probe.SerializeToString())
