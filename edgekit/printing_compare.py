"""How `edgekit compare` shows its report: outputs, accuracy, classes, layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from edgekit import compare_warnings, printing, units
from edgekit.compare_outputs import within_one_step
from edgekit.compare_types import (
    AccuracyChange,
    ClassChange,
    Compared,
    CompareReport,
    Layer,
    LayerReport,
    OutputDifference,
)
from edgekit.tensor_names import short
from edgekit.types import Accuracy

MOST_CLASSES = 10
MOST_LAYERS = 40
"""Of more layers the worst are shown, in their order; `-v` shows all."""
_BARS = "▁▂▃▄▅▆▇█"
_FULL_BAR_DB = 40.0

_OUTPUT_COLUMNS = (
    ("output", False), ("largest\ndifference", True), ("mean\ndifference", True), ("SQNR", True),
    ("cosine", True), ("top-1\nagreement", True),
)  # fmt: skip
_CLASS_COLUMNS = (
    ("class", True), ("n", True), ("reference", True), ("artifact", True), ("lost", True),
    ("won", True), ("change\n[95 %]", True), ("McNemar p", True),
)  # fmt: skip
_LAYER_COLUMNS = (("layer", False), ("operator", False), ("SQNR", True), ("", False), ("", False))


def compare(
    report: CompareReport,
    *,
    detailed: bool = False,
    written: Sequence[tuple[str, Path | None]] = (),
) -> RenderableType:
    """The whole report.

    Args:
        report: What was found.
        detailed: All classes, all layers, and what could not be matched.
        written: What was written where; None for what was not asked for.
    """
    places = [(what, str(path)) for what, path in written if path is not None]
    return printing.stack(
        printing.facts(_sides(report)),
        printing.table(_OUTPUT_COLUMNS, map(_output_row, report.outputs)),
        *(_accuracy(report.accuracy, detailed) if report.accuracy else ()),
        *(_layers(report, report.layers, detailed) if report.layers else ()),
        printing.facts(places) if places else None,
        printing.warnings(report.warnings),
    )


def _sides(report: CompareReport) -> Iterator[tuple[str, str]]:
    yield "reference", _side(report.reference)
    yield "artifact", _side(report.artifact)
    yield "data", f"{report.data.spec}, {report.outputs[0].samples} test samples"


def _side(about: Compared) -> str:
    precision = f" {about.precision}" if about.precision else ""
    ran = f", computed in {about.ran or f'what {about.runtime} does not tell'}"
    hint = f" (hint {about.precision_hint})" if about.precision_hint else ""
    return f"{about.path}: {about.format}{precision}, {units.size(about.size_bytes)}{ran}{hint}"


def _output_row(output: OutputDifference) -> printing.Row:
    steps = f"{units.significant(output.max_steps, 2)} steps" if output.max_steps else ""
    agreement = output.top1_agreement
    return [
        printing.two_lines(output.name, "within one step" if _is_one_step(output) else ""),
        printing.two_lines(units.difference(output.max_abs), steps),
        units.difference(output.mean_abs),
        units.decibels(output.sqnr_db),
        units.NOT_MEASURED if output.cosine is None else f"{output.cosine:.5f}",
        units.NOT_MEASURED if agreement is None else units.metric("top1", agreement),
    ]


def _is_one_step(output: OutputDifference) -> bool:
    return within_one_step(output.max_steps)


def _accuracy(change: AccuracyChange, detailed: bool) -> Iterator[RenderableType]:
    metric = change.reference.metric
    pairs = [
        ("reference", _judged(change.reference)),
        ("artifact", _judged(change.artifact)),
    ]
    pairs.append(("drop", units.metric_change(metric, change.drop, change.drop_ci95)))
    if change.paired is not None:
        told = (
            f"{change.paired.only_source_right} right in the reference alone,"
            f" {change.paired.only_result_right} in the artifact alone:"
            f" p {units.probability(change.paired.p_value)}"
        )
        pairs.append(("McNemar", told))
    yield printing.stack(
        Text(f"{metric} on {change.reference.n} samples", style="bold"), printing.facts(pairs)
    )
    classes = change.classes or ()
    shown = classes if detailed else _telling(classes)
    if shown:
        lost = {one.label for one in compare_warnings.lost_classes(change)}
        rows = [_class_row(one, one.label in lost) for one in shown]
        left = len(classes) - len(shown)
        title = "classes, most lost first" + (f" ({left} more: -v)" if left else "")
        yield printing.table(_CLASS_COLUMNS, rows, title=title)


def _judged(accuracy: Accuracy) -> str:
    interval = units.metric_interval(accuracy.metric, accuracy.value, accuracy.ci95)
    return f"{units.metric(accuracy.metric, accuracy.value)} {interval}"


def _telling(classes: Iterable[ClassChange]) -> tuple[ClassChange, ...]:
    changed = [one for one in classes if one.lost or one.won]
    return tuple(changed[:MOST_CLASSES])


def _class_row(one: ClassChange, marked: bool) -> printing.Row:
    style = "bold red" if marked else ""
    change = (one.artifact_right - one.reference_right) / one.n
    low, high = (100 * edge for edge in one.change_ci95)
    return [
        Text(str(one.label), style=style),
        str(one.n),
        units.metric("top1", one.reference_right / one.n),
        units.metric("top1", one.artifact_right / one.n),
        Text(str(one.lost), style=style),
        str(one.won),
        printing.two_lines(f"{100 * change:+.1f} points", f"[{low:.1f}, {high:.1f}]"),
        units.probability(one.p_value).removeprefix("= "),
    ]


def _layers(whole: CompareReport, report: LayerReport, detailed: bool) -> Iterator[RenderableType]:
    shown = report.layers if detailed else _worst(report.layers)
    left = len(report.layers) - len(shown)
    title = f"layers on {report.samples} calibration samples" + (
        f" (the {left} best: -v)" if left else ""
    )
    yield printing.table(_LAYER_COLUMNS, map(_layer_row, shown), title=title)
    yield printing.facts(_verdict(report, compare_warnings.of_kernels(whole) is not None))
    if detailed and report.unmatched:
        rows = [[short(one.name), one.kind, one.why] for one in report.unmatched]
        columns = (("not compared", False), ("operator", False), ("why", False))
        yield printing.table(columns, rows)


def _worst(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    kept = sorted(layers, key=lambda one: (not one.bad, one.sqnr_db))[:MOST_LAYERS]
    names = {id(one) for one in kept}
    return tuple(one for one in layers if id(one) in names)


def _layer_row(layer: Layer) -> printing.Row:
    style = "bold red" if layer.bad else ""
    mark = "within one step" if within_one_step(layer.max_steps) else ""
    if layer.bad:
        mark = f"bad: {layer.own_loss_db:.0f} dB below its inputs"
    return [
        Text(printing.cell(short(layer.name)).plain, style=style),
        layer.kind,
        units.decibels(layer.sqnr_db),
        bar(layer.sqnr_db),
        Text(mark, style=style),
    ]


def bar(sqnr_db: float) -> str:
    """One character for a ratio: full from 40 dB on, the lowest at 0 dB and below."""
    share = min(1.0, max(0.0, sqnr_db / _FULL_BAR_DB))
    return _BARS[round(share * (len(_BARS) - 1))]


def _verdict(report: LayerReport, kernels_explain: bool) -> Iterator[tuple[str, str]]:
    yield "over depth", "".join(bar(layer.sqnr_db) for layer in report.layers)
    first = next((layer for layer in report.layers if layer.bad), None)
    if report.changed is not None:
        yield "not judged", report.changed
        yield "instead", report.suggestion or ""
    elif first is None and kernels_explain:
        yield "first bad layer", "none: these layers do not explain the output, the kernels do"
    elif first is None:
        yield "first bad layer", "none: no layer is clearly worse than what it is computed from"
    else:
        stands_for = f", the reference's {short(first.reference)}" * (first.reference != first.name)
        what = f"{first.kind}, {first.sqnr_db:.1f} dB"
        yield "first bad layer", f"{short(first.name)} ({what}){stands_for}"
        causes = [f"{cause.kind}: {cause.evidence}" for cause in first.causes]
        yield "likely cause", "\n".join(causes) or "not known: no figure speaks for one"
        yield "what helps", report.suggestion or ""
    if report.unmatched:
        yield "not compared", f"{_tensors(len(report.unmatched))} without a counterpart (-v)"
    if report.kernels_max_abs:
        steps = report.kernels_max_steps
        told = f", {units.significant(steps, 2)} quantization steps" if steps else ""
        line = (
            "these values come from a run that keeps every tensor; its outputs differ from those"
            f" as shipped by at most {units.difference(report.kernels_max_abs)}{told}"
        )
        yield "kernels", line


def _tensors(count: int) -> str:
    return f"{count} tensor{'s' * (count != 1)}"
