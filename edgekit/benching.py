"""The bench stage: artifacts + device → latency, cold start, memory, accuracy, comparison.

The way of the data: find out what each artifact is; open the data; measure in interleaved rounds,
a fresh process per artifact and round, until the intervals are narrow or the time is up; judge the
outputs; put the figures together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from edgekit import (
    accuracy,
    bench_artifacts,
    bench_results,
    bench_rounds,
    bench_writing,
    data_roles,
    metric_names,
    preprocess_names,
    registry,
)
from edgekit.bench_artifacts import Measurand
from edgekit.bench_rounds import Observed, Plan
from edgekit.bench_statistics import MIN_PROCESSES
from edgekit.data import Dataset
from edgekit.errors import UsageError
from edgekit.metrics import Metric
from edgekit.result_types import BenchReport, Comparison, OperatorTime, Result
from edgekit.targets import Device, Frame
from edgekit.workers import scratch

Progress = Callable[[str], None]
MAX_THREADS = 1024
"""More than any machine here has; runtimes crash when they cannot start the threads."""
DELEGATES = ("cpu", "gpu", "nnapi")
"""What `benchmark_model` can be asked to execute a graph with."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for beyond artifacts and devices."""

    threads: int
    budget_s: float
    data: str | None
    preprocess: str | None
    metric: str | None
    profile_ops: bool
    seed: int
    rounds: int = MIN_PROCESSES
    benchmark_binary: str | None = None
    delegate: str | None = None


def bench(
    artifacts: str | Path | Sequence[str | Path],
    *,
    target: str | None = None,
    devices: str | Sequence[str] = ("local",),
    threads: int = 1,
    budget_s: float = 30.0,
    data: str | None = None,
    preprocess: str | None = None,
    metric: str | None = None,
    profile_ops: bool = False,
    seed: int = 0,
    rounds: int = MIN_PROCESSES,
    benchmark_binary: str | Path | None = None,
    delegate: str | None = None,
    output: str | Path | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> BenchReport:
    """Measures artifacts, interleaved, and compares each with the first.

    The measurement is taken anew each time: it is not a function of its inputs.

    Args:
        artifacts: Main files (.tflite, .xml, .onnx), with or without a manifest; or one of them.
        target: The profile to run them for; default: the one each was made for.
        devices: Where to measure; `local` is this machine.
        threads: Threads for one inference.
        budget_s: Wall seconds of measuring latency, per device, for all artifacts together. The
            fewest rounds are done even beyond it, with short processes.
        data: A data SPEC, for accuracy on its test role.
        preprocess: Default: what the manifest recorded, else "none".
        metric: Default: what the manifest recorded, else what suits outputs and labels.
        profile_ops: Also time each operator, where the runtime tells.
        seed: Of the order of artifacts and of random inputs.
        rounds: The fewest rounds, each with a fresh process per artifact: 6 give 95 % intervals,
            8 also the 99 % interval of a comparison.
        benchmark_binary: LiteRT's `benchmark_model`, built for a device that has no Python with
            LiteRT; it is brought there and measures latency, and accuracy stays None.
        delegate: What executes the graph with it: "cpu" (default), "gpu" or "nnapi".
        output: Where to write the report as JSON, with a manifest beside it. An unchanged report
            that stands there from an earlier call is replaced.
        force: Replace whatever stands there.
        on_progress: Told what is being measured.

    Raises:
        UsageError: An argument is outside its range.
        UserError: An artifact, data, profile, device or output cannot be used; nothing is written.
    """
    request = Request(
        threads, budget_s, data, preprocess, metric, profile_ops, seed, rounds,
        str(benchmark_binary) if benchmark_binary else None, delegate,
    )  # fmt: skip
    paths = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    urls = [devices] if isinstance(devices, str) else list(dict.fromkeys(devices))
    check(paths, urls, request)
    measurands = [bench_artifacts.read(Path(path), target) for path in paths]
    if output is not None:
        bench_writing.check(Path(output), measurands, force=force)
    results: list[Result] = []
    comparison: list[Comparison] = []
    for device in [_open(url, request) for url in urls]:
        found, compared = _on_device(device, measurands, request, on_progress or _silent)
        results += found
        comparison += compared
    report = BenchReport("edgekit.bench/1", tuple(results), tuple(comparison))
    if output is not None:
        options = {"target": target, "devices": urls, **asdict(request)}
        bench_writing.write(Path(output), report, measurands, options)
    return report


def _on_device(
    device: Device, measurands: Sequence[Measurand], request: Request, progress: Progress
) -> tuple[list[Result], list[Comparison]]:
    if device.is_this_machine:
        for measurand in measurands:
            registry.require(registry.RUNTIMES[measurand.runtime], str(measurand.path))
    with scratch() as directory:
        subjects = [
            _subject(device, measurand, request, directory / str(number))
            for number, measurand in enumerate(measurands)
        ]
        if request.data is not None and not device.unjudged:
            progress("checking the data")
            subjects = _linted(device, subjects, request)
        jobs = [_job(subject, request) for subject in subjects]
        wanted = bench_rounds.plan(len(jobs), request.budget_s, request.rounds)
        observed = _observed(device, jobs, wanted, request.seed, progress)
    told = [
        replace(
            subject,
            notes=(*subject.notes, *bench_results.not_compared(measurands[0], (observed[0], one))),
        )
        for subject, one in zip(subjects, observed, strict=True)
    ]
    results = [
        _result(device, subject, one, wanted, request, progress)
        for subject, one in zip(told, observed, strict=True)
    ]
    compared = [
        bench_results.comparison(device, measurands[0], other, (observed[0], one))
        for other, one in zip(measurands[1:], observed[1:], strict=True)
    ]
    return results, [one for one in compared if one is not None]


def _observed(
    device: Device, jobs: Sequence[Frame], wanted: Plan, seed: int, progress: Progress
) -> list[Observed]:
    """What is seen of each artifact: nothing but what it is, where times mean nothing."""
    if not device.untimed:
        return bench_rounds.run(device, jobs, wanted, seed=seed, progress=progress)
    progress(f"loading on {device.url}")
    return [bench_rounds.describe(device, job) for job in jobs]


@dataclass(frozen=True, slots=True)
class _Subject:
    """An artifact with the data it is judged by, and the sample it is fed while it is timed."""

    measurand: Measurand
    judged: tuple[Dataset, Metric] | None = None
    samples: Path | None = None
    notes: tuple[str, ...] = ()


def _subject(device: Device, measurand: Measurand, request: Request, directory: Path) -> _Subject:
    """Opens the data before anything is measured: what does not fit is told at once."""
    if request.data is None or device.unjudged:
        return _Subject(measurand)
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
    read = [note for note in judged[0].notes if not data_roles.is_about_choosing(note)]
    notes = (*read, *_preprocess_note(measurand, request))
    return _Subject(measurand, judged, directory, notes)


def _linted(device: Device, subjects: Sequence[_Subject], request: Request) -> list[_Subject]:
    """Adds the linter's warnings, looked for once per model: precisions see the same data."""
    found: dict[str | None, tuple[str, ...]] = {}
    told = []
    for subject in subjects:
        assert subject.judged is not None, "there is data"
        model = subject.measurand.model_name
        if model not in found:
            found[model] = accuracy.lint(
                device, subject.measurand, subject.judged[0], threads=request.threads
            )
        told.append(replace(subject, notes=(*subject.notes, *found[model])))
    return told


def _preprocess_note(measurand: Measurand, request: Request) -> Iterator[str]:
    recorded = measurand.preprocess
    if request.preprocess is not None and recorded not in (None, request.preprocess):
        yield (
            f"--preprocess {request.preprocess} was used; the artifact's manifest recorded"
            f" {recorded}"
        )


def _job(subject: _Subject, request: Request) -> Frame:
    return bench_artifacts.job(
        subject.measurand,
        "measure",
        request.threads,
        samples=str(subject.samples) if subject.samples else None,
        seed=request.seed,
    )


def _result(
    device: Device,
    subject: _Subject,
    observed: Observed,
    wanted: Plan,
    request: Request,
    progress: Progress,
) -> Result:
    judged, operators = None, None
    notes = subject.notes
    name = subject.measurand.path.name
    start = time.monotonic()
    if subject.judged is not None:
        progress(f"accuracy of {name}")
        judged = accuracy.evaluate(
            device, subject.measurand, *subject.judged, threads=request.threads
        )
    accuracy_s = time.monotonic() - start
    if request.profile_ops and not device.untimed and not device.unjudged:
        progress(f"time per operator of {name}")
        operators = _operators(device, subject.measurand, request)
        if operators is None:
            notes = (*notes, f"{subject.measurand.runtime} does not tell the time per operator")
    return bench_results.result(
        device,
        subject.measurand,
        observed,
        wanted,
        threads=request.threads,
        accuracy=judged,
        operators=operators,
        notes=notes,
        timing={"accuracy_s": accuracy_s} if judged else {},
    )


def _operators(
    device: Device, measurand: Measurand, request: Request
) -> tuple[OperatorTime, ...] | None:
    frames: list[Frame] = []
    job = bench_artifacts.job(measurand, "profile", request.threads, seed=request.seed)
    device.run(job, frames.append)
    return msgspec.convert(frames[-1]["operators"], tuple[OperatorTime, ...] | None)


def _open(url: str, request: Request) -> Device:
    module = registry.target(url.partition("://")[0])
    if request.benchmark_binary is None:
        device: Device = module.open(url)
        return device
    if not hasattr(module, "open_benchmark"):
        raise UsageError(
            f"--benchmark-binary runs on adb:// devices, and '{url}' is none",
            "--device adb://, or leave it out",
        )
    measured: Device = module.open_benchmark(
        url, Path(request.benchmark_binary), request.delegate or DELEGATES[0]
    )
    return measured


def check(artifacts: Sequence[str | Path], devices: Sequence[str], request: Request) -> None:
    """Refuses arguments outside their range, before anything is opened.

    Raises:
        UsageError: One of them is; it is named.
    """
    if not artifacts:
        raise UsageError("no artifact was given", "edgekit bench ARTIFACT…")
    if not devices:
        raise UsageError("no device was given", "bench on this machine with --device local")
    if not 1 <= request.threads <= MAX_THREADS:
        raise UsageError(f"--threads {request.threads} is not in 1 to {MAX_THREADS}", "--threads 1")
    if not 0 < request.budget_s < math.inf:
        raise UsageError(
            f"--budget {request.budget_s:g} is not a number of seconds above 0", "--budget 30"
        )
    if not MIN_PROCESSES <= request.rounds <= bench_rounds.MOST_ROUNDS:
        raise UsageError(
            f"rounds={request.rounds} is not in {MIN_PROCESSES} to {bench_rounds.MOST_ROUNDS}",
            f"rounds={MIN_PROCESSES}",
        )
    if request.delegate is not None and request.benchmark_binary is None:
        raise UsageError(
            f"--delegate {request.delegate} was given without --benchmark-binary",
            "add --benchmark-binary PATH, or leave it out",
        )
    if request.delegate not in (None, *DELEGATES):
        raise UsageError(
            f"delegate '{request.delegate}' is not one of {', '.join(DELEGATES)}", "name one"
        )
    metric_names.check_name(request.metric)
    preprocess_names.parse(request.preprocess or "none")
    if request.data is None:
        for option, given in (("--metric", request.metric), ("--preprocess", request.preprocess)):
            if given is not None:
                raise UsageError(f"{option} {given} was given without --data", "add --data SPEC")


def _silent(_message: str) -> None:
    """Tells nobody."""
