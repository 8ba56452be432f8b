"""The compare stage: reference + artifact + data → outputs, accuracy, classes, layers.

The way of the data: find both; open each in a worker; match inputs and outputs; run the test role
through both once and keep figures; on calibration samples explain what was found: OpenVINO's own
precision, and layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgekit import (
    compare_outputs,
    compare_reruns,
    compare_sides,
    compare_warnings,
    compare_writing,
    data_linting,
    data_roles,
    judged_data,
    layer_comparison,
    metric_names,
    metrics,
    preprocess_names,
    sampling,
)
from edgekit.chunks import Arrays
from edgekit.compare_accuracy import Judged
from edgekit.compare_outputs import Differences, Ports
from edgekit.compare_sides import Named, Side
from edgekit.compare_types import CompareReport
from edgekit.data import Dataset
from edgekit.errors import UsageError
from edgekit.metrics import Metric
from edgekit.types import DryRun
from edgekit.workers import scratch

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for beyond the two models."""

    data: str | None
    layers: bool = False
    preprocess: str | None = None
    metric: str | None = None
    seed: int = 0
    trust: bool = False
    force: bool = False
    plot: Path | None = None
    output: Path | None = None


def compare(
    reference: str | Path,
    artifact: str | Path,
    *,
    data: str | None = None,
    layers: bool = False,
    preprocess: str | None = None,
    metric: str | None = None,
    plot: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    trust: bool = False,
    force: bool = False,
    on_progress: Progress | None = None,
) -> CompareReport:
    """Compares an artifact with its reference on the same samples.

    Args:
        reference: A model (.keras, .h5, SavedModel) or an artifact (.tflite, .onnx, .xml).
        artifact: Likewise; it need not be the same format.
        data: A data SPEC: figures come from its test role, layers from calibration samples.
        layers: Also compare inner tensors, and name the first bad layer.
        preprocess: Default: what the artifact's manifest recorded, then the reference's, else
            "none".
        metric: Default: what they recorded, else what suits outputs and labels.
        plot: Where to write SQNR over depth, as an SVG; needs `layers`.
        output: Where to write the report as JSON.
        seed: Of the samples that are drawn.
        trust: Run code that a model file carries.
        force: Replace what stands where plot and output go, though edgekit did not write it.
        on_progress: Told what is being done.

    Raises:
        UsageError: Options are missing or contradict each other.
        ModelError: One of the two cannot be used, or they do not belong together.
        DataError: The data does not fit.
        OutputError: A file cannot be written.
    """
    request = Request(
        data, layers, preprocess, metric, seed, trust, force,
        None if plot is None else Path(plot), None if output is None else Path(output),
    )  # fmt: skip
    found = _found(Path(reference), Path(artifact), request)
    report = _compared(*found, request, on_progress or _silent)
    compare_writing.write(report, plot=request.plot, output=request.output, seed=request.seed)
    return report


def plan(reference: Path, artifact: Path, request: Request) -> DryRun:
    """What `compare` would do; both models are looked at, and nothing is run."""
    found = _found(reference, artifact, request)
    runs = [f"{one.path} on the test role of {request.data}" for one in found]
    if request.layers:
        runs.append(f"both, layer by layer, on calibration samples of {request.data}")
    writes = [str(path) for path in (request.plot, request.output) if path is not None]
    return DryRun("edgekit.dry-run/1", runs=tuple(runs), writes=tuple(writes))


def _found(reference: Path, artifact: Path, request: Request) -> tuple[Named, Named]:
    check(request)
    one, other = (compare_sides.find(path, trust=request.trust) for path in (reference, artifact))
    assert request.data is not None, "checked before"
    compare_writing.check(
        request.plot,
        request.output,
        models=(one, other),
        data=Path(request.data),
        force=request.force,
    )
    compare_sides.require(one)
    compare_sides.require(other)
    return one, other


def check(request: Request) -> None:
    """Refuses what is wrong from the options alone.

    Raises:
        UsageError: One of them is.
    """
    if request.data is None:
        raise UsageError(
            "compare needs samples to compare on", "add --data SPEC (an .npz, a directory, …)"
        )
    if request.plot is not None and not request.layers:
        raise UsageError(f"--plot {request.plot} shows layers", "add --layers")
    if request.plot is not None and request.plot.suffix.lower() != ".svg":
        raise UsageError(
            f"--plot {request.plot} is drawn as SVG", f"--plot {request.plot.stem}.svg"
        )
    metric_names.check_name(request.metric)
    preprocess_names.parse(request.preprocess or "none")


def _compared(one: Named, other: Named, request: Request, progress: Progress) -> CompareReport:
    with ExitStack() as stack:
        progress(f"loading {one.path}")
        reference = stack.enter_context(compare_sides.opened(one, trust=request.trust))
        progress(f"loading {other.path}")
        artifact = stack.enter_context(compare_sides.opened(other, trust=request.trust))
        ports = compare_outputs.ports(reference, artifact)
        dataset, metric = _open_data(reference, artifact, request)
        with scratch() as directory:
            progress("checking the data")
            predict = sampling.predictor(reference.worker, directory)
            notes = [*_notes(dataset, artifact, request)]
            notes += data_linting.lint_dataset(dataset, predict)
        differences, judged = Differences(ports), Judged(metric) if metric else None
        progress("running the test role through both")
        batches = dataset.batches("test", judged_data.BATCH_SAMPLES)
        for answered in compare_outputs.answers(reference, artifact, ports, batches):
            differences.add(answered)
            if judged is not None:
                judged.add(answered)
        samples = dataset.calibration(layer_comparison.LAYER_SAMPLES, request.seed).x
        rerun = compare_reruns.rerun(other, reference, artifact, ports, samples, progress)
        shipped = _shipped(artifact, ports, samples) if request.layers else {}
    report = CompareReport(
        schema="edgekit.compare/1",
        reference=reference.about,
        artifact=artifact.about,
        data=msgspec.structs.replace(dataset.ref, metric=metric.name if metric else None),
        outputs=differences.figures(),
        accuracy=judged.change() if judged is not None else None,
        rerun=rerun,
        layers=None,
        warnings=tuple(notes),
    )
    if request.layers:
        task = layer_comparison.Task(reference, artifact, ports, samples, shipped, request.trust)
        report = msgspec.structs.replace(report, layers=layer_comparison.compare(task, progress))
    told = (*report.warnings, *compare_warnings.warnings(report))
    return msgspec.structs.replace(report, warnings=told)


def _open_data(reference: Side, artifact: Side, request: Request) -> tuple[Dataset, Metric | None]:
    """The data, opened for the reference's inputs, and the metric; None where none suits it."""
    assert request.data is not None, "checked before"
    name = request.metric or artifact.metric or reference.metric
    wanted = request.preprocess or artifact.preprocess or reference.preprocess or "none"
    dataset, labels = judged_data.open_test(
        request.data,
        inputs=reference.inputs,
        outputs=reference.outputs,
        preprocess=wanted,
        metric=name,
        seed=request.seed,
    )
    if name is None and labels is None:
        return dataset, None
    return dataset, metrics.resolve(name, outputs=reference.outputs, labels=labels)


def _notes(dataset: Dataset, artifact: Side, request: Request) -> Iterator[str]:
    yield from (note for note in dataset.notes if not data_roles.is_about_choosing(note))
    recorded = artifact.preprocess
    if request.preprocess is not None and recorded not in (None, request.preprocess):
        yield (
            f"--preprocess {request.preprocess} was used; the artifact's manifest recorded"
            f" {recorded}"
        )


def _shipped(artifact: Side, ports: Ports, samples: Arrays) -> Arrays:
    """The artifact's outputs for the samples on which layers are compared, as it ships."""
    given = {ports.inputs[name]: array for name, array in samples.items()}
    with scratch() as directory:
        found = list(compare_outputs.run(artifact, [given], directory))
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def _silent(_message: str) -> None:
    """Tells nobody."""
