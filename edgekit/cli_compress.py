"""`edgekit compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import compressing, options, printing, printing_compress, streams
from edgekit.commands import Command


@click.command(
    "compress",
    cls=Command,
    epilog="""\b
Examples:
  edgekit compress m.keras --recipe lossless -o m_lossless.keras
  edgekit compress m.keras --recipe channels50-int8 --data data.npz -o m50.keras
  edgekit convert m50.keras --data data.npz -o m50.tflite""",
)
@click.argument("model", type=options.path)
@click.option(
    "-o",
    "--output",
    type=options.path,
    required=True,
    metavar="OUT.keras",
    help="The model to write; OUT.keras.edgekit.json, its manifest, is written beside it.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    required=True,
    help="What is done: a name of `edgekit recipes list`, or a TOML file.",
)
@click.option(
    "--target",
    metavar="PROFILE",
    help="Round channel counts to what this target's kernels like.",
)
@click.option(
    "--simplify/--no-simplify",
    default=True,
    show_default=True,
    help="First remove identities and dead channels, which changes no output.",
)
@options.data
@options.common
def compress(common: options.Common, model: Path, **wanted: Any) -> None:
    """Make a model smaller by a recipe.

    MODEL is a .keras or .h5 file or a SavedModel directory. Nothing is trained: what a step costs
    in accuracy is measured on --data and said. OUT.keras opens with plain Keras.
    """
    wanted |= {"seed": common.seed, "trust": common.trust}
    if common.dry_run:
        plan = compressing.plan(model, **wanted)
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    command = click.get_current_context().obj
    with streams.progress(common.verbosity) as say:
        made = compressing.compress(
            model, **wanted, force=common.force, command=command, on_progress=say
        )
    rendered = printing_compress.compress(made, wanted["output"], detailed=common.verbosity > 0)
    printing.show(made, rendered, as_json=common.as_json)
