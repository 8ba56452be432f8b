"""Draws what a conversion looks at: calibration samples, choosing samples, the test role.

Roles are kept apart: ranges come from calibration samples, the ladder looks at val, and test is
read once. The source's outputs are taken here, while the source is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, data_linting, metrics
from edgekit.chunks import Arrays
from edgekit.data import Dataset, open_data
from edgekit.errors import DataError
from edgekit.ladder import Judge
from edgekit.manifest_types import ConversionPlan
from edgekit.types import STATIC_PRECISIONS, Batch, DataRef, ModelInfo, Role, TensorSpec
from edgekit.workers import Worker

CALIBRATION_SAMPLES = 200
PARITY_SAMPLES = 32
PROBE_SAMPLES = 8
CHOOSING_SAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Sampled:
    """Samples and the source's outputs for them, as chunk directories.

    `choosing` and `final` are there where a drop has to be judged.
    """

    calibration: Path
    calibration_outputs: Path
    real_data: bool
    data: DataRef | None
    choosing: Judge | None
    final: Judge | None
    warnings: tuple[str, ...]


def draw(plan: ConversionPlan, info: ModelInfo, worker: Worker, directory: Path) -> Sampled:
    """Draws the samples that a plan needs and takes the source's outputs for them.

    Raises:
        DataError: The data does not fit the model.
    """
    if plan.data is None:
        return _probes(plan, info, worker, directory)
    dataset = open_data(
        plan.data,
        inputs=info.inputs,
        preprocess=plan.preprocess,
        seed=plan.seed,
        group_size=group_size(plan.metric, info),
    )
    needed = plan.precision in (*STATIC_PRECISIONS, "int4-weight")
    drawn = dataset.calibration(CALIBRATION_SAMPLES if needed else PARITY_SAMPLES, plan.seed)
    calibration = directory / "calibration"
    chunks.write(calibration, [drawn.x])
    outputs = _reference(worker, calibration)
    warnings = data_linting.lint_dataset(dataset, predictor(worker, directory))
    choosing = final = None
    if plan.max_drop is not None:
        # Where there is no val role, dataset.notes say that calibration samples choose.
        role: Role = "val" if "val" in dataset.roles else "calib"
        choosing = judge(plan.metric, info, worker, dataset, role, directory)
        final = judge(plan.metric, info, worker, dataset, "test", directory)
    reference = msgspec.structs.replace(dataset.ref, metric=plan.metric)
    return Sampled(calibration, outputs, True, reference, choosing, final, warnings)


def _probes(plan: ConversionPlan, info: ModelInfo, worker: Worker, directory: Path) -> Sampled:
    calibration = directory / "calibration"
    random = np.random.default_rng(plan.seed)
    chunks.write(calibration, [{spec.name: _probe(spec, random) for spec in info.inputs}])
    warning = (
        f"no --data was given: parity was checked on {PROBE_SAMPLES} random probes, not on real"
        " samples"
    )
    outputs = _reference(worker, calibration)
    return Sampled(calibration, outputs, False, None, None, None, (warning,))


def _probe(spec: TensorSpec, random: np.random.Generator) -> NDArray[np.generic]:
    """Random input: standard normal, or 0 and 1 where the input takes whole numbers."""
    shape = (PROBE_SAMPLES, *(size or 16 for size in spec.shape[1:]))
    if spec.dtype.startswith(("int", "uint", "bool")) and spec.scale is None:
        return random.integers(0, 2, shape).astype(spec.dtype)
    return random.standard_normal(shape).astype(np.float32)


def group_size(metric: str | None, info: ModelInfo) -> int:
    """Samples that a user's metric keeps together; the built-in ones judge each alone."""
    return metrics.group_size(metric, info.outputs)


def judge(
    metric_name: str | None,
    info: ModelInfo,
    worker: Worker,
    dataset: Dataset,
    role: Role,
    directory: Path,
) -> Judge:
    """Reads a role (val thinned) and takes the source's accuracy on it.

    Raises:
        DataError: The role is not there, or labels and metric do not suit the model.
    """
    samples = directory / f"judge-{role}"
    labels: list[NDArray[np.generic]] = []
    step = _step(dataset, role)
    chunks.write(samples, _arrays(dataset.batches(role), labels, step))
    joined = np.concatenate(labels) if labels else None
    if joined is None and metric_name is None:
        raise DataError(
            f"labels for the {role} role are needed to judge it, and {dataset.spec} has none there",
            f"add y_{role}, or name --metric mse or file.py:function",
        )
    metric = metrics.resolve(metric_name, outputs=info.outputs, labels=joined)
    outputs = chunks.read_all(_outputs(worker, samples))
    seen = chunks.read_all(samples) if metric.needs_x else None
    source = metrics.of_labels(metric.evaluate(seen, joined, outputs), joined)
    return Judge(samples, joined, metric, source, metric.right(seen, joined, outputs))


def _step(dataset: Dataset, role: Role) -> int:
    """Every how many-th sample is looked at: test whole, the choosing samples thinned."""
    count = dataset.roles.get(role)
    return 1 if role == "test" or not count else max(1, count // CHOOSING_SAMPLES)


def _arrays(
    batches: Iterator[Batch], labels: list[NDArray[np.generic]], step: int
) -> Iterator[Arrays]:
    seen = 0
    for batch in batches:
        size = len(next(iter(batch.x.values())))
        picked = slice(-seen % step, None, step)
        seen += size
        if batch.y is not None:
            labels.append(batch.y[picked])
        chosen = {name: array[picked] for name, array in batch.x.items()}
        if len(next(iter(chosen.values()))):
            yield chosen


def _reference(worker: Worker, samples: Path) -> Path:
    """The source's outputs, which have to be numbers: nothing can be compared with NaN."""
    outputs = _outputs(worker, samples)
    for arrays in chunks.read(outputs):
        metrics.check_finite_outputs(arrays)
    return outputs


def _outputs(worker: Worker, samples: Path) -> Path:
    outputs = samples.with_name(f"{samples.name}-source")
    worker.call("predict", samples=str(samples), outputs=str(outputs))
    return outputs


def predictor(worker: Worker, directory: Path) -> data_linting.Predict:
    """The source model as a function, for the linter."""
    counter = iter(range(1_000_000))

    def predict(arrays: Mapping[str, NDArray[np.generic]]) -> Arrays:
        samples = directory / f"lint-{next(counter)}"
        written = chunks.write(samples, [arrays])
        assert written, "the linter looks at samples"
        return chunks.read_all(_outputs(worker, samples))

    return predict
