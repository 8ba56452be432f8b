"""Whether an artifact lost accuracy against its source or a baseline.

On the samples that the reference was judged on, the drop is exact: an artifact answers them alike
each time. Its interval says how far it holds beyond them.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import check_reading, intervals, metrics, units
from edgekit.build_types import Budgets
from edgekit.check_types import Against, Figures, Gate, Outcome
from edgekit.types import Accuracy

ROUNDING = 1e-9
"""0.90 − 0.89 is a little more than 0.01 in floating point."""


def source(figures: Figures, limits: Budgets, *, needed: bool) -> Iterator[Gate]:
    """The drop from the model that the artifact was made from, where `max_drop` asks for it.

    Args:
        figures: What is judged.
        limits: Its budgets.
        needed: Whether there is no baseline to hold the accuracy against: then a source whose
            accuracy is not known breaks the gate.
    """
    reference, limit = figures.source_accuracy, limits.max_drop
    if limit is None or (reference is None and not needed):
        return
    if figures.accuracy is None:
        yield _no_accuracy(figures, "source", limit)
    elif reference is None:
        yield _gate(
            "source",
            f"accuracy cannot be judged: nothing says what the source of {figures.artifact} had",
            "check it together with the result of the model's fp32 artifact, convert with"
            " --max-drop, or give --baseline FILE",
            allowed=limit,
        )
    else:
        name = f"its float artifact {figures.float_artifact}" if figures.float_artifact else None
        yield _drop(figures, reference, limit, "source", name)


def baseline(figures: Figures, before: Figures, limit: float | None) -> Iterator[Gate]:
    """The drop from a baseline's accuracy; an accuracy that is lost breaks the gate."""
    if figures.accuracy is None:
        if before.accuracy is not None or limit is not None:
            yield _no_accuracy(figures, "baseline", limit)
    elif before.accuracy is not None:
        yield _drop(figures, before.accuracy, limit, "baseline")
    elif limit is not None:
        yield _gate(
            "baseline",
            "accuracy cannot be judged: the baseline has none",
            "edgekit baseline update with a result that was measured with --data",
            allowed=limit,
        )


def _no_accuracy(figures: Figures, against: Against, limit: float | None) -> Gate:
    fix = check_reading.measure(figures, "--data SPEC")
    wanted = "the baseline has one" if limit is None else f"allowed is a drop of {limit:g}"
    return _gate(against, f"accuracy was not measured, {wanted}", fix, allowed=limit)


def _drop(
    figures: Figures,
    reference: Accuracy,
    limit: float | None,
    against: Against,
    name: str | None = None,
) -> Gate:
    """Whether the accuracy fell by more than is allowed.

    On the reference's own samples (as many, with the same labels) the drop itself counts; without
    a limit it must also be more than chance explains. On other samples the whole interval of the
    drop must lie above the limit.
    """
    found = figures.accuracy
    assert found is not None, "asked only where there is one"
    if found.metric != reference.metric:
        return _gate(
            against,
            f"accuracy is {found.metric}, the {against} has {reference.metric}: no drop is known",
            f"measure with --metric {reference.metric}",
            allowed=limit,
        )
    drop = metrics.drop(reference, found)
    interval = _drop_interval(reference, found)
    same_samples = _same_samples(found, reference)
    allowed = limit or 0.0
    broken = drop > allowed + ROUNDING
    if broken and (limit is None or not same_samples):
        broken = interval is not None and interval[0] > allowed
    doubtful = not broken and not same_samples
    return _gate(
        against,
        f"{_values(found, reference, name or f'the {against}')}: a drop of"
        f" {units.metric_change(found.metric, drop, interval)} {_sureness(interval)}, allowed"
        f" {_allowance(found.metric, limit)}",
        _recover(against) if broken else "compare on the same samples" if doubtful else "",
        outcome="broken" if broken else "warned" if doubtful else "held",
        value=drop,
        interval=interval,
        allowed=allowed,
    )


def _same_samples(found: Accuracy, reference: Accuracy) -> bool:
    known = None not in (found.labels_sha256, reference.labels_sha256)
    return found.n == reference.n and not (known and found.labels_sha256 != reference.labels_sha256)


def _values(found: Accuracy, reference: Accuracy, whose: str) -> str:
    name = found.metric
    samples = f"n = {found.n}"
    if not _same_samples(found, reference):
        samples = f"n = {found.n}, there {reference.n}: other samples"
    before = units.metric(name, reference.value)
    return f"{name} {units.metric(name, found.value)}, {whose} has {before} ({samples})"


def _drop_interval(reference: Accuracy, found: Accuracy) -> tuple[float, float] | None:
    if reference.ci95 is None or found.ci95 is None:
        return None
    low, high = intervals.difference_interval(
        reference.value, reference.ci95, found.value, found.ci95
    )
    return (low, high) if reference.higher_is_better else (-high, -low)


def _sureness(interval: tuple[float, float] | None) -> str:
    return "(95 %, unpaired)" if interval else "(without an interval)"


def _allowance(metric: str, limit: float | None) -> str:
    return "is what chance explains" if limit is None else units.metric_change(metric, limit)


def _recover(against: Against) -> str:
    if against == "baseline":
        return (
            "measure both with edgekit bench --data to see it again; if it is meant, edgekit"
            " baseline update"
        )
    return "convert with --max-drop, which tries harder, or take a recipe that trains longer"


def _gate(
    against: Against,
    line: str,
    fix: str,
    *,
    allowed: float | None,
    outcome: Outcome = "broken",
    value: float | None = None,
    interval: tuple[float, float] | None = None,
) -> Gate:
    return Gate(
        name="accuracy",
        against=against,
        outcome=outcome,
        unit="drop",
        value=value,
        allowed=allowed,
        interval=interval,
        level=0.95 if interval else None,
        line=line,
        fix=fix,
    )
