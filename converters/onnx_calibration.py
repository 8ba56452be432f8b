"""One float ONNX model and its calibration samples: what all int8 artifacts of it share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.converters import activation_ranges, onnx_execution, trained_ranges
from edgekit.converters.activation_ranges import Range, TensorStatistics
from edgekit.converters.onnx_graph import LAYERS, Graph, Model

RANKING_SAMPLES = 32
OVERFLOW_FACTOR = 1.5
"""Noise of kernels over that of the file, above which more than rounding is at work: 1.8 dB."""
BOUNDING = ("Softmax", "Sigmoid", "LogSoftmax", "Tanh")


class Choice(NamedTuple):
    """What is decided about an int8 artifact.

    `overrides` maps single activations to another method; `float_layers` stay float.
    """

    method: str
    overrides: Mapping[str, str]
    float_layers: tuple[str, ...]


class _Losses(NamedTuple):
    """Noise-to-signal power ratios at the outputs, of kernels and of what the file says."""

    kernels: float
    file: float

    def overflows(self) -> bool:
        """Whether more than rounding is at work."""
        return self.kernels > self.file * OVERFLOW_FACTOR

    def __str__(self) -> str:
        kernels, file = (-10 * np.log10(max(share, 1e-12)) for share in self)
        return f"{kernels:.1f} dB where the file itself gives {file:.1f}"


class Dialect(Protocol):
    """What one runtime's int8 is: `onnx_dialect` and `tensorrt_dialect` are such."""

    NAME: str
    PRECISIONS: tuple[str, ...]
    SYMMETRIC: bool
    INTEGER_IO: bool
    MAY_OVERFLOW: bool
    RUNTIME_OPTIONS: dict[str, str]

    def activations(self, graph: Graph) -> list[str]:
        """The activations that a range has to be known of."""

    def quantized(
        self,
        graph: Graph,
        ranges: Mapping[str, Range],
        float_layers: tuple[str, ...],
        *,
        fitted: bool,
    ) -> Model:
        """A new int8 model; `fitted` weights overflow no 16-bit accumulator."""

    def dynamic(self, graph: Graph, float_layers: tuple[str, ...]) -> Model:
        """A new model that quantizes activations as it runs."""

    def check(self, model: Model) -> None:
        """Refuses what the runtime would refuse."""


class Calibration:
    """A float model with one set of samples.

    Args:
        graph: The float model.
        dialect: The runtime's int8.
        samples: A directory of edgekit.chunks.
    """

    def __init__(self, graph: Graph, dialect: Dialect, samples: Path) -> None:
        self._graph = graph
        self._dialect = dialect
        self._samples = samples
        self._statistics: dict[str, TensorStatistics] = {}
        self._trained: dict[str, Range] = {}
        self._fitted = False
        self._overflow: str | None = None
        self._judged = not dialect.MAY_OVERFLOW

    def quantized(self, choice: Choice) -> Model:
        """A new quantized model, with float inputs and outputs."""
        ranges = self._ranges(choice)

        def make(*, fitted: bool) -> Model:
            return self._dialect.quantized(self._graph, ranges, choice.float_layers, fitted=fitted)

        if not self._judged:
            self._judged = True
            self._judge_kernels(make(fitted=False), make(fitted=True))
        return make(fitted=self._fitted)

    def notes(self) -> tuple[str, ...]:
        """What the kernels of this CPU made necessary."""
        return (self._overflow,) if self._overflow else ()

    def _ranges(self, choice: Choice) -> dict[str, Range]:
        names = self._dialect.activations(self._graph)
        statistics = self._collected(names)
        choose = (
            activation_ranges.choose_symmetric
            if self._dialect.SYMMETRIC
            else activation_ranges.choose
        )
        trained = choice.method == trained_ranges.METHOD
        method = "minmax" if trained else choice.method
        found = {
            name: choose(statistics[name], choice.overrides.get(name, method)) for name in names
        } | (self._trained if trained else {})
        return found if self._dialect.SYMMETRIC else found | self._bounded_outputs(names)

    def take_ranges(self, trained: Sequence[Mapping[str, Any]]) -> trained_ranges.Matched:
        """Finds the activations that trained ranges belong to; method "trained" then uses them."""
        statistics = self._collected(self._dialect.activations(self._graph))
        seen = {
            name: trained_ranges.extremes(one.lows, one.highs) for name, one in statistics.items()
        }
        matched = trained_ranges.match(trained, seen)
        self._trained = matched.ranges
        choice = Choice(trained_ranges.METHOD, {}, ())
        model = self._dialect.quantized(self._graph, self._ranges(choice), (), fitted=False)
        rounded = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
        lacking = [name for name in matched.without if name in rounded and not self._bounded(name)]
        unclear = {name: those for name, those in matched.unclear.items() if name in rounded}
        return matched._replace(without=lacking, unclear=unclear)

    def _bounded(self, name: str) -> bool:
        producer = self._graph.producers.get(name)
        return producer is not None and producer.op_type in activation_ranges.BOUNDED

    def _bounded_outputs(self, names: Iterable[str]) -> dict[str, Range]:
        """The model's outputs whose range the operation gives: other samples may fill all of it."""
        found = {}
        for name in self._graph.outputs & set(names):
            producer = self._graph.producers.get(name)
            if producer is not None and producer.op_type in activation_ranges.BOUNDED:
                found[name] = activation_ranges.BOUNDED[producer.op_type]
        return found

    def _judge_kernels(self, whole: Model, fitted: Model) -> None:
        """Decides by measurement whether this CPU's kernels need fitted weights.

        They do where they lose more than rounding of what a file says with weights of full range,
        and give more with fitted ones.
        """
        before = self._losses(whole)
        if not before.overflows():
            return
        after = self._losses(fitted)
        self._fitted = after.kernels < before.kernels
        told = f"this CPU's int8 kernels overflow with weights of full range ({before})"
        if not self._fitted:
            self._overflow = f"{told}, and with weights scaled to fit no less: fp16 does not"
        elif after.overflows():
            self._overflow = f"{told}, less with these, scaled to fit ({after}): fp16 does not"
        else:
            self._overflow = f"{told}: these were scaled to fit ({after})"

    def _losses(self, model: Model) -> _Losses:
        """What an int8 model loses in this CPU's kernels, and what its file itself loses.

        Taken before a final softmax or sigmoid, whose own kernel rounds otherwise than the file.
        """
        outputs = [self._before_bounding(value.name) for value in self._graph.model.graph.output]
        exact = self._run(self._graph.model, outputs)
        stored = [_dequantized(model, name) for name in outputs]
        kernels, file = (
            max(map(_noise_to_signal, exact, self._run(model, stored, simulated=simulated)))
            for simulated in (False, True)
        )
        return _Losses(kernels, file)

    def interface_ranges(self) -> dict[str, Range]:
        """The extremes of each float input and output by its name."""
        graph = self._graph.model.graph
        names = [value.name for value in (*graph.input, *graph.output)]
        real = [name for name in names if self._graph.is_float(name)]
        return {name: one.extremes() for name, one in self._collected(real).items() if name in real}

    def noise_at_outputs(self, choice: Choice) -> dict[str, float]:
        """The noise-to-signal power ratio at the outputs that each layer alone causes.

        Σ (y − y')² / Σ y², y the float model's outputs and y' those of the model in which this one
        layer is int8; of several outputs the worst. A final softmax or sigmoid is left out: it
        hides noise where it saturates.
        """
        layers = [node for node in self._graph.model.graph.node if node.op_type in LAYERS]
        names = [node.name for node in layers if node.name not in choice.float_layers]
        outputs = [self._before_bounding(value.name) for value in self._graph.model.graph.output]
        exact = self._run(self._graph.model, outputs)
        others = {node.name for node in self._graph.model.graph.node}
        noise = {}
        for name in names:
            kept = tuple(sorted(others - {name}))
            ranges = self._ranges(choice)
            model = self._dialect.quantized(self._graph, ranges, kept, fitted=self._fitted)
            found = self._run(model, outputs, simulated=not self._dialect.MAY_OVERFLOW)
            noise[name] = max(map(_noise_to_signal, exact, found))
        return noise

    def _before_bounding(self, name: str) -> str:
        node = self._graph.producers.get(name)
        bounded = node is not None and node.op_type in BOUNDING
        return str(node.input[0]) if bounded and node is not None else name

    def _run(
        self, model: Model, outputs: list[str], *, simulated: bool = False
    ) -> list[NDArray[np.float64]]:
        """Each output over the first samples, flat."""
        session = onnx_execution.Session(model, outputs, simulated=simulated)
        own = len(model.graph.output)
        batches = [
            [values.astype(np.float64).reshape(-1) for values in session.run(feed)[own:]]
            for feed in onnx_execution.feeds(self._samples, self._graph.model, RANKING_SAMPLES)
        ]
        return [np.concatenate(values) for values in zip(*batches, strict=True)]

    def _collected(self, names: Iterable[str]) -> dict[str, TensorStatistics]:
        lacking = [name for name in names if name not in self._statistics]
        self._statistics |= onnx_execution.collect(self._graph.model, lacking, self._samples)
        return self._statistics


def _dequantized(model: Model, name: str) -> str:
    """An activation after its Q/DQ; one read before would keep its layer in float."""
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        node = next((n for n in model.graph.node if n.op_type == kind and n.input[0] == name), None)
        if node is None:
            break
        name = node.output[0]
    return name


def _noise_to_signal(exact: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    signal = float(np.square(exact).sum())
    return float(np.square(exact - found).sum()) / signal if signal > 0 else 0.0
