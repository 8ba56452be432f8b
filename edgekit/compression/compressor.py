"""The open model while a recipe changes it, step by step; runs in a worker (imports Keras)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from edgekit import chunks, keras_loading
from edgekit.compression import channels, graph, rebuilding, simplify
from edgekit.compression.rebuilding import LEAVE
from edgekit.errors import ModelError, one_line
from edgekit.files import unwritable
from edgekit.keras_source import Source
from edgekit.types import Removal

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
SAVED_ON = "1980-01-01@00:00:00"


class Compressor(Source):
    """A source whose model can be changed and saved."""

    def begin(self) -> int:
        """Checks that there is a model of layers to work on; returns its parameters.

        Raises:
            ModelError: Only its computation is known (a SavedModel without layers), or it is
                subclassed.
        """
        return graph.parameters(graph.read(self._layers_of_model()))

    def apply_simplify(self, for_inference: bool, probes: str | None) -> dict[str, Any]:
        """Removes what does not change the outputs.

        Args:
            for_inference: Also fold batch normalization and remove Dropout.
            probes: A directory of `edgekit.chunks` with real inputs to compare on.

        Returns:
            A `types.Simplification` as plain data.

        Raises:
            ModelError, ParityError: See `simplify.simplify`.
        """
        batches = list(chunks.read(Path(probes))) if probes else []
        changed, report = simplify.simplify(
            self._layers_of_model(), probes=batches, for_inference=for_inference
        )
        self._replace(changed)
        answer: dict[str, Any] = msgspec.to_builtins(report)
        return answer

    def apply_channels(
        self, ratio: float, criterion: channels.Criterion, scope: channels.Scope, multiple: int
    ) -> dict[str, Any]:
        """Removes the least important channels; see `channels.prune_channels`.

        Returns:
            `removed` and `kept`, each a list of `types.Removal`, and parameters before and after.
        """
        taken = graph.read(self._layers_of_model())
        before = graph.parameters(taken)
        removed, kept = channels.prune_channels(
            taken, ratio, criterion=criterion, scope=scope, multiple=multiple
        )
        if removed:
            self._replace(rebuilding.rebuild(taken))
        return {
            "removed": _plain(removed),
            "kept": _plain(kept),
            "parameters_before": before,
            "parameters_after": graph.parameters(taken),
        }

    def save(self, path: str) -> None:
        """Writes the model as .keras; the same model gives the same bytes.

        Raises:
            OutputError: The file cannot be written.
            ModelError: Keras cannot save this model.
        """
        try:
            self._layers_of_model().save(path)
            _normalize(Path(path))
        except OSError as error:
            raise unwritable(Path(path), error) from None
        except keras_loading.LOADER_ERRORS as error:
            raise ModelError(
                f"Keras cannot save the compressed model: {one_line(str(error))[:300]}", LEAVE
            ) from None

    def check_saved(self, path: str, trust: bool) -> None:
        """Opens what was saved as a user would, with Keras alone, and compares every weight.

        Raises:
            ModelError: It does not load, or other weights come back.
        """
        try:
            saved = keras.saving.load_model(path, compile=False, safe_mode=not trust)
        except keras_loading.LOADER_ERRORS as error:
            raise ModelError(
                f"Keras cannot load the compressed model: {one_line(str(error))[:300]}", LEAVE
            ) from None
        mine, theirs = self._layers_of_model().get_weights(), saved.get_weights()
        same = len(mine) == len(theirs) and all(
            np.array_equal(left, right, equal_nan=True)
            for left, right in zip(mine, theirs, strict=True)
        )
        if not same:
            raise ModelError("the compressed model was saved, and loads other weights", LEAVE)

    def interface(self) -> dict[str, Any]:
        """`inputs` and `outputs`: TensorSpecs of the model as it is now."""
        loaded = self._model()
        return {
            "inputs": msgspec.to_builtins(loaded.inputs),
            "outputs": msgspec.to_builtins(loaded.outputs),
        }

    def _layers_of_model(self) -> Any:
        model = self._model().model
        if model is None:
            raise ModelError(
                "the model carries its computation only, and compress changes layers",
                "compress the .keras or .h5 file that it was exported from",
            )
        return model

    def _replace(self, model: Any) -> None:
        old = self._model()
        self._loaded = keras_loading.of_model(model, old.generation, old.notes)
        self._functions = {}


def _plain(removals: list[Removal]) -> list[dict[str, Any]]:
    plain: list[dict[str, Any]] = msgspec.to_builtins(removals)
    return plain


def _normalize(path: Path) -> None:
    """Takes dates out of a .keras, and keeps its members uncompressed as Keras writes them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"]) | {"date_saved": SAVED_ON}
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
