"""`edgekit run`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit import build_file, failure, options, pipeline, printing, printing_run, streams
from edgekit.commands import Command


@click.command(
    "run",
    cls=Command,
    epilog="""\b
Examples:
  edgekit init m.keras
  edgekit run --dry-run
  edgekit run --jobs 2 --depfile build/edgekit.d""",
)
@click.argument("file", type=options.path, default=build_file.DEFAULT, metavar="[edgekit.toml]")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Stages at once; measurements always run alone.",
)
@click.option(
    "--cache-dir",
    type=options.path,
    metavar="DIR",
    help="Where outputs are kept by what they were made from. Default: in the user's cache.",
)
@click.option(
    "--depfile",
    type=options.path,
    metavar="FILE",
    help="Write what was read there, as make and ninja understand it.",
)
@options.common
def run(
    common: options.Common, file: Path, jobs: int, cache_dir: Path | None, depfile: Path | None
) -> None:
    """Make and measure everything that an edgekit.toml declares.

    A stage runs only where its inputs, options or versions have changed. Outputs go to
    build/MODEL/RECIPE/TARGET/ beside the file. A stage that fails does not stop those that do not
    need it.
    """
    with streams.progress(common.verbosity) as say:
        report = pipeline.run(
            file,
            jobs=jobs,
            cache_dir=cache_dir,
            depfile_path=depfile,
            dry_run=common.dry_run,
            force=common.force,
            seed=common.seed,
            trust=common.trust,
            on_progress=say,
        )
    rendered = printing_run.run(report, detailed=common.verbosity > 0 or common.dry_run)
    printing.show(report, rendered, as_json=common.as_json)
    if report.error:
        failure.note(report.error.message, report.error.fix)
        click.get_current_context().exit(report.error.code)
