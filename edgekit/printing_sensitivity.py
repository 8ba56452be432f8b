"""How `edgekit inspect --sensitivity` shows what each layer bears."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from edgekit import printing, units
from edgekit.inspect_types import ChangeEffect, LayerSensitivity, SensitivityFindings
from edgekit.parity import QUANTIZED_LOUD_DB

_HEADINGS = {
    "prune50": "50 % zeros", "prune75": "75 % zeros", "prune90": "90 % zeros",
    "int8": "int8", "int4": "int4",
}  # fmt: skip


def sensitivity(told: SensitivityFindings) -> RenderableType:
    """A row per layer, the worst first: accuracy, and below it the SQNR of the outputs."""
    changes = [_HEADINGS[one.change] for one in told.layers[0].effects]
    columns = [("layer", False), ("weights", True), *((name, True) for name in changes)]
    return printing.stack(
        Text("sensitivity: one layer changed at a time, nothing trained", style="bold"),
        printing.facts(_facts(told)),
        printing.table(columns, (_row(layer, told) for layer in told.layers)),
        Text(_reading(told)),
        printing.warnings(told.warnings),
    )


def _facts(told: SensitivityFindings) -> Iterator[tuple[str, printing.Cell]]:
    yield "samples", f"{told.samples} of the {told.role} role (seed {told.seed})"
    if told.accuracy:
        made = told.accuracy
        interval = units.metric_interval(made.metric, made.value, made.ci95)
        yield "unchanged", f"{made.metric} {units.metric(made.metric, made.value)} {interval}"
    yield from (("note", note) for note in told.data.notes)


def _row(layer: LayerSensitivity, told: SensitivityFindings) -> list[printing.Cell]:
    mark = "sensitive" if layer.sensitive else ""
    name = printing.two_lines(layer.layer, f"{layer.kind}  {mark}".rstrip())
    return [name, f"{layer.weights:,}", *(_effect(one, told) for one in layer.effects)]


def _effect(effect: ChangeEffect, told: SensitivityFindings) -> printing.Cell:
    decibels = units.decibels(effect.sqnr_db)
    if told.accuracy is None:
        return decibels
    mark = "*" if effect.different else " "
    return printing.two_lines(
        units.metric(told.accuracy.metric, effect.accuracy) + mark, f"{decibels} "
    )


def _reading(told: SensitivityFindings) -> str:
    """What the marks mean, and what the samples cannot show."""
    marked = any(layer.sensitive for layer in told.layers)
    if told.accuracy is None:
        what = f" sensitive: below {QUANTIZED_LOUD_DB:g} dB at 50 % zeros or int8" if marked else ""
        return f"SQNR of the outputs against the unchanged model's.{what}"
    how = "McNemar's exact test, Holm's correction for all of them, 5 %"
    if told.layers[0].effects[0].p_value is None:
        how = "the unchanged model lies outside its 95 % interval"
    return (
        f"* differs from the unchanged model beyond chance ({how}); {told.samples} samples show no"
        " difference in the others. Below: SQNR of the outputs."
        + (" sensitive: loses accuracy at 50 % zeros or int8" if marked else "")
    )
