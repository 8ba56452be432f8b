"""`edgekit compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import compressing, compression_plan, options, printing, printing_compress, streams
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
    help="Round channel counts to what this target's kernels like, and say what a step buys there.",
)
@click.option(
    "--teacher",
    type=options.path,
    metavar="MODEL",
    help="Who teaches in a step distill: any model that edgekit reads. Default: MODEL itself.",
)
@click.option(
    "--student",
    type=options.path,
    metavar="MODEL",
    help="Compress this Keras model instead, measured against MODEL, which teaches it.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1, compression_plan.MAX_EPOCHS),
    metavar="N",
    help="Epochs of every step that trains, whatever the recipe says.",
)
@click.option(
    "--loss",
    metavar="FILE.py:FUNCTION",
    help="function(y, outputs) to minimise. Default: the model's own, or what its output suggests.",
)
@click.option(
    "--augment",
    metavar="FILE.py:FUNCTION",
    help="function(x, y, seed) that changes training samples, as --data gives them.",
)
@click.option(
    "--max-drop",
    type=options.rate,
    metavar="D",
    help="Accuracy that may be lost, absolute: 0.01 or 1%. More ends with exit code 3.",
)
@click.option(
    "--simplify/--no-simplify",
    default=True,
    show_default=True,
    help="First remove identities and dead channels, which changes no output; after training also"
    " fold batch normalization and remove Dropout.",
)
@options.data
@options.common
def compress(common: options.Common, model: Path, **wanted: Any) -> None:
    """Make a model smaller by a recipe.

    MODEL is a .keras or .h5 file or a SavedModel directory. What each step costs in accuracy is
    measured on --data and said; a recipe that trains needs training data there. OUT.keras opens
    with plain Keras.
    """
    wanted |= {"seed": common.seed, "trust": common.trust}
    if common.dry_run:
        plan = compressing.plan(model, **wanted)
        printing.show(plan, printing.dry_run(plan), as_json=common.as_json)
        return
    command = click.get_current_context().obj
    with streams.progress(common.verbosity) as say:
        made = compressing.compress(
            model,
            **wanted,
            force=common.force,
            command=command,
            on_progress=say,
            on_bar=say.bar,
        )
    rendered = printing_compress.compress(made, wanted["output"], detailed=common.verbosity > 0)
    printing.show(made, rendered, as_json=common.as_json)
