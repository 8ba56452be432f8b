"""`edgekit baseline`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit import baselines, options, printing, printing_check, streams
from edgekit.commands import CommandGroup


@click.group("baseline", cls=CommandGroup)
def baseline() -> None:
    """Stored results, which check holds later ones against."""


@baseline.command(
    "update",
    epilog="""\b
Examples:
  edgekit baseline update m.result.json -o baselines/m.json
  edgekit baseline update m.result.json -o baselines/m.json --keep-artifacts""",
)
@click.argument("results", type=options.path, nargs=-1, required=True, metavar="RESULT…")
@click.option(
    "-o",
    "--output",
    type=options.path,
    metavar="FILE",
    help="The baseline to write; what else it holds stays. Default: what ./edgekit.toml names"
    " under [check].",
)
@click.option(
    "--keep-artifacts",
    is_flag=True,
    help="Copy the artifacts beside it, so that check can measure them again.",
)
@options.common
def update(
    common: options.Common, results: tuple[Path, ...], output: Path | None, keep_artifacts: bool
) -> None:
    """Store results, in place of earlier ones of the same model, target and device.

    RESULT is what `edgekit bench -o` wrote, an artifact with its manifest, or a directory of both.
    """
    with streams.progress(common.verbosity) as say:
        done = baselines.update(
            results,
            output,
            keep_artifacts=keep_artifacts,
            force=common.force,
            dry_run=common.dry_run,
            on_progress=say,
        )
    rendered = printing_check.baseline(done, dry_run=common.dry_run)
    printing.show(done, rendered, as_json=common.as_json)
