"""Float .tflite → .tflite at every precision, by LiteRT Quantizer; no TensorFlow.

Runs inside a worker process. The float model comes from the source (TFLite converter for Keras
and SavedModel sources, or the user's own .tflite).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from litert_quantizer import quantizer

from edgekit import chunks
from edgekit.converters import (
    tflite_calibration,
    tflite_graph,
    tflite_noise,
    tflite_recurrent,
    tflite_rules,
    tflite_sparse,
    trained_ranges,
)
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

MINIMUM_SHARE = 0.5
"""Share of the weights that a precision has to reach; below it, it is refused with the figure."""

LEVELS = {"int8": 256, "int16x8": 65536}
WEIGHT_TYPE = {"fp16": "float16", "int4-weight": "int4"}


class Converter:
    """Quantizes one float model, as often as the stage asks."""

    def open(
        self,
        hub: str,
        batch: int | None,
        inputs: list[dict[str, Any]],
        outputs: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Reads the float model.

        Args:
            hub: A float .tflite.
            batch: Its static batch size, or None where it is dynamic.
            inputs: The source's inputs (TensorSpec as plain data), whose names hold.
            outputs: The source's outputs, likewise.

        Returns:
            The inputs and outputs of the float model, under the source's names.

        Raises:
            ConversionError: The model is quantized already, or has another batch.
        """
        self._path = Path(hub)
        self._batch = batch
        self._content = self._path.read_bytes()
        model = tflite_graph.read(self._content)
        self._inputs = tflite_graph.input_names(model)
        self._outputs = tflite_graph.output_names(model)
        _check_names(self._inputs, inputs, "inputs")
        _check_names(self._outputs, outputs, "outputs")
        specs = self._specs(model)
        _check_batch(specs["inputs"], batch, self._path.name)
        if any(kind in tflite_graph.weight_elements(model) for kind in ("int8", "int4")):
            raise ConversionError(
                f"{self._path.name} is quantized already; quantizing twice loses accuracy",
                "give the float model",
            )
        if tflite_sparse.is_sparse(model):
            raise ConversionError(
                f"{self._path.name} stores weights sparsely, and cannot be converted again",
                "convert the model that it was made from",
            )
        self._recurrent = tflite_graph.recurrent_operators(model)
        self._collected: dict[str, tflite_calibration.Collected] = {}
        self._ranges_known: dict[tuple[str, str, int], dict[str, tflite_calibration.Range]] = {}
        self._trained: dict[str, tflite_calibration.Range] = {}
        return specs

    def methods(self, precision: str) -> list[str]:
        """The ways of choosing ranges (of activations, or of int4 weights) worth comparing."""
        if precision == "int8" and self._trained:
            return [trained_ranges.METHOD]
        if precision in LEVELS:
            return list(tflite_calibration.METHODS)
        return list(tflite_rules.WEIGHT_METHODS) if precision == "int4-weight" else []

    def take_ranges(self, samples: str, trained: list[dict[str, Any]]) -> list[str]:
        """Has int8 use the ranges that the model was trained for.

        Args:
            samples: Calibration samples.
            trained: See `trained_ranges.match`.

        Returns:
            What the user should know: ranges that fit nothing, activations that have none.
        """
        statistics = self._statistics(samples).tensors
        given = tflite_graph.given_ranges(tflite_graph.read(self._content))
        seen = {
            name: trained_ranges.extremes(one.lows, one.highs)
            for name, one in statistics.items()
            if name not in given
        }
        matched = trained_ranges.match(trained, seen)
        self._trained = matched.ranges
        return trained_ranges.notes(matched)

    def tensors(self, samples: str) -> list[str]:
        """Names of the activations whose range can be chosen one by one.

        Inputs are left out: what reads a sensor counts on their scale.
        """
        model = tflite_graph.read(self._content)
        fixed = {model.subgraphs[0].tensors[i].name.decode() for i in self._inputs.values()}
        return [name for name in self._statistics(samples).tensors if name not in fixed]

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
        per_tensor: list[str] | None = None,
    ) -> dict[str, Any]:
        """Writes the artifact at one precision.

        Args:
            out: The .tflite to write.
            precision: One of edgekit.types.PRECISIONS.
            method: One of `methods(precision)`, or None for the first.
            samples: Calibration samples (see edgekit.chunks), for static precisions.
            seed: Unused; part of the converters' interface.
            float_layers: Operators to keep in float, by output tensor name.
            input_type: float32, int8, uint8 or int16.
            output_type: Likewise.
            overrides: Another method for single tensors, by name.
            per_tensor: Operators whose int8 weights get one scale; "*" for all.

        Returns:
            files, inputs, outputs, runtime_options, warnings, steps and quantized_share.

        Raises:
            ConversionError: The precision cannot be realised in this model.
        """
        if precision in LEVELS and self._recurrent:
            raise ConversionError(
                f"{self._path.name} has recurrent layers ({', '.join(self._recurrent)}), which"
                f" edgekit cannot bring to static {precision} in TFLite",
                "use --precision int8-dynamic where the target runs it, or --target host-openvino",
            )
        method = method or next(iter(self.methods(precision)), None)
        chosen = self._ranges(precision, method, samples, overrides or {})
        content = self._quantize(precision, method, chosen, float_layers, per_tensor or [])
        model = tflite_graph.read(content)
        self._finish(model, precision, input_type, output_type)
        unchanged = precision == "fp32" and self._batch is None
        Path(out).write_bytes(content if unchanged else tflite_graph.write(model))
        share = self._check_share(model, precision, Path(out))
        return {
            "files": [out],
            **self._specs(model),
            "runtime_options": {},
            "warnings": [*_left_in_float(model, precision), *_left_weights(share, precision)],
            "steps": {"method": method, "float_layers": float_layers},
            "quantized_share": share,
        }

    def _finish(
        self, model: tflite_graph.Model, precision: str, input_type: str, output_type: str
    ) -> None:
        """What LiteRT Quantizer leaves to be done: fixed shapes, LSTM weights, I/O types."""
        if self._batch is not None:
            tflite_graph.close_shapes(model)
        if precision == "int8-dynamic":
            tflite_recurrent.quantize_lstm_weights(model)
        if precision in LEVELS:
            tflite_graph.set_interface(model, input_type, output_type)
        elif (input_type, output_type) != ("float32", "float32"):
            raise ConversionError(
                f"{precision} has no integer activations, so no {input_type} inputs or"
                f" {output_type} outputs",
                "leave out --input-type and --output-type, or use --precision int8",
            )

    def store_sparsely(self, path: str, precision: str) -> list[str]:
        """Makes an artifact smaller whose weights are mostly zeros, where LiteRT runs that alike.

        Args:
            path: What `convert` wrote; written anew.
            precision: What it was made at.

        Returns:
            The names of the tensors that are sparse now.
        """
        made = tflite_sparse.encode(Path(path).read_bytes(), precision)
        if made is None:
            return []
        Path(path).write_bytes(made[0])
        return made[1]

    def rank_layers(self, samples: str, artifact: str, limit: int) -> list[dict[str, Any]]:
        """Operators by the noise that quantization adds in them, worst first.

        An operator's own contribution is the noise-to-signal power ratio at its output minus the
        largest one among its inputs, averaged over the samples.

        Args:
            samples: Calibration samples.
            artifact: The quantized .tflite, made from the float model that is open.
            limit: How many operators to name at most.
        """
        noise = tflite_noise.noise_by_tensor(
            self._path, Path(artifact), chunks.read(Path(samples)), self._inputs
        )
        added = tflite_noise.added_by_operator(tflite_graph.read(self._content), noise)
        return [
            {"layer": name, "sqnr_db": _decibels(power)}
            for power, name in added[:limit]
            if power > 0
        ]

    def _statistics(self, samples: str) -> tflite_calibration.Collected:
        if samples not in self._collected:
            self._collected[samples] = tflite_calibration.collect(
                self._path, chunks.read(Path(samples)), self._inputs
            )
        return self._collected[samples]

    def _ranges(
        self, precision: str, method: str | None, samples: str | None, overrides: dict[str, str]
    ) -> dict[str, tflite_calibration.Range] | None:
        if precision not in LEVELS:
            return None
        assert samples is not None, "static precisions come with calibration samples"
        assert method is not None, "static precisions have calibration methods"
        chosen = dict(self._ranges_by(method, samples, LEVELS[precision]))
        for name, other in overrides.items():
            chosen[name] = self._ranges_by(other, samples, LEVELS[precision])[name]
        return chosen

    def _ranges_by(
        self, method: str, samples: str, levels: int
    ) -> dict[str, tflite_calibration.Range]:
        key = (method, samples, levels)
        if key not in self._ranges_known:
            statistics = self._statistics(samples)
            trained = method == trained_ranges.METHOD
            found = tflite_calibration.ranges(
                statistics, "minmax" if trained else method, levels=levels
            )
            self._ranges_known[key] = {**found, **self._trained} if trained else found
        return self._ranges_known[key]

    def _quantize(
        self,
        precision: str,
        method: str | None,
        chosen: dict[str, tflite_calibration.Range] | None,
        float_layers: list[str],
        per_tensor: list[str],
    ) -> bytes:
        if precision == "fp32":
            return self._content
        rules = tflite_rules.rules(precision, method, per_tensor, float_layers)
        calibrated = {
            name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
            for name, (low, high) in (chosen or {}).items()
        }
        try:
            result = quantizer.Quantizer(self._content, rules).quantize(
                calibrated or None, enable_progress_bar=False, enable_progress_report=False
            )
        except (ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
            raise ConversionError(
                f"LiteRT Quantizer cannot make {self._path.name} {precision}: {error}",
                _way_out(precision, self._recurrent),
            ) from error
        return bytes(result.quantized_model)

    def _check_share(self, model: tflite_graph.Model, precision: str, out: Path) -> float | None:
        elements = tflite_graph.weight_elements(model)
        total = sum(elements.values())
        if precision == "fp32" or not total:
            return None
        share = elements.get(WEIGHT_TYPE.get(precision, "int8"), 0) / total
        if share < MINIMUM_SHARE:
            out.unlink()
            raise ConversionError(
                f"{precision} would reach only {share:.0%} of the weights of {self._path.name}",
                _way_out(precision, self._recurrent),
            )
        return share

    def _specs(self, model: tflite_graph.Model) -> dict[str, Any]:
        graph = model.subgraphs[0]
        named_in, named_out = tflite_graph.input_names(model), tflite_graph.output_names(model)
        return {
            "inputs": _plain(
                tflite_graph.spec_of(graph.tensors[i], n) for n, i in named_in.items()
            ),
            "outputs": _plain(
                tflite_graph.spec_of(graph.tensors[i], n) for n, i in named_out.items()
            ),
        }


def _plain(specs: Any) -> list[dict[str, Any]]:
    built: list[dict[str, Any]] = [msgspec.to_builtins(spec) for spec in specs]
    return built


def _check_names(have: dict[str, int], wanted: list[dict[str, Any]], side: str) -> None:
    names = {TensorSpec(**spec).name for spec in wanted}
    if names != set(have):
        raise ConversionError(
            f"the float TFLite model has {side} {sorted(have)}, its source {sorted(names)}",
            "report this with the model's inspect output",
        )


def _check_batch(inputs: list[dict[str, Any]], batch: int | None, name: str) -> None:
    """A .tflite keeps its batch: its inner shapes were made for it, an open one for batch 1."""
    for spec in inputs:
        own = spec["shape"][0] if spec["shape"] else batch
        if own != batch and not (own is None and batch == 1):
            have, asked = ("dynamic" if size is None else size for size in (own, batch))
            raise ConversionError(
                f"input '{spec['name']}' of {name} has batch {have}, and asked was {asked}",
                f"use --batch {have}, or convert from the Keras model",
            )


def _left_in_float(model: tflite_graph.Model, precision: str) -> list[str]:
    names = tflite_graph.float_operators(model) if precision in LEVELS else ()
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [f"{len(names)} operators stay in float: {shown}"]


def _left_weights(share: float | None, precision: str) -> list[str]:
    if share is None or share > 0.995:
        return []
    return [f"{precision} reaches {share:.0%} of the weights; the others keep their type"]


def _way_out(precision: str, recurrent: tuple[str, ...]) -> str:
    if recurrent and precision != "int8-dynamic":
        return "use --precision int8-dynamic, which suits recurrent layers"
    return "use --precision int8-weight" if precision != "int8-weight" else "use --precision fp16"


def _decibels(noise_to_signal: float) -> float:
    return float(-10 * np.log10(max(noise_to_signal, 1e-12)))
