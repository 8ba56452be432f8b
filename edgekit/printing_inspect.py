"""How `edgekit inspect` shows a model and what targets say of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from edgekit import printing, printing_explained, printing_sensitivity, units
from edgekit.inspect_types import Finding, InspectReport, TargetFindings
from edgekit.types import Dimension, LayerInfo, ModelInfo

SHOWN_LAYERS = 3
_VALUE = re.compile(r" \([^()]*\)$")
"""The value that a problem ends in, as in "a zero point that is not 0 (128)"."""


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
        printing_sensitivity.sensitivity(report.sensitivity) if report.sensitivity else None,
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
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in told.findings:
        alike = _VALUE.sub("", finding.problem)
        groups.setdefault((finding.severity, alike, finding.fix), []).append(finding)
    rows = [_group(problem, found) for (_, problem, _), found in groups.items()]
    return Group(printing.table(columns, rows, title=title), Text(), Text(_verdict(told)))


def _group(alike: str, found: list[Finding]) -> list[printing.Cell]:
    """One row for findings that differ in no more than layer and value."""
    first = found[0]
    names = list(dict.fromkeys(finding.layer or "(model)" for finding in found))
    more = len(names) - SHOWN_LAYERS
    shown = "\n".join(names[:SHOWN_LAYERS]) + (f"\nand {more} more" if more > 0 else "")
    problem = first.problem if len({one.problem for one in found}) == 1 else alike
    times = f"{len(found)} × " if len(found) > 1 else ""
    return [shown, first.severity, printing.two_lines(times + problem, first.fix)]


def _verdict(told: TargetFindings) -> str:
    """What all findings together mean."""
    counted = Counter(finding.severity for finding in told.findings)
    if counted["error"]:
        return f"{told.target} does not run it as it is: {_plural(counted['error'], 'problem')}"
    if counted["unknown"]:
        open_ = _plural(counted["unknown"], "question")
        return f"{told.target} may run it: {open_} left open until it is converted"
    return (
        f"{told.target} runs it, {_plural(counted['cpu'], 'layer')} on the CPU beside the"
        " accelerator"
    )


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _warnings(model: ModelInfo) -> Iterator[str]:
    yield from model.notes
    if model.uncounted:
        yield f"the MACs leave out layers that no rule covers: {', '.join(model.uncounted)}"
