"""Looks into Keras models and SavedModels: every activation of the graph that converters see.

For workers (`edgekit.workers.Worker("edgekit.layer_keras:Layers", …)`). The graph, and not the
layers' outputs: a Dense layer with an activation has two tensors that matter, and the names of its
operations are those that live on in other formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tensorflow as tf

from edgekit import frozen_graph, keras_export, layer_values, loading
from edgekit.keras_loading import Loaded, load
from edgekit.layer_types import PASSED, Role, Tap, family
from edgekit.types import Dimension

BATCH = 8


class Layers:
    """One open model."""

    def open(
        self, path: str, options: Mapping[str, str] | None = None, trust: bool = False
    ) -> list[dict[str, Any]]:
        """Opens a model; see `layer_tflite.Layers.open`."""
        del options
        loaded = load(loading.identify(path, trust=trust, isolated=False), trust=trust)
        fixed = {spec.shape[0] for spec in loaded.inputs if spec.shape} - {None}
        self._size: int = next(iter(fixed), None) or BATCH
        function = keras_export.trace(loaded, self._size if fixed else None)
        self._loaded = loaded
        self._frozen, _ = frozen_graph.freeze(function)
        taps, self._tensors = _taps(loaded, self._frozen)
        return [msgspec.to_builtins(tap) for tap in taps]

    def trace(self, samples: str, values: str, wanted: Sequence[int] | None = None) -> None:
        """Runs samples and writes the values of taps; see `layer_values.trace`."""
        kept = layer_values.positions(wanted, len(self._tensors))
        specs = self._loaded.inputs
        pruned = self._frozen.prune(
            self._frozen.inputs[: len(specs)], [self._tensors[at] for at in kept]
        )

        def run(arrays: Mapping[str, Any]) -> dict[int, Any]:
            given = [tf.constant(arrays[spec.name], spec.dtype) for spec in specs]
            found = pruned(*given)
            return {at: value.numpy() for at, value in zip(kept, found, strict=True)}

        layer_values.trace(Path(samples), Path(values), run, self._size)


def _taps(loaded: Loaded, frozen: Any) -> tuple[list[Tap], list[Any]]:
    taps: list[Tap] = []
    tensors: list[Any] = []
    origin: dict[str, int] = {}

    def add(tensor: Any, kind: str, sources: tuple[int, ...], role: Role, port: str | None) -> None:
        origin[tensor.name] = len(taps)
        name = tensor.op.name if port is None else port
        aliases = tuple(dict.fromkeys((tensor.op.name, name)))
        taps.append(
            Tap(name, aliases, kind, family(kind), _shape(tensor), sources, role=role, port=port)
        )
        tensors.append(tensor)

    for tensor, spec in zip(frozen.inputs, loaded.inputs, strict=False):
        add(tensor, "Input", (), "input", spec.name)
    for operation in frozen.graph.get_operations():
        names = [tensor.name for tensor in operation.inputs]
        sources = tuple(dict.fromkeys(origin[name] for name in names if name in origin))
        if not sources:
            continue
        for tensor in operation.outputs:
            if tensor.dtype != tf.float32 or tensor.shape.rank in (None, 0):
                continue
            if operation.type in PASSED and len(sources) == 1:
                origin[tensor.name] = sources[0]
            else:
                add(tensor, operation.type, sources, "inner", None)
    for tensor, spec in zip(frozen.outputs, loaded.outputs, strict=True):
        at = origin.get(tensor.name)
        if at is not None and taps[at].role == "inner":
            taps[at] = msgspec.structs.replace(taps[at], role="output", port=spec.name)
    return taps, tensors


def _shape(tensor: Any) -> tuple[Dimension, ...]:
    return tuple(None if size is None else int(size) for size in tensor.shape.as_list())
