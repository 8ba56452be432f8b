"""Looks at data before it is used, and warns with evidence: the mistakes that raise no error.

Constant outputs, wrong range for the model, one class only, random noise, calibration and test
far apart, duplicates between roles. A false alarm costs more trust than a miss, so every check
has a threshold that correct use does not come near.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit import (
    data_reading,
    lint_distribution,
    lint_range,
    metric_rows,
    preprocess_names,
    preprocessing,
)
from edgekit.data import Dataset
from edgekit.types import Batch, Role, TensorSpec

Array = NDArray[Any]
Predict = Callable[[dict[str, Array]], Mapping[str, Array]]

PREDICTED_SAMPLES = 100
_DRAWN_SAMPLES = 200
_FINGERPRINT_BYTES = 128 << 20
_CONSTANT_TOLERANCE = 1e-6
_LEAST_FOR_ONE_CLASS = 20
_ONE_CLASS_CHANCE = 1e-3
_DUPLICATE_SHARE = 0.01


class _Judged(NamedTuple):
    """Samples of the role that judges, and its labels: all of them where they cost little."""

    role: Role
    batch: Batch
    labels: Array | None


def lint(
    batch_calib: Batch,
    batch_eval: Batch | None,
    predict: Predict,
    *,
    preprocess: str,
    inputs: Sequence[TensorSpec],
) -> tuple[str, ...]:
    """Checks calibration samples, and samples of the role that judges, against a model.

    Args:
        batch_calib: Raw calibration samples (`Dataset.raw().calibration()`).
        batch_eval: Raw samples of test, drawn by seed, or None.
        predict: The model: preprocessed arrays by input name → arrays by output name, the judged
            one first. Called with at most 100 samples, once and per alternative preprocessing.
        preprocess: The value of `--preprocess` in use.
        inputs: The model's inputs.

    Returns:
        One line per warning, with the figures and what to type.
    """
    prints = [
        data_reading.fingerprint([batch], _FINGERPRINT_BYTES)
        for batch in (batch_calib, batch_eval)
        if batch is not None
    ]
    copies = [_copies("test", prints[1], "calib", prints[0])] if len(prints) == 2 else []
    judged = None if batch_eval is None else _Judged("test", batch_eval, batch_eval.y)
    return _warnings(batch_calib, judged, predict, preprocess, inputs, copies)


def lint_dataset(dataset: Dataset, predict: Predict) -> tuple[str, ...]:
    """As `lint`, drawing the samples itself and comparing whole roles for duplicates."""
    raw = dataset.raw()
    calib = raw.calibration(_DRAWN_SAMPLES)
    judging: Role | None = next((role for role in ("test", "val") if role in raw.parts), None)
    judged = None
    if judging is not None:
        batch, labels = raw.sample(judging, _DRAWN_SAMPLES), raw.labels(judging)
        judged = _Judged(judging, batch, batch.y if labels is None else labels)
    preprocess = dataset.preprocess.text
    return _warnings(calib, judged, predict, preprocess, dataset.inputs, _duplicates(raw))


def _warnings(
    calib: Batch,
    judged: _Judged | None,
    predict: Predict,
    preprocess: str,
    inputs: Sequence[TensorSpec],
    copies: Sequence[str],
) -> tuple[str, ...]:
    probe = _probe(calib, None if judged is None else judged.batch)
    outputs = _applied(predict, probe, preprocess, inputs)
    first = next(iter(outputs.values()))
    wrong_range = lint_range.warning(
        probe, first, preprocess, inputs, lambda text: _first(predict, probe, text, inputs)
    )
    found = [
        # One cause, one line: wrong scaling is what usually makes outputs constant.
        wrong_range or _constant(probe, outputs) or _one_prediction(probe.y, first),
        _one_class(calib.y, judged, first),
        lint_distribution.noise(calib, inputs),
        *copies,
    ]
    if judged is not None:
        found.append(lint_distribution.shift(calib, judged.batch, inputs, judged.role))
    return tuple(line for line in found if line)


def _probe(calib: Batch, judged: Batch | None) -> Batch:
    """At most 100 samples, with labels where there are any; judging ones only where needed."""
    samples = calib
    if judged is not None and judged.y is not None:
        few = data_reading.batch_length(calib) < PREDICTED_SAMPLES
        if calib.y is None:
            samples = judged
        elif few and calib.y.shape[1:] == judged.y.shape[1:]:
            samples = data_reading.join([calib, judged])
    count = data_reading.batch_length(samples)
    # Evenly spaced: data may be sorted by class.
    spread = np.linspace(0, count - 1, min(count, PREDICTED_SAMPLES)).astype(np.intp)
    return data_reading.take(samples, spread)


def _applied(
    predict: Predict, probe: Batch, preprocess: str, inputs: Sequence[TensorSpec]
) -> Mapping[str, Array]:
    return predict(preprocessing.apply(preprocess_names.parse(preprocess), probe.x, inputs))


def _first(predict: Predict, probe: Batch, preprocess: str, inputs: Sequence[TensorSpec]) -> Array:
    return next(iter(_applied(predict, probe, preprocess, inputs).values()))


def _constant(probe: Batch, outputs: Mapping[str, Array]) -> str:
    n = data_reading.batch_length(probe)
    if n < 2:
        return ""
    if all((array == array[:1]).all() for array in probe.x.values()):
        return f"all {n} samples looked at are identical: check how the data was made"
    for array in outputs.values():
        spread = np.ptp(array.astype(np.float64), axis=0).max()
        if spread > _CONSTANT_TOLERANCE * max(1.0, float(np.abs(array).max())):
            return ""
    name, values = next(iter(outputs.items()))
    shown = ", ".join(f"{value:.4g}" for value in values[0].ravel()[:3])
    return (
        f"the outputs are the same for all {n} samples ({name}: {shown}, …) though the inputs "
        "differ: check --preprocess and the model's weights"
    )


def _one_prediction(labels: Array | None, output: Array) -> str:
    if labels is None or not lint_range.is_classifier(output) or len(output) < 2:
        return ""
    if not metric_rows.are_classes(labels, output.shape[1]):
        return ""
    truth = metric_rows.class_numbers(labels, output.shape[1], "top1")
    named, counts = np.unique(truth, return_counts=True)
    predicted = np.unique(output.argmax(axis=1))
    if len(predicted) > 1 or len(output) < _LEAST_FOR_ONE_CLASS:
        return ""
    if len(named) < 3 or counts.max() > len(truth) / 2:
        return ""
    return (
        f"the model predicts class {predicted[0]} for all {len(output)} samples, whose labels "
        f"name {len(named)} classes: check --preprocess, and that model and data belong together"
    )


def _one_class(calib: Array | None, judged: _Judged | None, output: Array) -> str:
    if judged is None:
        return ""
    (seen, size), (named, total) = (_classes(y, output) for y in (calib, judged.labels))
    if len(named) == 1 and total >= _LEAST_FOR_ONE_CLASS:
        return (
            f"all {total} {judged.role} labels are {next(iter(named))}: accuracy on one class says "
            "nothing of the others; add samples of every class"
        )
    if len(seen) != 1 or len(named) < 2:
        return ""
    only = next(iter(seen))
    share = named.get(only, 0) / total
    # Draws from rare-event data may well hold one class only; that is no mistake.
    if share**size >= _ONE_CLASS_CHANCE:
        return ""
    return (
        f"all {size} calibration samples are of class {only}, which is {share:.1%} of the "
        f"{judged.role} samples: give calibration samples of every class (x_calib)"
    )


def _classes(labels: Array | None, output: Array) -> tuple[dict[int, int], int]:
    classes = 2 if output.shape[-1] == 1 else output.shape[-1]
    if labels is None or output.ndim != 2 or not metric_rows.are_classes(labels, classes):
        return {}, 0
    numbers = metric_rows.class_numbers(labels, classes, "top1")
    named, counts = np.unique(numbers, return_counts=True)
    return dict(zip(named.tolist(), counts.tolist(), strict=True)), len(numbers)


def _duplicates(dataset: Dataset) -> list[str]:
    parts = dataset.parts
    pools = {part.pool for part in parts.values()}
    prints = {pool: dataset.reader.fingerprints(pool, _FINGERPRINT_BYTES) for pool in pools}
    roles: list[Role] = [role for role in ("test", "val", "train") if role in parts]
    # Calibration samples are mostly training samples: only their own set adds a comparison.
    if "calib" in parts and parts["calib"] is not parts.get("train"):
        roles.append("calib")
    return [
        _copies(role, _prints(dataset, role, prints), other, _prints(dataset, other, prints))
        for role, other in itertools.combinations(roles, 2)
        if (role, other) != ("train", "calib")
    ]


def _prints(
    dataset: Dataset, role: Role, prints: Mapping[Role, NDArray[np.uint64]]
) -> NDArray[np.uint64]:
    part = dataset.parts[role]
    known = prints[part.pool]
    return known if part.numbers is None else known[part.numbers[part.numbers < len(known)]]


def _copies(role: str, own: NDArray[np.uint64], other_role: str, other: NDArray[np.uint64]) -> str:
    shared = int(np.isin(own[own != 0], other).sum())
    back = int(np.isin(other[other != 0], own).sum())
    if min(shared, back) < 2:
        return ""
    if max(shared / len(own), back / len(other)) < _DUPLICATE_SHARE:
        return ""
    return (
        f"{shared} of {len(own)} {role} samples are also in {other_role} ({len(other)} compared): "
        f"figures on {role} will look better than they are; remove them from {other_role}"
    )
