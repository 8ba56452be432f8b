"""Quantization in the worker: the twin of the open model, its calibration, and what is recorded.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from edgekit.compression import batch_norm, drawing, graph, observing, rebuilding
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.training_data import TrainingData
from edgekit.keras_loading import Loaded
from edgekit.manifest_types import Quantization
from edgekit.recipe_types import Scheme

CALIBRATION_SAMPLES = 512
"""Training samples that ranges are found on before training."""


def folded(model: Any) -> Any:
    """The model with batch normalization in its kernels: itself where there is none to fold."""
    taken = graph.read(model)
    gone, _ = batch_norm.fold_batch_norms(taken)
    return rebuilding.rebuild(taken) if gone else model


def calibrated(
    loaded: Loaded, data: TrainingData, scheme: Scheme, per_tensor: Sequence[str], seed: int
) -> Twin:
    """A twin with the ranges that the float model has on some training samples."""
    twin = Twin(loaded.model, scheme, per_tensor)
    fixed = {spec.shape[0] for spec in loaded.inputs if spec.shape} - {None}
    size = int(fixed.pop() or 1) if fixed else drawing.batch_size(loaded)
    batches = drawing.draw(data, CALIBRATION_SAMPLES, size, seed)
    twin.set_ranges(observing.extremes(observing.observe(twin, (x for x, _ in batches))))
    return twin


def judged(loaded: Loaded, twin: Twin) -> Loaded:
    """The model as it is judged from now on: by what its twin answers."""
    return replace(loaded, call=twin.run)


def record(twin: Twin, mode: Literal["qat", "refined"]) -> Quantization:
    """What `convert` has to know of a quantized model."""
    return Quantization(
        scheme=twin.scheme,
        mode=mode,
        precision="int8",
        per_tensor=twin.per_tensor,
        ranges=twin.ranges(),
        float_layers=dict(twin.rules.float_layers),
    )
