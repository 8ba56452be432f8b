"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import (
    bench_artifacts,
    bench_request,
    benching,
    failure,
    manifest,
    options,
    printing,
    printing_bench,
    registry,
    streams,
)
from edgekit.commands import Command
from edgekit.errors import DeviceError
from edgekit.result_types import BenchReport
from edgekit.types import DryRun


@click.command(
    "bench",
    cls=Command,
    epilog="""\b
Examples:
  edgekit bench m.tflite
  edgekit bench m.tflite m_int8.tflite --data data.npz -o m.result.json
  edgekit bench m.h --device qemu://cortex-m7 --data data.npz""",
)
@click.argument("artifacts", type=options.path, nargs=-1, required=True, metavar="ARTIFACT…")
@click.option("--target", metavar="PROFILE", help="Run as for this one; default: the artifact's.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("local",),
    show_default=True,
    metavar="URL",
    help="Where to measure: local, ssh://[user@]host[:port], adb://[serial], qemu://aarch64, or C"
    " on qemu://cortex-m7; may be given several times.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Threads of one inference.",
)
@click.option(
    "--budget",
    "budget_s",
    type=options.seconds,
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Time for each device; ends earlier once the intervals are within 2 %.",
)
@click.option(
    "--benchmark-binary",
    metavar="PATH",
    help="LiteRT's benchmark_model, for an Android device without Python.",
)
@click.option(
    "--delegate",
    type=click.Choice(["cpu", "gpu", "nnapi"]),
    help="What executes the graph with --benchmark-binary; default: cpu.",
)
@click.option("--profile-ops", is_flag=True, help="Also time each operator, where possible.")
@click.option(
    "-o",
    "--output",
    type=options.path,
    metavar="RESULT.json",
    help="Also write the JSON there, with a manifest beside it.",
)
@options.data
@options.common
def bench(
    common: options.Common, artifacts: tuple[Path, ...], devices: tuple[str, ...], **wanted: Any
) -> None:
    """Measure artifacts: latency, memory, accuracy.

    Several artifacts are measured interleaved and compared with the first one. C of convert
    --emit c is compiled for an emulated qemu://cortex-m3, -m4, -m7 or -m55: flash, RAM and
    instructions.
    """
    if common.dry_run:
        plan = _plan(artifacts, devices, seed=common.seed, **wanted)
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    wanted |= {"devices": devices, "seed": common.seed, "force": common.force}
    report, failed = _measured(artifacts, wanted, common.verbosity)
    rendered = printing_bench.bench(report, detailed=common.verbosity > 0)
    printing.show(report, rendered, as_json=common.as_json)
    if failed:  # the report is the result, also as JSON, and says of itself that it is incomplete
        failure.note(failed.message, failed.fix)
        raise click.exceptions.Exit(failed.exit_code)


def _measured(
    artifacts: tuple[Path, ...], wanted: dict[str, Any], verbosity: int
) -> tuple[BenchReport, DeviceError | None]:
    """The report, and why it is incomplete where a device failed midway."""
    try:
        with streams.progress(verbosity) as say:
            return benching.bench(artifacts, **wanted, on_progress=say), None
    except DeviceError as error:
        if error.report is None:
            raise
        return error.report, error


def _plan(
    artifacts: tuple[Path, ...],
    devices: tuple[str, ...],
    *,
    target: str | None,
    threads: int,
    budget_s: float,
    output: Path | None,
    **others: Any,
) -> DryRun:
    """What would be measured: artifacts are opened and devices looked for, nothing is run."""
    bench_request.check(artifacts, devices, bench_request.Request(threads, budget_s, **others))
    measurands = [bench_artifacts.read(path, target) for path in artifacts]
    for url in devices:
        registry.target(url.partition("://")[0])
    runs = [
        f"{one.path} ({one.info.format}, {one.runtime}) on {url}, threads {threads},"
        f" at most {budget_s:g} s for all"
        for url in devices
        for one in measurands
    ]
    writes = () if output is None else (str(output), str(manifest.path_for(output)))
    return DryRun("edgekit.dry-run/1", runs=tuple(runs), writes=writes)
