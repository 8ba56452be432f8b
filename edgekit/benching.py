"""The bench stage: artifacts + device → latency, cold start, memory, accuracy, comparison.

The way of the data: find out what each artifact is; open the data; measure in interleaved rounds,
a fresh process per artifact and round, until the intervals are narrow or the time is up; judge the
outputs; put the figures together.

A device that fails ends its own measurement, and no other device's. What it finished stands: an
artifact that one process at least has measured there keeps its figures, marked as incomplete, with
the reason among its warnings, and is not judged any further. The report is written, and then the
failure is raised, with the report in it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from edgekit import (
    accuracy,
    bench_artifacts,
    bench_devices,
    bench_request,
    bench_results,
    bench_rounds,
    bench_subjects,
    bench_writing,
)
from edgekit.bench_artifacts import Measurand
from edgekit.bench_devices import Measured
from edgekit.bench_request import Request
from edgekit.bench_rounds import Observed, Plan
from edgekit.bench_statistics import MIN_PROCESSES
from edgekit.bench_subjects import Subject
from edgekit.errors import DeviceError
from edgekit.result_types import BenchReport, OperatorTime, Result
from edgekit.targets import Device, Frame
from edgekit.types import Accuracy, ErrorBody
from edgekit.workers import scratch

Progress = Callable[[str], None]


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
        artifacts: Main files (.tflite, .xml, .onnx), with or without a manifest, or the .h of C
            with its manifest; or one of them.
        target: The profile to run them for; default: the one each was made for.
        devices: Where to measure; `local` is this machine, which goes first and alone. The others
            (`ssh://pi@kitchen.local`, `qemu://cortex-m7`, …) measure at the same time, as
            `bench_devices` has it.
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
        DeviceError: A device failed. Where something was measured before, `report` has it, and it
            has been written.
    """
    request = Request(
        threads, budget_s, data, preprocess, metric, profile_ops, seed, rounds,
        str(benchmark_binary) if benchmark_binary else None, delegate,
    )  # fmt: skip
    paths = [artifacts] if isinstance(artifacts, str | Path) else list(artifacts)
    urls = [devices] if isinstance(devices, str) else list(dict.fromkeys(devices))
    bench_request.check(paths, urls, request)
    measurands = [bench_artifacts.read(Path(path), target) for path in paths]
    if output is not None:
        bench_writing.check(Path(output), measurands, force=force)
    with contextlib.ExitStack() as stack:
        opened = [bench_request.open_device(url, request, stack) for url in urls]
        measured = bench_devices.measure(
            opened,
            lambda device: _on_device(
                device, measurands, request, _named(on_progress or _silent, device, urls)
            ),
        )
    failure = bench_devices.failure(opened, measured)
    report = BenchReport(
        "edgekit.bench/1",
        tuple(result for one in measured for result in one.results),
        tuple(compared for one in measured for compared in one.comparison),
        _told(failure) if failure else None,
    )
    if output is not None and report.results:
        options = {"target": target, "devices": urls, **asdict(request)}
        bench_writing.write(Path(output), report, measurands, options)
    if failure:
        failure.report = report if report.results else None
        raise failure
    return report


def _told(failure: DeviceError) -> ErrorBody:
    return ErrorBody(failure.exit_code, type(failure).__name__, failure.message, failure.fix)


def _on_device(
    device: Device, measurands: Sequence[Measurand], request: Request, progress: Progress
) -> Measured:
    if device.is_this_machine:
        for measurand in measurands:
            bench_artifacts.check_runs_here(measurand)
    with scratch() as directory:
        subjects = [
            bench_subjects.read(device, measurand, request, directory / str(number))
            for number, measurand in enumerate(measurands)
        ]
        if request.data is not None and not device.unjudged:
            progress("checking the data")
            subjects = bench_subjects.linted(device, subjects, request)
        jobs = [_job(subject, request) for subject in subjects]
        wanted = bench_rounds.plan(len(jobs), request.budget_s, request.rounds)
        observed = _observed(device, jobs, wanted, request.seed, progress)
    seen = [
        (replace(subject, notes=(*subject.notes, *_not_compared(measurands, observed, one))), one)
        for subject, one in zip(subjects, observed, strict=True)
        if one.frames
    ]
    failed = next((one.failure for one in observed if one.failure), None)
    if failed and not seen:
        raise failed
    results, failure = _results(device, seen, wanted, request, progress)
    compared = [
        bench_results.comparison(device, measurands[0], other, (observed[0], one))
        for other, one in zip(measurands[1:], observed[1:], strict=True)
        if observed[0].frames and one.frames
    ]
    known = tuple(one for one in compared if one is not None)
    return Measured(results, known, failure or failed)


def _observed(
    device: Device, jobs: Sequence[Frame], wanted: Plan, seed: int, progress: Progress
) -> list[Observed]:
    """What is seen of each artifact: nothing but what it is, where times mean nothing."""
    if not device.untimed:
        return bench_rounds.run(device, jobs, wanted, seed=seed, progress=progress)
    progress(f"loading on {device.url}")
    return [_described(device, job) for job in jobs]


def _described(device: Device, job: Frame) -> Observed:
    """One that the device cannot take (it does not fit, say) leaves the others theirs."""
    try:
        return bench_rounds.describe(device, job)
    except DeviceError as error:
        return Observed(failure=error)


def _not_compared(
    measurands: Sequence[Measurand], observed: Sequence[Observed], one: Observed
) -> Iterator[str]:
    if observed[0].frames:
        yield from bench_results.not_compared(measurands[0], (observed[0], one))


def _job(subject: Subject, request: Request) -> Frame:
    return bench_artifacts.job(
        subject.measurand,
        "measure",
        request.threads,
        samples=str(subject.samples) if subject.samples else None,
        seed=request.seed,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is known of an artifact beyond its times."""

    accuracy: Accuracy | None = None
    operators: tuple[OperatorTime, ...] | None = None
    notes: tuple[str, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)


def _results(
    device: Device,
    seen: Sequence[tuple[Subject, Observed]],
    wanted: Plan,
    request: Request,
    progress: Progress,
) -> tuple[tuple[Result, ...], DeviceError | None]:
    """The results, and what ended the device before all of them were complete."""
    failure = seen[0][1].failure
    results = []
    for subject, observed in seen:
        judged = _Judged()
        if failure is None:
            try:
                judged = _judge(device, subject, request, progress)
            except DeviceError as error:
                failure = error
        result = bench_results.result(
            device,
            subject.measurand,
            observed,
            wanted,
            threads=request.threads,
            accuracy=judged.accuracy,
            operators=judged.operators,
            notes=(*subject.notes, *judged.notes),
            timing=judged.timing,
            failure=failure,
        )
        results.append(result)
    return tuple(results), failure


def _judge(device: Device, subject: Subject, request: Request, progress: Progress) -> _Judged:
    name = subject.measurand.path.name
    judged = _Judged()
    if subject.judged is not None:
        progress(f"accuracy of {name}")
        start = time.monotonic()
        found = accuracy.evaluate(
            device, subject.measurand, *subject.judged, threads=request.threads
        )
        judged = _Judged(found, timing={"accuracy_s": time.monotonic() - start})
    if request.profile_ops and not device.untimed and not device.unjudged:
        progress(f"time per operator of {name}")
        operators = _operators(device, subject.measurand, request)
        untold = f"{subject.measurand.runtime} does not tell the time per operator"
        judged = replace(judged, operators=operators, notes=() if operators else (untold,))
    if request.profile_ops and device.untimed:
        judged = replace(judged, notes=(f"no time per operator: {device.untimed}",))
    return judged


def _operators(
    device: Device, measurand: Measurand, request: Request
) -> tuple[OperatorTime, ...] | None:
    frames: list[Frame] = []
    job = bench_artifacts.job(measurand, "profile", request.threads, seed=request.seed)
    device.run(job, frames.append)
    return msgspec.convert(frames[-1]["operators"], tuple[OperatorTime, ...] | None)


def _named(progress: Progress, device: Device, urls: Sequence[str]) -> Progress:
    """Progress that says of which device it tells, where there are several."""
    if len(urls) == 1:
        return progress
    return lambda message: progress(f"{device.url}: {message}")


def _silent(_message: str) -> None:
    """Tells nobody."""
