"""Float .onnx → .onnx at every precision, for one runtime.

Runs inside a worker process. What int8 means is the dialect's to say; `onnx` and `tensorrt` are the
two converters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnx
from onnx import checker, shape_inference
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers import float16

from edgekit.converters import (
    activation_ranges,
    onnx_graph,
    onnx_interface,
    onnx_reading,
    onnx_weights,
    trained_ranges,
)
from edgekit.converters.onnx_calibration import Calibration, Choice, Dialect
from edgekit.converters.onnx_graph import Graph, Model
from edgekit.errors import ConversionError, one_line
from edgekit.types import TensorSpec

MINIMUM_SHARE = 0.5
"""Share of the weights that a precision has to reach; below it, it is refused with the figure."""


class _Kept(NamedTuple):
    """A finished graph, and its inputs and outputs with their scales."""

    model: Model
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    notes: tuple[str, ...] = ()


class Conversion:
    """Converts one float model, as often as the stage asks.

    Args:
        dialect: What the runtime takes.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def open(
        self,
        hub: str,
        batch: int | None,
        inputs: list[dict[str, Any]],
        outputs: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Reads the float model.

        Args:
            hub: A float .onnx.
            batch: The static batch size to give it, or None for one that may vary.
            inputs: The source's inputs (TensorSpec as plain data), whose names hold.
            outputs: The source's outputs, likewise.

        Returns:
            The inputs and outputs of the graph.

        Raises:
            ConversionError: It is quantized, or the batch cannot be had.
        """
        model = onnx_reading.read(Path(hub), _specs(inputs), _specs(outputs), batch)
        self._graph = Graph(model)
        self._calibrations: dict[str, Calibration] = {}
        self._made: dict[str, tuple[str, Choice]] = {}
        self._trained = False
        return {
            "inputs": _plain(onnx_graph.specs(model.graph.input)),
            "outputs": _plain(onnx_graph.specs(model.graph.output)),
        }

    def methods(self, precision: str) -> list[str]:
        """The ways of choosing activation ranges worth comparing."""
        if self._trained and precision == "int8":
            return [trained_ranges.METHOD]
        return list(activation_ranges.METHODS) if precision == "int8" else []

    def take_ranges(self, samples: str, trained: list[dict[str, Any]]) -> list[str]:
        """Has int8 use the ranges that the model was trained for.

        Args:
            samples: Calibration samples.
            trained: See `trained_ranges.match`.

        Returns:
            What the user should know: ranges that fit nothing, activations that have none.
        """
        matched = self._calibration(samples).take_ranges(trained)
        self._trained = bool(matched.ranges)
        return trained_ranges.notes(matched)

    def convert(
        self,
        out: str,
        precision: str,
        method: str | None,
        samples: str | None,
        seed: int,  # noqa: ARG002 nothing here is random
        float_layers: list[str],
        input_type: str,
        output_type: str,
        overrides: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Writes the artifact at one precision.

        Args:
            out: The .onnx to write.
            precision: One of the dialect's PRECISIONS.
            method: One of `methods(precision)`, or None for the first.
            samples: Calibration samples (see edgekit.chunks), for int8.
            seed: Unused; part of the converters' interface.
            float_layers: Nodes to keep in float, as `rank_layers` names them.
            input_type: float32, float16 (of fp16), int8 or uint8 (of int8).
            output_type: Likewise.
            overrides: Another method for single activations, by name.

        Returns:
            files, inputs, outputs, runtime_options, warnings, steps and quantized_share.

        Raises:
            ConversionError: The precision cannot be realised in this model.
        """
        dialect = self._dialect
        self._check_types(precision, input_type, output_type)
        kept = tuple(sorted(float_layers))
        self._check_layers(kept)
        choice = Choice(method or activation_ranges.METHODS[0], overrides or {}, kept)
        if precision == "int8":
            assert samples is not None, "int8 comes with calibration samples"
            made = self._static(Path(out), samples, choice, input_type, output_type)
        else:
            made = self._float_or_dynamic(precision, kept, input_type, output_type)
        share = None
        if precision in ("int8", "int8-dynamic"):
            share = onnx_weights.stored_share(made.model)
            self._check_share(share, precision, kept)
        _check_valid(made.model)
        dialect.check(made.model)
        onnx_graph.write(made.model, Path(out))
        return {
            "files": [out],
            "inputs": _plain(made.inputs),
            "outputs": _plain(made.outputs),
            "runtime_options": dict(dialect.RUNTIME_OPTIONS) if precision == "int8" else {},
            "warnings": [*made.notes, *_left_in_float(share, precision)],
            "steps": choice._asdict() if precision == "int8" else {"float_layers": kept},
            "quantized_share": share,
        }

    def _check_types(self, precision: str, input_type: str, output_type: str) -> None:
        dialect = self._dialect
        if precision not in dialect.PRECISIONS:
            raise ConversionError(
                f"{dialect.NAME} has no {precision}; it has {', '.join(dialect.PRECISIONS)}",
                "use one of these, or another --target",
            )
        onnx_interface.check_types(
            dialect.NAME, dialect.INTEGER_IO, precision, input_type, output_type
        )

    def rank_layers(self, samples: str, artifact: str, limit: int) -> list[dict[str, Any]]:
        """Layers by the damage that quantizing them does to the outputs, worst first.

        Args:
            samples: Calibration samples.
            artifact: The .onnx, made by this converter since `open`.
            limit: How many layers to name at most.

        Raises:
            ConversionError: The artifact is not one of this converter's int8 ones.
        """
        made = self._made.get(str(Path(artifact)))
        if made is None:
            raise ConversionError(
                f"{artifact} is not an int8 artifact that this conversion made",
                "rank the layers in the conversion that wrote it",
            )
        noise = self._calibration(samples).noise_at_outputs(made[1])
        ranked = sorted(noise.items(), key=lambda entry: (-entry[1], entry[0]))
        return [
            {"layer": name, "sqnr_db": float(-10 * np.log10(share))}
            for name, share in ranked[:limit]
            if share > 0
        ]

    def _static(
        self, out: Path, samples: str, choice: Choice, input_type: str, output_type: str
    ) -> _Kept:
        calibration = self._calibration(samples)
        model = calibration.quantized(choice)
        self._made[str(out)] = (samples, choice)
        integers = (input_type, output_type) != ("float32", "float32")
        ranges = calibration.interface_ranges() if integers else {}
        sides = onnx_interface.set_integers(model, self._graph, input_type, output_type, ranges)
        return _Kept(model, *sides, calibration.notes())

    def _float_or_dynamic(
        self, precision: str, float_layers: tuple[str, ...], input_type: str, output_type: str
    ) -> _Kept:
        if precision == "int8-dynamic":
            model = self._dialect.dynamic(self._graph, float_layers)
        elif precision == "fp16":
            model = _half(self._graph.model, float_layers, input_type, output_type)
        else:
            model = self._graph.model
        return _Kept(
            model, onnx_graph.specs(model.graph.input), onnx_graph.specs(model.graph.output)
        )

    def _check_layers(self, float_layers: tuple[str, ...]) -> None:
        known = {node.name for node in self._graph.model.graph.node}
        unknown = sorted(set(float_layers) - known)
        if unknown:
            raise ConversionError(
                f"the model has no layer '{unknown[0]}' to keep in float",
                "name layers as rank_layers gives them",
            )

    def _check_share(self, share: float, precision: str, float_layers: tuple[str, ...]) -> None:
        if share >= MINIMUM_SHARE or (float_layers and share > 0):
            return
        raise ConversionError(
            f"{precision} would reach only {share:.0%} of this model's weights"
            + (
                ": ONNX Runtime's dynamic convolutions are slower than float, and are left out"
                if precision == "int8-dynamic"
                else f" in {self._dialect.NAME}"
            ),
            self._way_out(precision),
        )

    def _way_out(self, precision: str) -> str:
        if precision == "int8-dynamic":
            return "use --precision int8"
        if "int8-dynamic" in self._dialect.PRECISIONS:
            return "use --precision int8-dynamic, which suits recurrent layers, or fp16"
        return "use --precision fp16"

    def _calibration(self, samples: str) -> Calibration:
        if samples not in self._calibrations:
            self._calibrations[samples] = Calibration(self._graph, self._dialect, Path(samples))
        return self._calibrations[samples]


def _half(model: Model, float_layers: tuple[str, ...], input_type: str, output_type: str) -> Model:
    """A copy in float16; inputs and outputs keep float32 unless float16 was asked for."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    keep = [
        value.name
        for values, kind in ((copied.graph.input, input_type), (copied.graph.output, output_type))
        for value in values
        if kind == "float32"
    ]
    try:
        made = float16.convert_float_to_float16(
            copied, keep_io_types=keep, node_block_list=list(float_layers)
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConversionError(
            f"the model cannot be brought to float16: {one_line(str(error))[:200]}",
            "use --precision fp32",
        ) from error
    ordered = ONNXModel(made)
    ordered.topological_sort()
    return ordered.model


def _check_valid(model: Model) -> None:
    """ONNX's full check, of domains that it knows."""
    if any(node.domain not in onnx_graph.STANDARD for node in onnx_graph.nodes(model.graph)):
        return
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ConversionError(
            f"the artifact is not valid ONNX: {one_line(str(error))[:300]}",
            "use --precision fp32, and report this model",
        ) from None


def _left_in_float(share: float | None, precision: str) -> list[str]:
    if share is None or share > 0.995:
        return []
    return [f"{precision} reaches {share:.0%} of the weights; the others keep their type"]


def _specs(plain: list[dict[str, Any]]) -> list[TensorSpec]:
    return [msgspec.convert(spec, TensorSpec) for spec in plain]


def _plain(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(spec) for spec in specs]
