"""How `edgekit inspect --recipe` shows what the steps of a recipe would do to a model."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from edgekit import gains, printing
from edgekit.inspect_types import RecipeFindings, StepFindings
from edgekit.recipe_types import Removal

TREATING = frozenset({"prune", "cluster", "quantize"})
"""Kinds of steps that change a layer's weights, and take nothing out of the model."""

_COLUMNS = (("layer", False), ("kind", False), ("", False), ("why", False))


def recipe(told: RecipeFindings) -> RenderableType:
    """A block per step: what it changes, what it leaves alone and why, what it buys."""
    title = f"recipe {told.name}" + (f" for {told.target}" if told.target else "")
    return printing.stack(
        Text(f"{title}: {told.title}" if told.title else title, style="bold"),
        *(_step(number, step) for number, step in enumerate(told.steps, 1)),
    )


def _step(number: int, step: StepFindings) -> RenderableType:
    title = f"{number}. {step.kind} {step.settings}".strip()
    rows = list(_rows(step))
    facts = [("note", printing.cell(text)) for text in step.notes]
    if step.claim:
        facts += [("gain", printing.cell(text)) for text in gains.sentences([step.claim])]
        facts += [("warning", printing.cell(text)) for text in gains.warnings([step.claim])]
    return printing.stack(
        Text(title, style="bold"),
        printing.table(_COLUMNS, rows) if rows else None,
        printing.facts(facts) if facts else None,
    )


def _rows(step: StepFindings) -> Iterator[printing.Row]:
    for one in step.applies:
        does = "treated" if step.kind in TREATING else f"goes: {_what(one)}"
        yield one.layer, one.kind, does, one.why
    for one in step.stays:
        yield one.layer, one.kind, "stays", one.why
    for finding in step.findings:
        reason = printing.two_lines(finding.problem, finding.fix)
        yield finding.layer or "(model)", "", finding.severity, reason


def _what(one: Removal) -> str:
    if one.channels is None or one.remaining is None:
        return "all of it"
    return f"{one.channels} of {one.channels + one.remaining}"
