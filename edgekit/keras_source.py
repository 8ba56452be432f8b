"""Reads Keras models and SavedModels: runs them, and exports them for the converters.

Imports TensorFlow: for workers only (`edgekit.workers.Worker("edgekit.keras_source:Source", …)`).
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tensorflow as tf

from edgekit import chunks, frozen_graph, keras_export, keras_layers, loading, registry
from edgekit.chunks import Arrays
from edgekit.compression import quantizing
from edgekit.compression.identities import WITHOUT_OPERATOR
from edgekit.compression.simplify import simplify
from edgekit.errors import DataError, EdgekitError, one_line
from edgekit.keras_loading import LOADER_ERRORS, Loaded, load, of_model
from edgekit.manifest_types import Quantization
from edgekit.targets import runner_error
from edgekit.targets.runner import batching
from edgekit.targets.runner.protocol import RunnerError
from edgekit.types import LayerInfo, ModelFile, ModelInfo

BATCH_ELEMENTS = 1 << 18
MAX_BATCH = 64
PROBES = 4
"""Real samples that a simplified model is compared on before it is exported."""


class Source:
    """One open model."""

    def __init__(self) -> None:
        gc.freeze()  # what the imports made stays; collections need not look at it again
        self._loaded: Loaded | None = None
        self._functions: dict[int | None, Any] = {}

    def open(self, path: str, trust: bool = False) -> dict[str, Any]:
        """Opens a model in place of the one before.

        Args:
            path: A .keras or .h5 file, or a SavedModel directory.
            trust: Run code that the file carries.

        Returns:
            A ModelInfo as plain data.

        Raises:
            ModelError: See `loading.identify`; or it cannot be loaded or replayed.
        """
        self._loaded, self._functions = None, {}
        file = loading.identify(path, trust=trust, isolated=False)
        self._loaded = load(file, trust=trust)
        answer: dict[str, Any] = msgspec.to_builtins(self._info(file))
        return answer

    def predict(self, samples: str, outputs: str) -> None:
        """Runs a directory of samples through the model.

        Args:
            samples: A directory of `edgekit.chunks`, arrays [n, …] by input name.
            outputs: The directory to write, arrays [n, …] by output name, batch by batch.

        Raises:
            DataError: The samples do not fit the model, or it fails on them.
        """
        batch = self._fixed_batch() or _predict_batch(self._model())
        function = self._function(None if batch > 1 and not self._fixed_batch() else batch)
        session = _Session(self._model(), function, batch)
        chunks.write(Path(outputs), (session.run(batch) for batch in chunks.read(Path(samples))))

    def simplify(self, samples: str, multiple: int, channels: bool = True) -> dict[str, Any]:
        """Removes what does not change the outputs, and would change what is exported.

        Converters see the model at inference and fold batch normalization themselves: Dropout and
        BatchNormalization leave no operator in TFLite, whether they are removed here or not. What
        they cannot know is which channels are dead.

        Args:
            samples: A directory of `edgekit.chunks` with real inputs to compare on.
            multiple: Channel counts that are multiples of this stay so.
            channels: Remove dead channels; see `simplify.simplify`.

        Returns:
            `report`: a `recipe_types.Simplification` as plain data, None if the model was left as
            it is because it cannot be taken apart; `obstacle` then says why.
        """
        loaded = self._model()
        if loaded.model is None:
            return {"report": None, "obstacle": "it carries its computation only, and no layers"}
        try:
            changed, report = simplify(
                loaded.model,
                probes=self._probes(Path(samples)),
                multiple=multiple,
                channels=channels,
                not_alone=WITHOUT_OPERATOR,
            )
            if changed is not loaded.model:
                self._replace(changed)
        except EdgekitError as error:
            return {"report": None, "obstacle": error.message}
        except LOADER_ERRORS as error:
            brief = one_line(str(error))[:200] or type(error).__name__
            return {"report": None, "obstacle": f"Keras cannot rebuild it: {brief}"}
        return {"report": msgspec.to_builtins(report), "obstacle": None}

    def extremes(
        self, samples: str, quantization: dict[str, Any], batch: int
    ) -> dict[str, list[float]]:
        """What the tensors that a model's trained ranges belong to can be known by.

        Args:
            samples: A directory of `edgekit.chunks`.
            quantization: `manifest_types.Quantization` as plain data.
            batch: How many samples at once have one lowest and one highest value.

        Returns:
            `converters.trained_ranges.Extremes` by the names of ranges, of those that are there.
        """
        wanted = msgspec.convert(quantization, Quantization)
        batches = chunks.read(Path(samples))
        names = [spec.name for spec in self._model().inputs]
        size = self._fixed_batch() or batch
        return quantizing.extremes(
            self._model().model, wanted, ([one[name] for name in names] for one in batches), size
        )

    def offsets(self) -> dict[str, float]:
        """What layers add as their last operation; see `quantizing.offsets`."""
        return quantizing.offsets(self._model().model)

    def export_tflite(self, path: str, batch: int | None = 1) -> dict[str, Any]:
        """Writes a float32 .tflite; `batch` None leaves the batch dynamic.

        Returns:
            `notes`: what was done that the user may want to know.

        Raises:
            ConversionError: A layer cannot be converted.
        """
        keras_export.to_tflite(self._model(), self._function(batch), Path(path))
        return {"notes": []}

    def export_savedmodel(self, path: str, batch: int | None = 1) -> dict[str, Any]:
        """Writes a frozen SavedModel directory; see `export_tflite`."""
        keras_export.to_savedmodel(self._model(), self._function(batch), Path(path))
        return {"notes": []}

    def export_onnx(self, path: str, batch: int | None = 1) -> dict[str, Any]:
        """Writes a float .onnx whose batch may vary, unless the model's own is fixed."""
        function = self._function(batch if self._fixed_batch() else None)
        registry.exporter("onnx").to_onnx(self._model(), function, Path(path))
        return {"notes": []}

    def _model(self) -> Loaded:
        assert self._loaded is not None, "open comes first"
        return self._loaded

    def _replace(self, model: Any) -> None:
        """Goes on with another Keras model of the same inputs and outputs."""
        old = self._model()
        self._loaded = of_model(model, old.generation, old.notes)
        self._functions = {}
        gc.collect()  # the model before and what was traced of it hold each other

    def _probes(self, samples: Path) -> list[Arrays]:
        """A few samples; none where there are fewer than the model's fixed batch."""
        count = self._fixed_batch() or min(PROBES, _predict_batch(self._model()))
        first = next(iter(chunks.read(samples)))
        if self._fixed_batch() and min(map(len, first.values())) < count:
            return []
        return [{name: array[:count] for name, array in first.items()}]

    def _function(self, batch: int | None) -> Any:
        if batch not in self._functions:
            self._functions[batch] = keras_export.trace(self._model(), batch)
        return self._functions[batch]

    def _fixed_batch(self) -> int | None:
        fixed = {spec.shape[0] for spec in self._model().inputs if spec.shape} - {None}
        return fixed.pop() if fixed else None

    def _info(self, file: ModelFile) -> ModelInfo:
        loaded = self._model()
        layers = tuple(self._layers())
        counted = [layer.macs for layer in layers if layer.macs is not None]
        return ModelInfo(
            path=file.path,
            format=file.format,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            inputs=loaded.inputs,
            outputs=loaded.outputs,
            layers=layers,
            parameters=self._parameters(layers),
            macs=sum(counted) if counted else None,
            generation=loaded.generation,
            precision=_precision(layers),
            uncounted=tuple(sorted({layer.kind for layer in layers if layer.macs is None})),
            notes=loaded.notes,
        )

    def _parameters(self, layers: Sequence[LayerInfo]) -> int:
        loaded = self._model()
        if loaded.model is not None:
            return int(loaded.model.count_params())
        variables = self._function(self._fixed_batch() or 1).variables
        if not variables:  # a frozen graph keeps them as constants
            return sum(layer.parameters for layer in layers)
        return sum(math.prod(variable.shape) for variable in variables)

    def _layers(self) -> Sequence[LayerInfo]:
        loaded = self._model()
        if loaded.model is not None:
            return list(keras_layers.of_model(loaded.model))
        batch = self._fixed_batch() or 1
        frozen, _ = frozen_graph.freeze(frozen_graph.with_fixed_batch(self._function(batch), batch))
        return list(keras_layers.of_graph(frozen.graph))


class _Session:
    """A concrete function in the form that `batching.predict` drives."""

    failures = (tf.errors.OpError, ValueError)

    def __init__(self, loaded: Loaded, function: Any, batch: int) -> None:
        self._function, self._batch = function, batch
        self._given: list[Any] = []
        self._made: list[Any] = []
        self.inputs = [msgspec.to_builtins(spec) for spec in loaded.inputs]
        self.outputs = [msgspec.to_builtins(spec) for spec in loaded.outputs]

    def run(self, arrays: Arrays) -> dict[str, Any]:
        """Outputs [n, …] for inputs [n, …]."""
        try:
            return batching.predict(self, arrays, self._batch)
        except RunnerError as error:
            raise runner_error(error.about, error.message, error.fix) from None

    def set_inputs(self, arrays: dict[str, Any]) -> None:
        """The inputs of the next invoke."""
        self._given = [tf.constant(arrays[entry["name"]]) for entry in self.inputs]

    def invoke(self) -> None:
        """One call."""
        try:
            self._made = self._function(*self._given)
        except tf.errors.OpError as error:
            raise DataError(
                f"the model fails on these samples: {one_line(error.message)[:300]}",
                "check --data and --preprocess",
            ) from None

    def get_outputs(self) -> dict[str, Any]:
        """The outputs of the last invoke."""
        names = (entry["name"] for entry in self.outputs)
        return {name: np.asarray(value) for name, value in zip(names, self._made, strict=True)}

    def forget(self) -> None:
        """Nothing is carried from one call to the next."""


def _predict_batch(loaded: Loaded) -> int:
    elements = sum(math.prod(size or 64 for size in spec.shape[1:]) for spec in loaded.inputs)
    return max(1, min(MAX_BATCH, BATCH_ELEMENTS // max(1, elements)))


def _precision(layers: Sequence[LayerInfo]) -> str | None:
    stored = {layer.dtype for layer in layers if layer.parameters}
    return (
        {"float32": "fp32", "float16": "fp16"}.get(stored.pop() or "") if len(stored) == 1 else None
    )
