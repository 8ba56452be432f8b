"""The accuracy of an artifact on a device: the test role goes through the runner, in order.

Samples travel as chunk files, a part of the role at a time; each part costs one start of the
runner. Built-in metrics keep a few numbers
per sample; only a user's function needs the whole role at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from edgekit import bench_artifacts, bench_rounds, chunks, data_linting, judged_data, metrics
from edgekit.bench_artifacts import Measurand
from edgekit.chunks import Arrays
from edgekit.data import Dataset
from edgekit.metrics import Metric
from edgekit.targets import Device
from edgekit.types import Accuracy, Batch, TensorSpec
from edgekit.workers import scratch


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
    dataset, labels = judged_data.open_test(
        spec,
        inputs=measurand.inputs,
        outputs=measurand.outputs,
        preprocess=preprocess or measurand.preprocess or "none",
        metric=name,
        seed=seed,
    )
    return dataset, metrics.resolve(name, outputs=measurand.outputs, labels=labels)


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
    for batches in chunks.parts(dataset.batches("test", judged_data.BATCH_SAMPLES)):
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
    seen = chunks.joined([batch.x for batch, _ in kept])
    answers = chunks.joined([outputs for _, outputs in kept])
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
