"""How `edgekit check` and `edgekit baseline` show their results."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from edgekit import check_reading, printing
from edgekit.check_types import BaselineUpdate, Checked, CheckReport

_STYLES = {"held": "green", "warned": "yellow", "broken": "bold red"}
_COLUMNS = (("gate", False), ("against", False), ("", False), ("what was found", False))


def check(report: CheckReport) -> RenderableType:
    """A table of gates per artifact, then the verdict."""
    return printing.stack(
        *(_artifact(checked) for checked in report.checked),
        printing.facts([("verdict", _verdict(report))]),
        printing.warnings([*report.notes, *_warned(report)]),
    )


def baseline(update: BaselineUpdate, *, dry_run: bool = False) -> RenderableType:
    """What became of each entry."""
    changes = (
        ("added", update.added),
        ("replaced", update.replaced),
        ("left as it was", update.unchanged),
        ("artifact kept", update.kept),
    )
    heading = "would write" if dry_run else "baseline"
    told = [(what, "\n".join(names)) for what, names in changes if names]
    return printing.facts([(heading, update.path), *told])


def _artifact(checked: Checked) -> RenderableType:
    rows: list[printing.Row] = [
        [gate.name, gate.against, Text(gate.outcome, style=_STYLES[gate.outcome]), gate.line]
        for gate in checked.gates
    ]
    return printing.table(_COLUMNS, rows, title=_title(checked))


def _title(checked: Checked) -> str:
    return printing.cell(
        f"{check_reading.label(checked.figures)}: {checked.figures.artifact}"
    ).plain


def _verdict(report: CheckReport) -> str:
    outcomes = [gate.outcome for checked in report.checked for gate in checked.gates]
    broken, warned = outcomes.count("broken"), outcomes.count("warned")
    doubts = f", {warned} of them with a warning" if warned else ""
    if broken:
        return f"failed: {broken} of {len(outcomes)} gates broken"
    return f"passed: {len(outcomes)} gate{'s' * (len(outcomes) != 1)} held{doubts}"


def _warned(report: CheckReport) -> Iterator[str]:
    for checked in report.checked:
        name = check_reading.label(checked.figures)
        for gate in checked.gates:
            if gate.outcome == "warned":
                yield f"{name}: {gate.line}" + (f". Fix: {gate.fix}" if gate.fix else "")
        yield from (f"{name}: {text}" for text in checked.figures.warnings)
