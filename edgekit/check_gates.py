"""The gates: what an artifact costs and gives, against its budgets, its source and a baseline.

Size is exact. Accuracy on the samples that the limit was set on is exact too: the artifact answers
them alike each time. Latency has intervals; see `edgekit.check_latency`.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit import intervals, metrics, units
from edgekit.build_types import Budgets
from edgekit.check_types import Against, Figures, Gate, Outcome
from edgekit.types import Accuracy

ROUNDING = 1e-9
"""0.90 − 0.89 is a little more than 0.01 in floating point, and 1.025 ms less than 0.001025 s."""
MEMORY_NOISE_BYTES = 4096
"""What repeats of a measured peak differ by, at most, on an idle machine: one page."""


def budgets(figures: Figures, limits: Budgets) -> Iterator[Gate]:
    """The gates that a budget asks for; what was not measured breaks its gate."""
    if limits.max_size_bytes is not None:
        yield _size(figures, limits.max_size_bytes)
    if limits.max_latency_ms is not None:
        yield _latency(figures, limits.max_latency_ms / 1e3)
    if limits.max_memory_bytes is not None:
        yield _memory(figures, limits.max_memory_bytes)


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
        yield _accuracy_gate(
            "source",
            f"accuracy cannot be judged: nothing says what the source of {figures.artifact} had",
            "keep the artifact's manifest beside it, or give --baseline FILE",
            allowed=limit,
        )
    else:
        yield _drop(figures, reference, limit, "source")


def baseline(
    figures: Figures, before: Figures, limits: Budgets, tolerance: float
) -> Iterator[Gate]:
    """Size, accuracy and memory against a baseline's; a budget of its own rules size and memory."""
    if limits.max_size_bytes is None:
        yield _size_growth(figures, before)
    if limits.max_memory_bytes is None:
        yield from _memory_growth(figures, before, tolerance)
    yield from _baseline_accuracy(figures, before, limits.max_drop)


def _size(figures: Figures, limit: int) -> Gate:
    told = f"size {_bytes(figures.size_bytes)}, allowed {_bytes(limit)}"
    return _size_gate(figures, "budget", limit, told)


def _size_growth(figures: Figures, before: Figures) -> Gate:
    told = f"size {_bytes(figures.size_bytes)}, the baseline has {_bytes(before.size_bytes)}"
    return _size_gate(figures, "baseline", before.size_bytes, told)


def _size_gate(figures: Figures, against: Against, limit: int, told: str) -> Gate:
    over = figures.size_bytes - limit
    return Gate(
        name="size",
        against=against,
        outcome="broken" if over > 0 else "held",
        unit="bytes",
        value=figures.size_bytes,
        allowed=limit,
        line=f"{told}: {_bytes(over)} over" if over > 0 else told,
        fix=_smaller(f"--max-size-bytes {figures.size_bytes}") if over > 0 else "",
    )


def _smaller(allowance: str) -> str:
    return (
        "convert to a smaller --precision, or compress first (edgekit recipes list); if it is"
        f" meant, allow it with {allowance}"
    )


def _latency(figures: Figures, limit_s: float) -> Gate:
    told, fix = _latency_words(figures, limit_s)
    over = 100 * ((figures.median_s or 0) / limit_s - 1)
    return Gate(
        name="latency",
        against="budget",
        outcome="broken" if fix else "held",
        unit="s",
        value=figures.median_s,
        allowed=limit_s,
        interval=figures.ci95_s,
        level=0.95 if figures.ci95_s else None,
        line=f"{told}, allowed {units.duration(limit_s)}"
        + (f": {units.significant(over)} % over" if fix and over > 0 else ""),
        fix=fix,
    )


def _latency_words(figures: Figures, limit_s: float) -> tuple[str, str]:
    """What was measured, and what to do about it where that is too much or nothing."""
    median_s, interval_s = figures.median_s, figures.ci95_s
    if median_s is None:
        why = f" ({figures.why_no_latency})" if figures.why_no_latency else ""
        return f"latency was not measured{why}", measure(figures)
    contended = " (contended: others disturbed it)" if figures.contended else ""
    interval = units.duration_interval(median_s, interval_s)
    told = f"median latency {units.duration(median_s)} {interval}".rstrip() + contended
    if median_s <= limit_s * (1 + ROUNDING):
        return told, ""
    if figures.contended or (interval_s and interval_s[0] <= limit_s):
        return told, f"on an idle machine and for longer: {measure(figures, '--budget 120')}"
    return told, (
        "convert with --precision int8, or compress with a channels recipe (edgekit recipes list);"
        f" if it is meant, allow it with --max-latency-ms {median_s * 1e3:.4g}"
    )


def _memory(figures: Figures, limit: int) -> Gate:
    value = figures.peak_delta_bytes
    if value is None:
        told = "peak memory was not measured"
        fix = f"where edgekit doctor says that peak memory can be: {measure(figures)}"
    else:
        told = f"peak memory {_bytes(value)}"
        fix = _smaller(f"--max-memory-bytes {value}") if value > limit else ""
    return Gate(
        name="memory",
        against="budget",
        outcome="broken" if fix else "held",
        unit="bytes",
        value=value,
        allowed=limit,
        line=f"{told}, allowed {_bytes(limit)}",
        fix=fix,
    )


def _memory_growth(figures: Figures, before: Figures, tolerance: float) -> Iterator[Gate]:
    """A warning only: a peak has no interval that would tell growth from chance."""
    value, reference = figures.peak_delta_bytes, before.peak_delta_bytes
    if value is None or reference is None:
        return
    allowed = reference * (1 + tolerance) + MEMORY_NOISE_BYTES
    grown = value > allowed
    yield Gate(
        name="memory",
        against="baseline",
        outcome="warned" if grown else "held",
        unit="bytes",
        value=value,
        allowed=allowed,
        line=f"peak memory {_bytes(value)}, the baseline has {_bytes(reference)}",
        fix="set --max-memory-bytes to make it a gate" if grown else "",
    )


def _baseline_accuracy(figures: Figures, before: Figures, limit: float | None) -> Iterator[Gate]:
    if figures.accuracy is None:
        if before.accuracy is not None or limit is not None:
            yield _no_accuracy(figures, "baseline", limit)
    elif before.accuracy is not None:
        yield _drop(figures, before.accuracy, limit, "baseline")
    elif limit is not None:
        yield _accuracy_gate(
            "baseline",
            "accuracy cannot be judged: the baseline has none",
            "edgekit baseline update with a result that was measured with --data",
            allowed=limit,
        )


def _no_accuracy(figures: Figures, against: Against, limit: float | None) -> Gate:
    fix = measure(figures, "--data SPEC")
    wanted = "the baseline has one" if limit is None else f"allowed is a drop of {limit:g}"
    return _accuracy_gate(against, f"accuracy was not measured, {wanted}", fix, allowed=limit)


def _drop(figures: Figures, reference: Accuracy, limit: float | None, against: Against) -> Gate:
    """Whether the accuracy fell by more than is allowed.

    On as many samples as the reference the drop itself counts, since these are the same samples;
    without a limit it must also be more than chance explains. On other samples the whole interval
    of the drop must lie above the limit.
    """
    found = figures.accuracy
    assert found is not None, "asked only where there is one"
    if found.metric != reference.metric:
        return _accuracy_gate(
            against,
            f"accuracy is {found.metric}, the {against} has {reference.metric}: no drop is known",
            f"measure with --metric {reference.metric}",
            allowed=limit,
        )
    drop = metrics.drop(reference, found)
    interval = _drop_interval(reference, found)
    same_samples = found.n == reference.n
    allowed = limit or 0.0
    broken = drop > allowed + ROUNDING
    if broken and (limit is None or not same_samples):
        broken = interval is not None and interval[0] > allowed
    doubtful = not broken and not same_samples
    return _accuracy_gate(
        against,
        f"{_values(found, reference, against)}: a drop of {drop:.4f}{_sureness(interval)},"
        f" allowed {'is what chance explains' if limit is None else f'{limit:g}'}",
        _recover(against) if broken else "compare on the same samples" if doubtful else "",
        outcome="broken" if broken else "warned" if doubtful else "held",
        value=drop,
        interval=interval,
        allowed=allowed,
    )


def _values(found: Accuracy, reference: Accuracy, against: Against) -> str:
    name = found.metric
    samples = f"n = {found.n}"
    if found.n != reference.n:
        samples = f"n = {found.n}, there {reference.n}: other samples"
    before = units.metric(name, reference.value)
    return f"{name} {units.metric(name, found.value)}, the {against} has {before} ({samples})"


def _drop_interval(reference: Accuracy, found: Accuracy) -> tuple[float, float] | None:
    if reference.ci95 is None or found.ci95 is None:
        return None
    low, high = intervals.difference_interval(
        reference.value, reference.ci95, found.value, found.ci95
    )
    return (low, high) if reference.higher_is_better else (-high, -low)


def _sureness(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ", without an interval"
    return f" [{interval[0]:.4f}, {interval[1]:.4f}] (95 %, unpaired)"


def _recover(against: Against) -> str:
    if against == "baseline":
        return (
            "measure both with edgekit bench --data to see it again; if it is meant, edgekit"
            " baseline update"
        )
    return "convert with --max-drop, which tries harder, or take a recipe that trains longer"


def _accuracy_gate(
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


def measure(figures: Figures, options: str = "") -> str:
    """What to type to measure an artifact again."""
    words = ("edgekit bench", figures.artifact, options, "-o R.result.json, and check that")
    return " ".join(word for word in words if word)


def _bytes(value: float) -> str:
    """Bytes as a count, since one too many counts."""
    return f"{value:,.0f} byte{'s' * (value != 1)}".replace(",", " ")
