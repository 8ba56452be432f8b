"""One float model and its calibration samples: what all int8 artifacts of it share.

Quantizer placement, int8 weights and statistics are made once; an artifact is then a copy with
ranges by some method and corrected biases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.chunks import Arrays
from edgekit.converters import (
    activation_ranges,
    openvino_noise,
    openvino_quantization,
    trained_ranges,
)
from edgekit.converters.activation_ranges import Range, TensorStatistics
from edgekit.converters.openvino_execution import Session, collect, feeds
from edgekit.converters.openvino_graph import Model, Port, by_name, tensor_key


class Choice(NamedTuple):
    """What is decided about an int8 artifact.

    `overrides` maps single activations to another method; `float_layers` stay float.
    """

    method: str
    overrides: Mapping[str, str]
    float_layers: tuple[str, ...]


class Calibration:
    """A float model with one set of samples.

    Args:
        floats: The float model.
        samples: A directory of edgekit.chunks.
    """

    def __init__(self, floats: Model, samples: Path) -> None:
        self._floats = floats
        self._samples = samples
        self._nodes = by_name(floats)
        self._placed: dict[tuple[str, ...], Model] = {}
        self._statistics: dict[str, TensorStatistics] = {}
        self._trained: dict[str, Range] = {}

    def activations(self) -> list[str]:
        """Keys of the activations that have a quantizer."""
        return list(openvino_quantization.quantizers(self._with_quantizers(()), self._floats))

    def quantized(self, choice: Choice) -> Model:
        """A new quantized model, with float inputs and outputs."""
        model = self._with_quantizers(choice.float_layers).clone()
        found = openvino_quantization.quantizers(model, self._floats)
        statistics = self._collected(
            self._port(nodes[0].input_value(0)) for nodes in found.values()
        )
        trained = choice.method == trained_ranges.METHOD
        method = "minmax" if trained else choice.method
        ranges = {
            key: activation_ranges.choose(statistics[key], choice.overrides.get(key, method))
            for key in found
        } | (self._trained if trained else {})
        openvino_quantization.set_ranges(model, self._floats, ranges)
        if not trained:  # biases were trained with the noise that this would correct
            openvino_noise.correct_biases(model, self._floats, self._samples)
        return model

    def take_ranges(self, trained: Sequence[Mapping[str, Any]]) -> trained_ranges.Matched:
        """Finds the activations that trained ranges belong to; method "trained" then uses them."""
        found = openvino_quantization.quantizers(self._with_quantizers(()), self._floats)
        statistics = self._collected(
            self._port(nodes[0].input_value(0)) for nodes in found.values()
        )
        seen = {
            key: trained_ranges.extremes(statistics[key].lows, statistics[key].highs)
            for key in found
        }
        matched = trained_ranges.match(trained, seen)
        self._trained = matched.ranges
        return matched

    def interface_ranges(self) -> dict[str, Range]:
        """The extremes of each float input and output by its name."""
        ports = {node.get_friendly_name(): node.output(0) for node in self._floats.get_parameters()}
        ports |= {
            node.get_friendly_name(): node.input_value(0) for node in self._floats.get_results()
        }
        real = {name: port for name, port in ports.items() if port.get_element_type().is_real()}
        statistics = self._collected(real.values())
        return {name: statistics[tensor_key(port)].extremes() for name, port in real.items()}

    def outputs(self, limit: int) -> tuple[list[Arrays], list[list[NDArray[np.generic]]]]:
        """The first batches of samples, and the float model's outputs for them."""
        given = list(feeds(self._samples, self._floats, limit))
        session = Session(self._floats)
        return given, [[np.array(value) for value in session.run(feed)] for feed in given]

    def _with_quantizers(self, float_layers: tuple[str, ...]) -> Model:
        if float_layers not in self._placed:
            sample = next(iter(feeds(self._samples, self._floats)))
            self._placed[float_layers] = openvino_quantization.place_quantizers(
                self._floats, sample, list(float_layers)
            )
        return self._placed[float_layers]

    def _port(self, source: Port) -> Port:
        """The float model's activation that a quantized one's stands for."""
        return self._nodes[source.get_node().get_friendly_name()].output(source.get_index())

    def _collected(self, ports: Iterable[Port]) -> dict[str, TensorStatistics]:
        lacking = {tensor_key(port): port for port in ports}
        lacking = {key: port for key, port in lacking.items() if key not in self._statistics}
        self._statistics |= collect(self._floats, lacking, self._samples)
        return self._statistics
