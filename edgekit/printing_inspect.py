"""How `edgekit inspect` shows a model and what targets say of it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from edgekit import printing, printing_explained, units
from edgekit.inspect_types import Finding, InspectReport, TargetFindings
from edgekit.types import Dimension, LayerInfo, ModelInfo


def inspect(report: InspectReport) -> RenderableType:
    """The model, its layers, and a block per target and recipe."""
    model = report.model
    return printing.stack(
        printing.facts(_facts(model)),
        printing.table(
            [("layer", False), ("kind", False), ("output", False), ("parameters", True),
             ("MACs", True)],
            map(_layer, model.layers),
        ),
        *map(_target, report.targets),
        printing_explained.recipe(report.recipe) if report.recipe else None,
        printing.warnings(_warnings(model)),
    )  # fmt: skip


def _facts(model: ModelInfo) -> Iterator[tuple[str, printing.Cell]]:
    generation = f", {model.generation}" if model.generation else ""
    yield "model", model.path
    yield "format", f"{model.format}{generation}"
    if model.opset:
        yield "opset", model.opset
    yield "size", units.size(model.size_bytes)
    yield "SHA-256", model.sha256
    if model.precision:
        yield "precision", model.precision
    yield from (("input", printing.tensor(spec)) for spec in model.inputs)
    yield from (("output", printing.tensor(spec)) for spec in model.outputs)
    yield "layers", str(len(model.layers))
    yield "parameters", f"{model.parameters:,}"
    yield "MACs", f"{units.count(model.macs)} for one sample"


def _layer(layer: LayerInfo) -> list[printing.Cell]:
    return [
        layer.name,
        layer.kind,
        _shape(layer.output_shape),
        f"{layer.parameters:,}" if layer.parameters else "",
        units.NOT_MEASURED if layer.macs is None else units.count(layer.macs),
    ]


def _shape(shape: tuple[Dimension, ...] | None) -> str:
    return "" if shape is None else printing.shape(shape)


def _target(told: TargetFindings) -> RenderableType:
    title = f"{told.target}, {told.precision}"
    if not told.findings:
        return Text(f"{title}: nothing stands in the way")
    columns = [("layer", False), ("", False), ("problem and fix", False)]
    return printing.table(columns, map(_finding, told.findings), title=title)


def _finding(finding: Finding) -> list[printing.Cell]:
    layer = finding.layer or "(model)"
    return [layer, finding.severity, printing.two_lines(finding.problem, finding.fix)]


def _warnings(model: ModelInfo) -> Iterator[str]:
    yield from model.notes
    if model.uncounted:
        yield f"the MACs leave out layers that no rule covers: {', '.join(model.uncounted)}"
