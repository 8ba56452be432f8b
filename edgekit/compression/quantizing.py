"""Quantization in the worker: the twin of the open model, its calibration, and what is recorded.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import batch_norm, drawing, graph, observing, rebuilding, refining
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.refining import Refinement
from edgekit.compression.training_data import TrainingData
from edgekit.keras_loading import Loaded
from edgekit.manifest_types import Quantization
from edgekit.recipe_types import Scheme

Array = NDArray[Any]

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
    size = _fixed_batch(loaded) or drawing.batch_size(loaded)
    batches = drawing.draw(data, CALIBRATION_SAMPLES, size, seed)
    twin.set_ranges(observing.extremes(observing.observe(twin, (x for x, _ in batches))))
    return twin


def refinement(loaded: Loaded, twin: Twin, data: TrainingData, seed: int) -> Refinement:
    """A refinement of the model on some samples of its training data."""
    own = _fixed_batch(loaded)
    size, fixed = own or refining.BATCH, own is not None
    most = max(refining.SAMPLES, refining.least_samples(size, fixed=fixed))
    numbers = np.random.default_rng(seed).permutation(data.count)[:most]
    inputs, _ = data.batch(0, np.sort(numbers))
    return Refinement(twin, inputs, size, seed, fixed=fixed)


def _fixed_batch(loaded: Loaded) -> int | None:
    fixed = {spec.shape[0] for spec in loaded.inputs if spec.shape} - {None}
    return fixed.pop() if fixed else None


def extremes(
    model: Any, recorded: Quantization, batches: Iterable[Sequence[Array]], size: int
) -> dict[str, list[float]]:
    """What each recorded range's tensor looks like: see `Source.extremes`.

    Args:
        model: The model as it is exported.
        recorded: Of its manifest.
        batches: Inputs in the model's order, in batches of any size.
        size: Consecutive samples that are looked at as one; a rest is left out.
    """
    twin = Twin(model, recorded.scheme, recorded.per_tensor)
    seen = observing.observe(twin, _whole(batches, size))
    found = {}
    for name in set(recorded.ranges) & set(seen):
        lows = seen[name].lows.reshape(-1, size).min(axis=1)
        highs = seen[name].highs.reshape(-1, size).max(axis=1)
        ends = (lows.min(), highs.max(), lows.mean(dtype=float), highs.mean(dtype=float))
        found[name] = [float(end) for end in ends]
    return found


def offsets(model: Any) -> dict[str, float]:
    """What Rescaling layers add to each value, by layer: one number, and not zero."""
    added = {
        name: layer.config.get("offset")
        for name, layer in graph.read(model).layers.items()
        if layer.kind == "Rescaling"
    }
    return {name: float(one) for name, one in added.items() if isinstance(one, int | float) and one}


def _whole(batches: Iterable[Sequence[Array]], size: int) -> Iterator[list[Array]]:
    """Batches whose sizes are multiples, for models of that fixed batch dimension exactly it."""
    for batch in batches:
        count = len(batch[0]) // size * size
        for start in range(0, count, step := max(size, count if size == 1 else size)):
            yield [one[start : start + step] for one in batch]


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
