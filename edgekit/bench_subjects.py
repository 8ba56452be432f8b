"""The artifacts of a measurement with the data that they are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import accuracy, data_roles
from edgekit.bench_artifacts import Measurand
from edgekit.bench_request import Request
from edgekit.data import Dataset
from edgekit.metrics import Metric
from edgekit.targets import Device


@dataclass(frozen=True, slots=True)
class Subject:
    """An artifact with the data it is judged by, and the sample it is fed while it is timed."""

    measurand: Measurand
    judged: tuple[Dataset, Metric] | None = None
    samples: Path | None = None
    notes: tuple[str, ...] = ()


def read(device: Device, measurand: Measurand, request: Request, directory: Path) -> Subject:
    """Opens the data before anything is measured: what does not fit is told at once."""
    if request.data is None or device.unjudged:
        return Subject(measurand)
    if not measurand.inputs:
        measurand = accuracy.describe(device, measurand, request.threads)
    judged = accuracy.open_dataset(
        measurand,
        request.data,
        preprocess=request.preprocess,
        metric=request.metric,
        seed=request.seed,
    )
    accuracy.write_sample(judged[0], directory)
    told = [note for note in judged[0].notes if not data_roles.is_about_choosing(note)]
    notes = (*told, *_preprocess_note(measurand, request))
    return Subject(measurand, judged, directory, notes)


def linted(device: Device, subjects: Sequence[Subject], request: Request) -> list[Subject]:
    """Adds the linter's warnings, looked for once per model: precisions see the same data."""
    found: dict[str | None, tuple[str, ...]] = {}
    noted = []
    for subject in subjects:
        assert subject.judged is not None, "there is data"
        model = subject.measurand.model_name
        if model not in found:
            found[model] = accuracy.lint(
                device, subject.measurand, subject.judged[0], threads=request.threads
            )
        noted.append(replace(subject, notes=(*subject.notes, *found[model])))
    return noted


def _preprocess_note(measurand: Measurand, request: Request) -> Iterator[str]:
    recorded = measurand.preprocess
    if request.preprocess is not None and recorded not in (None, request.preprocess):
        yield (
            f"--preprocess {request.preprocess} was used; the artifact's manifest recorded"
            f" {recorded}"
        )
