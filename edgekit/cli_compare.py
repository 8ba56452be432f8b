"""`edgekit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import comparing, options, printing, printing_compare, streams
from edgekit.commands import Command


@click.command(
    "compare",
    cls=Command,
    epilog="""\b
Examples:
  edgekit compare m.keras m_int8.tflite --data data.npz
  edgekit compare m.keras m_int8.xml --data data.npz --layers --plot layers.svg""",
)
@click.argument("reference", type=options.path)
@click.argument("artifact", type=options.path)
@click.option("--layers", is_flag=True, help="Also compare inner tensors; name the first bad one.")
@click.option(
    "--plot", type=options.path, metavar="FILE.svg", help="Write SQNR over depth there (--layers)."
)
@click.option(
    "-o", "--output", type=options.path, metavar="FILE.json", help="Also write the JSON there."
)
@options.data
@options.common
def compare(common: options.Common, reference: Path, artifact: Path, **wanted: Any) -> None:
    """Say how an artifact differs from its reference, and where.

    Both see the same samples: outputs, accuracy with its significance, and each class, on the test
    role; with --layers every inner tensor, on calibration samples.
    """
    wanted |= {"seed": common.seed, "trust": common.trust, "force": common.force}
    if common.dry_run:
        plan = comparing.plan(reference, artifact, comparing.Request(**wanted))
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    with streams.progress(common.verbosity) as say:
        report = comparing.compare(reference, artifact, **wanted, on_progress=say)
    rendered = printing_compare.compare(
        report,
        detailed=common.verbosity > 0,
        written=(("plot", wanted["plot"]), ("JSON", wanted["output"])),
    )
    printing.show(report, rendered, as_json=common.as_json)
