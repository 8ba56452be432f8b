"""How `edgekit compress` says what each step did, and `edgekit recipes` what recipes say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import RenderableType

from edgekit import (
    compression_warnings,
    printing,
    quantize_changes,
    recipe_steps,
    step_settings,
    units,
)
from edgekit import manifest as manifests
from edgekit.manifest_types import Manifest, Step
from edgekit.recipe_types import RecipeList, RecipeReport
from edgekit.types import Accuracy


def compress(made: Manifest, output: Path, *, detailed: bool = False) -> RenderableType:
    """The files, the table of steps, and what to know.

    Args:
        made: What stands beside the model.
        output: Where the model is, as the user named it.
        detailed: Also list what went out of each layer, and why.
    """
    judged = f"accuracy ({made.steps[0].detail['accuracy_role'] or 'no data'})"
    columns = [
        ("step", False), ("parameters", True), ("MACs", True), ("zeros", True), (".keras", True),
        ("gzip", True), (judged, True), ("seconds", True),
    ]  # fmt: skip
    numbers = compression_warnings.numbers(made.steps)
    rows = [
        _row(number, step, made.timing) for number, step in zip(numbers, made.steps, strict=True)
    ]
    return printing.stack(
        printing.facts(_facts(made, output)),
        printing.table(columns, rows),
        _removals(made.steps) if detailed else None,
        printing.warnings(made.warnings),
    )


def recipes(found: RecipeList) -> RenderableType:
    """One line per recipe."""
    rows = [
        (one.name, one.title, " → ".join(recipe_steps.kind(step) for step in one.step))
        for one in found.recipes
    ]
    return printing.table([("name", False), ("what it does", False), ("steps", False)], rows)


def recipe(report: RecipeReport) -> RenderableType:
    """A recipe's steps, with the keys that matter, be they left at their defaults."""
    shown = report.recipe
    rows = [(recipe_steps.kind(step), step_settings.line(step)) for step in shown.step]
    return printing.stack(
        printing.facts([("name", shown.name), ("title", shown.title), ("sha256", report.sha256)]),
        printing.table([("step", False), ("keys", False)], rows),
    )


def _facts(made: Manifest, output: Path) -> Iterator[tuple[str, printing.Cell]]:
    yield "model", str(output)
    yield "manifest", str(manifests.path_for(output))
    yield "from", f"{made.source.path} ({units.size(made.source.size_bytes)})"
    yield "recipe", made.recipe or ""
    if made.planned_precision:
        yield "planned", f"{made.planned_precision}: what `edgekit convert` takes by default"
    for step in made.steps:
        if "refined" in step.detail:
            yield "int8", quantize_changes.verdict(step.detail["refined"])
    if made.accuracy and made.source_accuracy:
        before, after = _accuracy(made.source_accuracy), _accuracy(made.accuracy)
        yield "accuracy", f"{made.accuracy.metric} {before} → {after} on test"


def _accuracy(found: Accuracy) -> str:
    interval = units.metric_interval(found.metric, found.value, found.ci95)
    return f"{units.metric(found.metric, found.value)} {interval}, n = {found.n}"


def _row(number: int, step: Step, timing: dict[str, float]) -> printing.Row:
    detail = step.detail
    if "size_bytes" not in detail:
        return [f"{step.name} ({detail['precision']}, by convert)", *[units.NOT_MEASURED] * 7]
    accuracy: printing.Cell = units.NOT_MEASURED
    if detail["accuracy"] is not None:
        found = msgspec.convert(detail["accuracy"], Accuracy)
        interval = units.metric_interval(found.metric, found.value, found.ci95)
        accuracy = printing.two_lines(units.metric(found.metric, found.value), interval)
    spent_s = timing.get(f"step{number}_{step.name}_s" if number else f"{step.name}_s")
    return [
        printing.two_lines(step.name, _removed(detail)),
        f"{detail['parameters_after']:,}",
        units.count(detail["macs_after"]),
        f"{detail['sparsity']:.1%}",
        units.size(detail["size_bytes"]),
        units.size(detail["gzip_bytes"]),
        accuracy,
        f"{spent_s:.1f}" if spent_s is not None else units.NOT_MEASURED,
    ]


def _removed(detail: dict[str, Any]) -> str:
    """What a step did beside its figures, in a few words."""
    if detail["channels_removed"]:
        return f"−{detail['channels_removed']} channels"
    trained = detail.get("training")
    if trained:
        last = trained[-1]
        return f"epoch {last['best_epoch']} of {last['history'][-1]['epoch']} kept"
    return ""


def _removals(steps: tuple[Step, ...]) -> RenderableType:
    rows = [
        (
            one["layer"],
            one["kind"],
            one["done"] or _gone(one["channels"]),
            one["why"],
        )
        for step in steps
        for one in (*step.detail.get("removed", ()), *step.detail.get("applied", ()))
    ]
    columns = [("changed", False), ("kind", False), ("what", False), ("why", False)]
    return printing.table(columns, rows)


def _gone(channels: int | None) -> str:
    return "all of it" if channels is None else f"{channels} channels"
