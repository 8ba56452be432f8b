"""SavedModel, float .onnx or float .tflite → OpenVINO IR.

Runs inside a worker process. Float arithmetic is float32 everywhere (OpenVINO would use bfloat16
where the CPU has it). How int8 is made: openvino_quantization.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgekit.converters import (
    activation_ranges,
    openvino_check,
    openvino_graph,
    openvino_interface,
    openvino_noise,
    openvino_quantization,
    openvino_reading,
    openvino_weights,
    trained_ranges,
)
from edgekit.converters.openvino_calibration import Calibration, Choice
from edgekit.converters.openvino_check import CHECKED_SAMPLES, Artifact
from edgekit.converters.openvino_graph import Model
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

PRECISIONS = ("fp32", "fp16", "int8", "int8-weight", "int4-weight")
WEIGHT_ONLY = ("int8-weight", "int4-weight")
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
NO_DYNAMIC_QUANTIZATION = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
"""Without it, CPUs with VNNI quantize the activations of weight-only layers as they run."""


class Converter:
    """Converts one float model, as often as the stage asks."""

    def open(
        self,
        hub: str,
        batch: int | None,
        inputs: list[dict[str, Any]],
        outputs: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Reads the float model.

        Args:
            hub: A SavedModel directory, a float .onnx or a float .tflite.
            batch: The static batch size to give it, or None for one that may vary.
            inputs: The source's inputs (TensorSpec as plain data): names and order hold.
            outputs: The source's outputs, likewise.

        Returns:
            The inputs and outputs of the graph.

        Raises:
            ConversionError: OpenVINO cannot read it, or the batch cannot be had.
        """
        self._floats = openvino_reading.read(Path(hub), _specs(inputs), _specs(outputs), batch)
        if openvino_weights.stored_share(self._floats):
            raise ConversionError(
                f"{Path(hub).name} is quantized already; quantizing twice loses accuracy",
                "give the float model",
            )
        self._names = set(openvino_graph.by_name(self._floats))
        self._calibrations: dict[str, Calibration] = {}
        self._made: dict[str, tuple[str, Choice]] = {}
        self._remedies: dict[tuple[str, ...], list[str]] = {}
        self._trained = False
        return {
            "inputs": _plain(openvino_graph.specs(self._floats.inputs)),
            "outputs": _plain(openvino_graph.specs(self._floats.outputs)),
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

    def tensors(self, samples: str) -> list[str]:
        """Names of the activations whose range can be chosen one by one."""
        return self._calibration(samples).activations()

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
            out: The .xml to write; its .bin stands beside it.
            precision: One of PRECISIONS.
            method: One of `methods(precision)`, or None for the first.
            samples: Calibration samples (see edgekit.chunks), for int8.
            seed: Unused; part of the converters' interface.
            float_layers: Layers to keep in float, as `rank_layers` names them.
            input_type: float32, int8 or uint8.
            output_type: Likewise.
            overrides: Another method for single activations, by name.

        Returns:
            files, inputs, outputs, runtime_options, warnings, steps and quantized_share.

        Raises:
            ConversionError: The precision cannot be realised in this model.
        """
        if precision not in PRECISIONS:
            raise ConversionError(
                f"OpenVINO has no {precision}; it has {', '.join(PRECISIONS)}",
                "use --precision int8, or another --target",
            )
        openvino_interface.check_types(precision, input_type, output_type)
        if precision != "int8":
            return self._convert_weights(Path(out), precision, float_layers)
        assert samples is not None, "int8 comes with calibration samples"
        choice = Choice(
            method or activation_ranges.METHODS[0], overrides or {}, tuple(sorted(float_layers))
        )
        self._made[str(Path(out))] = (samples, choice)
        return self._convert_static(Path(out), samples, choice, input_type, output_type)

    def rank_layers(self, samples: str, artifact: str, limit: int) -> list[dict[str, Any]]:
        """Layers by the damage that quantizing them does to the outputs, worst first.

        A layer's `sqnr_db` is 10·log10(Σ y² / Σ (y − y')²), with y the float model's outputs and y'
        those of the float model in which this layer alone is quantized; before a final softmax or
        sigmoid, which would hide noise. (Noise at the layer's own output does not tell: what the
        following layers make of it decides.)

        Args:
            samples: Calibration samples.
            artifact: The .xml, made by this converter since `open`.
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
        model = self._calibration(made[0]).quantized(made[1])
        noise = openvino_noise.noise_at_outputs(model, self._floats, Path(samples))
        ranked = sorted(noise.items(), key=lambda entry: (-entry[1], entry[0]))
        return [
            {"layer": name, "sqnr_db": float(-10 * np.log10(share))}
            for name, share in ranked[:limit]
            if share > 0
        ]

    def _convert_weights(
        self, out: Path, precision: str, float_layers: list[str]
    ) -> dict[str, Any]:
        model, options, share = self._floats.clone(), FLOAT32, None
        if precision in WEIGHT_ONLY:
            model = openvino_weights.compress(self._floats, precision, float_layers)
            share = openvino_weights.stored_share(model)
            options = {**FLOAT32, **NO_DYNAMIC_QUANTIZATION}
        openvino_graph.write(model, out, half=precision == "fp16", keep=self._names)
        return _answer(
            Artifact(
                out,
                options,
                openvino_graph.specs(model.inputs),
                openvino_graph.specs(model.outputs),
            ),
            [],
            {"float_layers": float_layers, "arithmetic": "float32"},
            share,
        )

    def _convert_static(
        self, out: Path, samples: str, choice: Choice, input_type: str, output_type: str
    ) -> dict[str, Any]:
        calibration = self._calibration(samples)
        model = calibration.quantized(choice)
        share = openvino_weights.stored_share(model)
        if not share and not choice.float_layers:
            raise ConversionError(
                "int8 would reach none of this model's weights",
                "use --precision fp16",
            )
        warnings = _left_in_float(model, choice.float_layers)
        integers = (input_type, output_type) != ("float32", "float32")
        ranges = calibration.interface_ranges() if integers else {}
        model, inputs, outputs = openvino_interface.set_interface(
            model, input_type, output_type, ranges
        )
        artifact = Artifact(out, FLOAT32, inputs, outputs)
        artifact, remedy = self._ship(model, artifact, calibration, choice)
        return _answer(artifact, [*warnings, *remedy], choice._asdict(), share)

    def _ship(
        self, model: Model, artifact: Artifact, calibration: Calibration, choice: Choice
    ) -> tuple[Artifact, list[str]]:
        """Writes a quantized model in a form that this CPU runs correctly.

        The first artifact with given float layers is checked; the others have its kernels.
        """

        def write(graph: Model) -> None:
            openvino_graph.write(graph, artifact.path, half=False, keep=self._names)

        if choice.float_layers in self._remedies:
            remedy = self._remedies[choice.float_layers]
            shipped = openvino_check.with_free_batch(model, artifact) if remedy else artifact
            write(model)
            return shipped, remedy
        evidence = calibration.outputs(CHECKED_SAMPLES)
        shipped, remedy = openvino_check.settle(model, artifact, write, *evidence)
        self._remedies[choice.float_layers] = remedy
        return shipped, remedy

    def _calibration(self, samples: str) -> Calibration:
        if samples not in self._calibrations:
            self._calibrations[samples] = Calibration(self._floats, Path(samples))
        return self._calibrations[samples]


def _answer(
    artifact: Artifact, warnings: list[str], steps: dict[str, Any], share: float | None
) -> dict[str, Any]:
    return {
        "files": [str(artifact.path), str(artifact.path.with_suffix(".bin"))],
        "inputs": _plain(artifact.inputs),
        "outputs": _plain(artifact.outputs),
        "runtime_options": dict(artifact.options),
        "warnings": warnings,
        "steps": steps,
        "quantized_share": share,
    }


def _left_in_float(model: Model, asked: tuple[str, ...]) -> list[str]:
    warnings = []
    names = [name for name in openvino_weights.float_layers_of(model) if name not in asked]
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        warnings.append(f"{len(names)} layers stay in float: {shown}")
    if openvino_quantization.has_loops(model):
        warnings.append(
            "recurrent layers have int8 weights and float arithmetic: OpenVINO has no int8 kernels"
            " for loops; the file is buys size, not speed"
        )
    return warnings


def _specs(plain: list[dict[str, Any]]) -> list[TensorSpec]:
    return [msgspec.convert(spec, TensorSpec) for spec in plain]


def _plain(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(spec) for spec in specs]
