"""`edgekit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekit import conversion, options, printing, printing_convert, streams
from edgekit.commands import Command
from edgekit.types import EMITS, IO_TYPES, PRECISIONS


@click.command(
    "convert",
    cls=Command,
    epilog="""\b
Examples:
  edgekit convert m.keras -o m.tflite
  edgekit convert m.keras --precision int8 --data data.npz -o m_int8.tflite
  edgekit convert m.h5 --target host-openvino --precision fp16 -o m.xml
  edgekit convert m.keras --target nvidia-t4 --batch 1..16 -o m.onnx
  edgekit convert m.keras --target jetson-orin-nano --device ssh://me@jetson.local -o m.onnx
  edgekit convert m.keras --target cortex-m7 --emit c --data data.npz -o m.h
  edgekit convert m.keras --target cortex-m55-ethos-u55-128 --data data.npz -o m.tflite""",
)
@click.argument("model", type=options.path)
@click.option(
    "-o",
    "--output",
    type=options.path,
    required=True,
    metavar="OUT",
    help="The artifact to write; OUT.edgekit.json, its manifest, is written beside it.",
)
@click.option(
    "--target",
    metavar="PROFILE",
    default="host",
    show_default=True,
    help="What it is for: a name of `edgekit profiles list`, or a TOML file.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Of weights and arithmetic; default: what the model's recipe plans, else the profile's.",
)
@click.option(
    "--input-type", type=click.Choice(IO_TYPES), help="Of quantized inputs; default: the profile's."
)
@click.option(
    "--output-type",
    type=click.Choice(IO_TYPES),
    help="Of quantized outputs; default: the profile's.",
)
@click.option(
    "--batch",
    type=options.batch,
    metavar="N|A..B|dynamic",
    default="1",
    show_default=True,
    help="Samples at once, fixed unless dynamic; only TensorRT takes a range.",
)
@click.option(
    "--max-drop",
    type=options.rate,
    metavar="D",
    help="Accuracy that may be lost, absolute: 0.01 or 1%. Tries harder until it holds.",
)
@click.option(
    "--simplify/--no-simplify",
    default=True,
    show_default=True,
    help="First remove identities and dead channels of Keras models, which changes no output.",
)
@click.option(
    "--sparse/--no-sparse",
    default=True,
    show_default=True,
    help="Store weights that are mostly zeros sparsely in a .tflite, where LiteRT runs it alike: a"
    " smaller file, which zips worse.",
)
@click.option(
    "--emit",
    type=click.Choice(EMITS),
    help="Write C in place of the .tflite: `c` needs no runtime, `c-array` TensorFlow Lite Micro.",
)
@click.option(
    "--device",
    metavar="URL",
    help="Where a TensorRT engine is built: the device that will run it, `local` or ssh://…; `none`"
    " builds none. Default: here, where this machine has a GPU and TensorRT.",
)
@options.data
@options.common
def convert(common: options.Common, model: Path, output: Path, **wanted: Any) -> None:
    """Write an artifact for a target, and prove it.

    MODEL is a .keras, .h5, .onnx or .tflite file or a SavedModel directory. The artifact is
    written only after it was loaded, has the promised input and output types, and agrees with
    MODEL on real samples.
    """
    wanted |= {"output": output, "seed": common.seed, "trust": common.trust}
    if common.dry_run:
        plan = conversion.plan(model, **wanted)
        printing.show(plan, printing_convert.plan(plan), as_json=common.as_json)
        return
    command = click.get_current_context().obj
    with streams.progress(common.verbosity) as say:
        made = conversion.convert(
            model, **wanted, force=common.force, command=command, on_progress=say
        )
    printing.show(made, printing_convert.convert(made, output), as_json=common.as_json)
