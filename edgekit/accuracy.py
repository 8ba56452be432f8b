"""The accuracy of an artifact on a device: the test role goes through the runner, in order.

Samples travel as chunk files, a part of the role at a time. Built-in metrics keep a few numbers
per sample; only a user's function needs the whole role at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import bench_artifacts, bench_rounds, chunks, data_linting, metrics, user_code
from edgekit.bench_artifacts import Measurand
from edgekit.chunks import Arrays
from edgekit.data import Dataset, open_data
from edgekit.metrics import Metric
from edgekit.targets import Device
from edgekit.types import Accuracy, Batch, TensorSpec
from edgekit.workers import scratch

PART_BYTES = 64 << 20
"""Samples on disk at a time; each part costs one start of the runner."""
BATCH_SAMPLES = 64


def describe(device: Device, measurand: Measurand, threads: int) -> Measurand:
    """The same artifact, with inputs and outputs as its runtime tells them.

    Raises:
        ModelError: It cannot be loaded.
    """
    job = bench_artifacts.job(measurand, "describe", threads)
    loaded = bench_rounds.describe(device, job).frames["loaded"]
    return replace(
        measurand,
        inputs=msgspec.convert(loaded["inputs"], tuple[TensorSpec, ...]),
        outputs=msgspec.convert(loaded["outputs"], tuple[TensorSpec, ...]),
    )


def open_dataset(
    measurand: Measurand, spec: str, *, preprocess: str | None, metric: str | None, seed: int
) -> tuple[Dataset, Metric]:
    """Opens `--data` for an artifact and finds its metric, before anything is measured.

    Args:
        measurand: With its inputs and outputs.
        spec: `--data`.
        preprocess: `--preprocess`; default: what the manifest recorded, else "none".
        metric: `--metric`; default: what the manifest recorded, else the metrics' own.
        seed: Of the roles that have to be made.

    Raises:
        UsageError, DataError: See edgekit.data.open_data and edgekit.metrics.resolve.
    """
    name = metric or measurand.metric
    grouped = name is not None and user_code.split(name)
    dataset = open_data(
        spec,
        inputs=measurand.inputs,
        preprocess=preprocess or measurand.preprocess or "none",
        seed=seed,
        group_size=_resolve(name, measurand, None).group_size if grouped else 1,
    )
    labels = dataset.labels("test")
    if labels is None:  # a function's labels come with its samples
        labels = next(dataset.batches("test", BATCH_SAMPLES)).y
    return dataset, _resolve(name, measurand, labels)


def evaluate(
    device: Device, measurand: Measurand, dataset: Dataset, metric: Metric, *, threads: int
) -> Accuracy:
    """Reads the test role once and judges the artifact's outputs.

    Args:
        device: Where the artifact runs.
        measurand: The artifact.
        dataset: Opened for its inputs.
        metric: Resolved for its outputs.
        threads: As measured.

    Raises:
        ModelError, DataError, DeviceError: See edgekit.targets.Device.run and
            edgekit.metrics.Metric.
    """
    kept: list[tuple[Batch, Arrays]] = []
    rows, labels = [], []
    for batches in _parts(dataset.batches("test", BATCH_SAMPLES)):
        for batch, outputs in zip(batches, _run(device, measurand, batches, threads), strict=True):
            if batch.y is not None:
                labels.append(batch.y)
            if metric.per_sample is None:
                kept.append((batch, outputs))
            else:
                rows.append(metric.rows(batch.x, batch.y, outputs))
    joined = np.concatenate(labels) if labels else None
    if metric.per_sample is not None:
        return metrics.of_labels(metric.accuracy(np.concatenate(rows)), joined)
    seen = _joined([batch.x for batch, _ in kept])
    answers = _joined([outputs for _, outputs in kept])
    return metrics.of_labels(metric.evaluate(seen, joined, answers), joined)


def lint(
    device: Device, measurand: Measurand, dataset: Dataset, *, threads: int
) -> tuple[str, ...]:
    """What the linter says of the data, seen through the artifact; one line per warning."""

    def predict(arrays: Arrays) -> Arrays:
        (outputs,) = _run(device, measurand, [Batch(arrays)], threads)
        return outputs

    return data_linting.lint_dataset(dataset, predict)


def write_sample(dataset: Dataset, directory: Path) -> None:
    """Writes one calibration sample, to be fed while latency is measured."""
    chunks.write(directory, [dataset.sample("calib", 1).x])


def _resolve(name: str | None, measurand: Measurand, labels: NDArray[np.generic] | None) -> Metric:
    return metrics.resolve(name, outputs=measurand.outputs, labels=labels)


def _run(
    device: Device, measurand: Measurand, batches: list[Batch], threads: int
) -> Iterator[Arrays]:
    with scratch() as directory:
        samples, results = directory / "samples", directory / "results"
        chunks.write(samples, (batch.x for batch in batches))
        job = bench_artifacts.job(
            measurand, "predict", threads, samples=str(samples), results=str(results)
        )
        device.run(job, lambda _frame: None)
        yield from chunks.read(results)


def _parts(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    part: list[Batch] = []
    size_bytes = 0
    for batch in batches:
        part.append(batch)
        size_bytes += sum(array.nbytes for array in batch.x.values())
        if size_bytes >= PART_BYTES:
            yield part
            part, size_bytes = [], 0
    if part:
        yield part


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
