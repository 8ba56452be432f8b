"""`edgekit inspect --sensitivity`: what each layer bears, one changed at a time, none trained.

The samples are those that choose (val, or calibration samples), never the test role's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import (
    conversion_plan,
    data_linting,
    intervals,
    layer_changes,
    loading,
    metric_names,
    metrics,
    sampling,
    units,
)
from edgekit.chunks import Arrays
from edgekit.data import Dataset, open_data
from edgekit.errors import ModelError
from edgekit.inspect_types import (
    ChangeEffect,
    LayerChange,
    LayerSensitivity,
    SensitivityFindings,
)
from edgekit.inspection import COMPRESSOR
from edgekit.layer_changes import Change, Changing
from edgekit.metrics import Metric
from edgekit.parity import QUANTIZED_LOUD_DB
from edgekit.types import Accuracy, ModelFile, ModelInfo, Role
from edgekit.workers import Worker, scratch

CHANGES: Mapping[LayerChange, Change] = {
    "prune50": {"share": 0.5},
    "prune75": {"share": 0.75},
    "prune90": {"share": 0.9},
    "int8": {"bits": 8},
    "int4": {"bits": 4},
}
_BEARABLE: tuple[LayerChange, ...] = ("prune50", "int8")
"""What a layer that is not sensitive bears."""


@dataclass(frozen=True, slots=True)
class _Labelled:
    """How outputs are judged: None of it where the samples have no labels and no metric."""

    metric: Metric
    x: Arrays
    labels: NDArray[np.generic] | None
    source: Accuracy
    source_right: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class _Effect:
    change: LayerChange
    sqnr_db: float
    accuracy: Accuracy | None
    p_value: float | None


def measure(
    path: str | Path,
    *,
    data: str,
    preprocess: str | None = None,
    metric: str | None = None,
    seed: int = 0,
    trust: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[ModelInfo, SensitivityFindings]:
    """Changes each layer of a model alone, and judges what the model then answers.

    Args:
        path: .keras, .h5 or a SavedModel with its layers.
        data: A data SPEC; its val role is looked at, or its calibration samples.
        preprocess: How raw data becomes model input; default: what the manifest recorded.
        metric: What accuracy is; default: what suits outputs and labels.
        seed: Of the draw of at most `layer_changes.SAMPLES` samples.
        trust: Load models whose code cannot be known to be safe.
        on_progress: Told each layer.

    Raises:
        UsageError, DataError: The data or metric cannot be used.
        ModelError: It is missing, damaged or unsafe, or has no layers with kernels.
    """
    say = on_progress or (lambda _text: None)
    metric_names.check_name(metric)
    file = _keras_file(path, trust)
    how, notes = conversion_plan.preprocess_of(file, preprocess)
    opened = loading.opened(file, trust=trust, reference=COMPRESSOR)
    with scratch() as directory, opened as (worker, info):
        subjects = worker.call("changeable_kernels")
        group_size = sampling.group_size(metric, info)
        dataset = open_data(
            data, inputs=info.inputs, preprocess=how, seed=seed, group_size=group_size
        )
        role: Role = "val" if "val" in dataset.roles else "calib"
        samples = directory / "samples"
        drawn = layer_changes.draw(dataset, role, seed, samples, group_size)
        changing = Changing(worker, samples, subjects)
        metrics.check_finite_outputs(changing.reference)
        labelled = _labelled(metric, info, drawn.x, drawn.y, changing.reference)
        warnings = tuple(_warnings(dataset, worker, directory, labelled))
        for text in (*notes, *warnings):
            say(f"warning: {text}")
        count = len(next(iter(drawn.x.values())))
        say(f"{len(subjects)} layers, {len(CHANGES)} changes each, on {count} {role} samples")
        layers = _layers(changing, labelled, say)
    reference = msgspec.structs.replace(dataset.ref, metric=metric)
    accuracy = labelled.source if labelled else None
    return info, SensitivityFindings(
        reference, role, count, seed, accuracy, layers, (*notes, *warnings)
    )


def _keras_file(path: str | Path, trust: bool) -> ModelFile:
    file = loading.identify(path, trust=trust)
    if file.family != "keras":
        raise ModelError(
            f"{file.path} is a .{file.format} model, and --sensitivity changes the kernels of Keras"
            " layers",
            "inspect the Keras model that it was made from; edgekit compare --layers says which"
            " layers of an artifact are bad",
        )
    return file


def _labelled(
    name: str | None,
    info: ModelInfo,
    x: Arrays,
    labels: NDArray[np.generic] | None,
    reference: Arrays,
) -> _Labelled | None:
    if labels is None and name is None:
        return None
    metric = metrics.resolve(name, outputs=info.outputs, labels=labels)
    source = metrics.of_labels(metric.evaluate(x, labels, reference), labels)
    return _Labelled(metric, x, labels, source, metric.right(x, labels, reference))


def _warnings(
    dataset: Dataset, worker: Worker, directory: Path, labelled: _Labelled | None
) -> Iterator[str]:
    yield from data_linting.lint_dataset(dataset, sampling.predictor(worker, directory))
    if labelled is None:
        yield f"{dataset.spec} has no labels: layers are judged by SQNR alone"


def _layers(
    changing: Changing, labelled: _Labelled | None, say: Callable[[str], None]
) -> tuple[LayerSensitivity, ...]:
    """Every layer, the one with the lowest median SQNR first."""
    found: list[list[_Effect]] = []
    started = time.monotonic()
    total = len(changing.subjects)
    for number, subject in enumerate(changing.subjects):
        left = ""
        if number:
            left_s = (time.monotonic() - started) / number * (total - number)
            left = f", about {units.duration(left_s)} left"
        say(f"layer {number + 1}/{total}: {subject['name']}{left}")
        found.append(list(_effects(changing, str(subject["name"]), labelled)))
    beyond_chance = iter(_beyond_chance(found, labelled))
    layers = [
        _layer(subject, [_told(one, labelled, next(beyond_chance)) for one in effects])
        for subject, effects in zip(changing.subjects, found, strict=True)
    ]
    return tuple(sorted(layers, key=lambda one: median(made.sqnr_db for made in one.effects)))


def _effects(changing: Changing, name: str, labelled: _Labelled | None) -> Iterator[_Effect]:
    for key, change in CHANGES.items():
        outputs = changing.outputs(name, change)
        sqnr_db = changing.sqnr_db(outputs)
        if labelled is None or not _finite(outputs):
            yield _Effect(key, sqnr_db, None, None)
            continue
        made = labelled.metric.evaluate(labelled.x, labelled.labels, outputs)
        right = labelled.metric.right(labelled.x, labelled.labels, outputs)
        p_value = None
        if right is not None and labelled.source_right is not None:
            p_value = intervals.mcnemar_exact(*intervals.discordant(labelled.source_right, right))
        yield _Effect(key, sqnr_db, made, p_value)


def _beyond_chance(
    found: Sequence[Sequence[_Effect]], labelled: _Labelled | None
) -> list[bool | None]:
    """Which effects on accuracy are differences; None where there is no accuracy."""
    every = [one for effects in found for one in effects]
    rejected = iter(intervals.holm([one.p_value for one in every if one.p_value is not None]))
    return [
        _outside(labelled, one.accuracy) if one.p_value is None else next(rejected) for one in every
    ]


def _outside(labelled: _Labelled | None, made: Accuracy | None) -> bool | None:
    if labelled is None or made is None or made.ci95 is None:
        return None
    return not made.ci95[0] <= labelled.source.value <= made.ci95[1]


def _finite(outputs: Arrays) -> bool:
    """Whether a changed model still answers in numbers: a division by zero is no reason to stop."""
    return all(bool(np.isfinite(array).all()) for array in outputs.values())


def _told(effect: _Effect, labelled: _Labelled | None, different: bool | None) -> ChangeEffect:
    made = effect.accuracy
    return ChangeEffect(
        effect.change,
        effect.sqnr_db,
        made.value if made else None,
        metrics.drop(labelled.source, made) if made and labelled else None,
        effect.p_value,
        different,
    )


def _layer(subject: Mapping[str, Any], effects: Sequence[ChangeEffect]) -> LayerSensitivity:
    sensitive = any(_is_damage(one) for one in effects if one.change in _BEARABLE)
    return LayerSensitivity(
        str(subject["name"]), str(subject["kind"]), int(subject["weights"]), sensitive,
        tuple(effects),
    )  # fmt: skip


def _is_damage(effect: ChangeEffect) -> bool:
    if effect.different is None:
        return effect.sqnr_db < QUANTIZED_LOUD_DB
    return effect.different and (effect.drop or 0) > 0
