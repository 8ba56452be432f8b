"""`edgekit demo`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit import demo as stage
from edgekit import options, printing, printing_bench, streams
from edgekit.commands import Command
from edgekit.types import DryRun


@click.command("demo", cls=Command)
@click.option(
    "-o",
    "--output",
    "directory",
    type=options.path,
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Where models, artifacts, manifests and the result are written.",
)
@options.common
def demo(common: options.Common, directory: Path) -> None:
    """Run the whole chain on an embedded model and data.

    Converts a small digit classifier to TFLite and OpenVINO at several precisions, measures each
    on this machine, and ends with the table. Needs edgekit[all], no network and about a minute.
    """
    if common.dry_run:
        names = (stage.MODEL, stage.DATA, *(one.output for one in stage.VARIANTS), stage.RESULT)
        plan = DryRun("edgekit.dry-run/1", writes=tuple(str(directory / name) for name in names))
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    with streams.progress(common.verbosity) as say:
        _, report = stage.run(
            directory,
            seed=common.seed,
            force=common.force,
            command=click.get_current_context().obj,
            on_progress=say,
        )
    rendered = printing_bench.bench(report, detailed=common.verbosity > 0)
    printing.show(report, rendered, as_json=common.as_json)
