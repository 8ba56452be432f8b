"""`edgekit check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import check_plan, check_reports, checking, options, printing, printing_check, streams
from edgekit.check_types import CheckReport
from edgekit.commands import Command
from edgekit.errors import GateError


@click.command(
    "check",
    cls=Command,
    epilog="""\b
Examples:
  edgekit check m.result.json --max-size-bytes 262144 --max-latency-ms 12
  edgekit check m.result.json --baseline baselines/m.json --junit check.xml
  edgekit check build --config edgekit.toml --github""",
)
@click.argument("results", type=options.path, nargs=-1, required=True, metavar="RESULT…")
@click.option(
    "--baseline",
    type=options.path,
    metavar="FILE",
    help="What `edgekit baseline update` wrote; everything is held against it.",
)
@click.option(
    "--max-drop",
    type=options.rate,
    metavar="D",
    help="Accuracy that may be lost, absolute: 0.01 or 1%; against the baseline and the source.",
)
@click.option(
    "--max-latency-ms", type=options.above_zero, metavar="X", help="Largest median latency."
)
@click.option(
    "--max-size-bytes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Largest size; default with --baseline: the baseline's.",
)
@click.option(
    "--max-memory-bytes", type=click.IntRange(min=1), metavar="N", help="Largest peak memory."
)
@click.option(
    "--tolerance",
    type=options.rate,
    default="5%",
    show_default=True,
    metavar="D",
    help="By how much latency may rise above the baseline's.",
)
@click.option(
    "--unpaired",
    is_flag=True,
    help="Let stored latencies decide where the baseline's artifact is not at hand.",
)
@click.option(
    "--budget",
    "budget_s",
    type=options.seconds,
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Time to measure an artifact and its baseline's again, interleaved.",
)
@click.option(
    "--config",
    type=options.path,
    metavar="FILE",
    help="Take what is not given here from [check] of this edgekit.toml. Default: ./edgekit.toml,"
    " where neither a budget nor --baseline is given.",
)
@click.option("--junit", type=options.path, metavar="FILE", help="Also write JUnit XML there.")
@click.option(
    "--summary",
    type=options.path,
    metavar="FILE",
    help='Also write Markdown there; "$GITHUB_STEP_SUMMARY" is added to.',
)
@click.option("--github", is_flag=True, help="Tell broken gates as GitHub annotations on stderr.")
@options.common
def check(common: options.Common, results: tuple[Path, ...], github: bool, **wanted: Any) -> None:
    """Pass or fail, for CI: results against budgets and a baseline.

    RESULT is what `edgekit bench -o` wrote, an artifact with its manifest, or a directory of both.
    Ends with exit code 3 and one line for each broken gate; what was not measured breaks the gate
    that asks for it.
    """
    wanted |= {"seed": common.seed, "force": common.force}
    if common.dry_run:
        plan = checking.plan(results, check_plan.Request(**wanted))
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    with streams.progress(common.verbosity) as say:
        report = _judged(results, wanted, say)
    printing.show(report, printing_check.check(report), as_json=common.as_json)
    _tell(report, github=github)


def _judged(results: tuple[Path, ...], wanted: dict[str, Any], say: streams.Say) -> CheckReport:
    """The report, whether it passed or not: it is the result in both cases."""
    try:
        return checking.check(results, **wanted, on_progress=say)
    except GateError as broken:
        if broken.report is None:
            raise
        return broken.report


def _tell(report: CheckReport, *, github: bool) -> None:
    """One line per broken gate on stderr, and the exit code."""
    if github:
        for line in check_reports.github_commands(report):
            streams.write_note(line)
    else:
        for _, gate, line in checking.broken_lines(report):
            streams.write_note(f"error: {line}. Fix: {gate.fix}")
    if not report.passed:
        raise click.exceptions.Exit(GateError.exit_code)
