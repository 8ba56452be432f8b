"""`edgekit init`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit import build_file, init_file, options, printing, streams
from edgekit.build_types import InitReport
from edgekit.commands import Command


@click.command(
    "init",
    cls=Command,
    epilog="""\b
Examples:
  edgekit init m.keras
  edgekit run --dry-run""",
)
@click.argument("model", type=options.path)
@click.option(
    "-o",
    "--output",
    type=options.path,
    default=build_file.DEFAULT,
    show_default=True,
    metavar="FILE",
    help="The file to write; paths in it are relative to its directory.",
)
@options.common
def init(common: options.Common, model: Path, output: Path) -> None:
    """Write a commented edgekit.toml for a model.

    It holds what is seen in the model, the data beside it that fits, and the targets that would
    take it. With --dry-run it is only printed.
    """
    with streams.progress(common.verbosity) as say:
        say(f"looking at {model}")
        report = init_file.init(
            model, output=output, trust=common.trust, force=common.force, dry_run=common.dry_run
        )
    printing.show(report, _told(report, dry_run=common.dry_run), as_json=common.as_json)


def _told(report: InitReport, *, dry_run: bool) -> printing.Cell:
    if dry_run:
        return report.text.rstrip("\n")
    return f"wrote {report.path}; next: edgekit run {report.path} --dry-run"
