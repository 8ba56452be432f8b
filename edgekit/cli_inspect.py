"""`edgekit inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import click

from edgekit import (
    hardware,
    inspection,
    layer_sensitivity,
    options,
    printing,
    printing_inspect,
    registry,
    streams,
    target_rules,
)
from edgekit.commands import Command
from edgekit.errors import UsageError
from edgekit.inspect_types import Finding, InspectReport, TargetFindings
from edgekit.types import PRECISIONS, ModelInfo, Precision


@click.command(
    "inspect",
    cls=Command,
    epilog="""\b
Examples:
  edgekit inspect m.keras
  edgekit inspect m.keras --target cortex-m7 --target host-openvino --precision int8
  edgekit inspect m.keras --recipe channels50-int8 --target host
  edgekit inspect m.keras --sensitivity --data data.npz""",
)
@click.argument("model", type=options.path)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="PROFILE",
    help="Also say what this target does not support; may be given several times.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What the targets are asked about; default: the model's own, of a float model each "
    "profile's.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="Also say what this recipe would do to each layer, and what it would leave alone.",
)
@click.option(
    "--sensitivity",
    is_flag=True,
    help="Also say what each Keras layer bears: one at a time pruned (50, 75, 90 %) or quantized "
    "(int8, int4), judged on at most 512 choosing samples of --data.",
)
@options.data
@options.common
def inspect(
    common: options.Common,
    model: Path,
    targets: tuple[str, ...],
    precision: Precision | None,
    recipe: str | None,
    sensitivity: bool,
    **data: str | None,
) -> None:
    """Show what a model is, what a target or recipe does not support, and what its layers bear.

    MODEL is a .keras, .h5, .onnx or .tflite file or a SavedModel directory. Prints inputs,
    outputs, layers, parameters, multiply-accumulates and size. Nothing is trained or written.
    """
    spec = _sensitivity_data(sensitivity, recipe, data)
    if recipe and len(targets) > 1:
        raise UsageError(
            f"--recipe was given with {len(targets)} targets, and what it does depends on one",
            f"leave one: --target {targets[0]}",
        )
    told = bears = None
    with streams.progress(common.verbosity) as say:
        say(f"reading {model}")
        if recipe:
            target = targets[0] if targets else None
            info, told = inspection.explain(model, recipe, target=target, trust=common.trust)
        elif spec is not None:
            for target in targets:
                hardware.load(target)  # an unknown one is refused before minutes of work
            info, bears = layer_sensitivity.measure(
                model, data=spec, preprocess=data["preprocess"], metric=data["metric"],
                seed=common.seed, trust=common.trust, on_progress=say,
            )  # fmt: skip
        else:
            info = inspection.inspect(model, targets=targets, trust=common.trust)
    findings = tuple(_findings(info, name, precision) for name in targets)
    report = InspectReport("edgekit.inspect/1", info, findings, told, bears)
    printing.show(report, printing_inspect.inspect(report), as_json=common.as_json)


def _sensitivity_data(
    sensitivity: bool, recipe: str | None, data: Mapping[str, str | None]
) -> str | None:
    """The data that sensitivity is measured on; None where it was not asked for.

    Raises:
        UsageError: Options say nothing, or contradict each other.
    """
    if not sensitivity:
        given = [f"--{name}" for name, value in data.items() if value is not None]
        if given:
            raise UsageError(
                f"{given[0]} says nothing without --sensitivity", "add it, or leave out the data"
            )
        return None
    if recipe:
        raise UsageError(
            "--sensitivity is measured on the model as it is, and --recipe asks what becomes of it",
            "ask one after the other",
        )
    if data["data"] is None:
        raise UsageError(
            "--sensitivity was given without --data, and is measured on samples",
            "add --data SPEC; with labels it also says the accuracy",
        )
    return data["data"]


def _findings(info: ModelInfo, target: str, precision: Precision | None) -> TargetFindings:
    profile = hardware.load(target)
    wanted = precision or _own_precision(info) or profile.precision.default
    findings = (*target_rules.check(info, profile, wanted), *inspection.lint(info.path, profile))
    if missing := target_rules.converter_missing(profile):
        # Last: what the model itself lacks is worth knowing all the same.
        fix = f"choose a target of {', '.join(registry.CONVERTERS)} (edgekit profiles list)"
        findings = (*findings, Finding(None, missing, fix))
    return TargetFindings(profile.name, wanted, findings)


def _own_precision(info: ModelInfo) -> Precision | None:
    """What an artifact is already; None for a float model, which can still become anything."""
    if info.precision not in PRECISIONS or info.precision == "fp32":
        return None
    return cast("Precision", info.precision)
