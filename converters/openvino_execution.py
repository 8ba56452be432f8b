"""Runs OpenVINO graphs over calibration samples, on one thread and in float32.

With `simulated` the CPU plugin keeps quantizers as float arithmetic instead of turning them into
int8 kernels: what the file says, as opposed to what this CPU's kernels make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from edgekit.chunks import Arrays
from edgekit.converters import calibration_feeds
from edgekit.converters.activation_ranges import TensorStatistics
from edgekit.converters.openvino_graph import EXACT, Model, Port, brief, rank_of, specs
from edgekit.errors import ConversionError, DataError

SIMULATED = {"LP_TRANSFORMS_MODE": "NO"}


class Session:
    """A compiled graph with one infer request."""

    def __init__(
        self,
        model: Model | Path,
        *,
        simulated: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        properties = {**EXACT, **(options or {}), **(SIMULATED if simulated else {})}
        source = str(model) if isinstance(model, Path) else model
        try:
            compiled = openvino.Core().compile_model(source, "CPU", properties)
        except RuntimeError as error:
            raise ConversionError(
                f"OpenVINO cannot compile the model: {brief(error)}",
                "convert it with --target host (LiteRT) instead",
            ) from None
        self._request = compiled.create_infer_request()
        self._count = len(compiled.outputs)

    def run(self, feed: Arrays) -> list[NDArray[np.generic]]:
        """The outputs of one batch, in order."""
        try:
            found = self._request.infer(feed, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise ConversionError(
                f"OpenVINO fails on a sample: {brief(error)}", "check --data and --preprocess"
            ) from None
        return [found[position] for position in range(self._count)]


def feeds(samples: Path, model: Model, limit: int | None = None) -> Iterator[Arrays]:
    """Samples in batches as a float graph takes them; see `calibration_feeds`."""
    return calibration_feeds.feeds(samples, specs(model.inputs), limit)


def collect(model: Model, ports: Mapping[str, Port], samples: Path) -> dict[str, TensorStatistics]:
    """Extremes and histograms of activations over the calibration samples.

    Args:
        model: The float graph.
        ports: Activations of that graph by key.
        samples: A directory of edgekit.chunks.

    Raises:
        DataError: An activation is not finite.
    """
    found = {key: TensorStatistics() for key in ports}
    if not ports:
        return found
    everything = [
        _over_all(reduce, port)
        for port in ports.values()
        for reduce in (ops.reduce_min, ops.reduce_max, ops.reduce_mean)
    ]
    extremes = Session(_with_outputs(model, everything))
    for feed in feeds(samples, model):
        seen = [float(value.reshape(-1)[0]) for value in extremes.run(feed)]
        for key, low, high, mean in zip(found, seen[0::3], seen[1::3], seen[2::3], strict=True):
            if not np.isfinite((low, high, mean)).all():  # the extremes leave out NaN
                raise DataError(
                    f"the float model gives NaN or infinity at '{key}' on a calibration sample",
                    "check --preprocess and the calibration data",
                )
            found[key].add_extremes(low, high)
    values = Session(_with_outputs(model, list(ports.values())))
    for feed in feeds(samples, model):
        for statistics, tensor in zip(found.values(), values.run(feed), strict=True):
            statistics.add_values(tensor.astype(np.float32, copy=False))
    return found


def _with_outputs(model: Model, ports: list[Port]) -> Model:
    return openvino.Model([ops.result(port) for port in ports], model.get_parameters(), "probe")


def _over_all(reduce: Callable[..., Any], port: Port) -> Port:
    axes = np.arange(rank_of(port), dtype=np.int64)
    return reduce(port, axes, False).output(0)
