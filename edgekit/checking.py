"""The check stage: results + budgets + baseline → pass or fail.

The way of the data: read the figures; find the limits and the baseline's entry of each; measure
against the baseline's artifacts where they are there; hold every figure against its gates; report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgekit import (
    benching,
    check_accuracy,
    check_gates,
    check_latency,
    check_plan,
    check_reading,
    check_reports,
    manifest,
)
from edgekit.bench_statistics import MIN_ROUNDS_99
from edgekit.check_plan import Progress, Request, Subject
from edgekit.check_types import Checked, CheckReport, Figures, Gate, Rerun
from edgekit.errors import GateError, UserError
from edgekit.types import DryRun, ErrorBody


def check(
    results: str | Path | Sequence[str | Path],
    *,
    baseline: str | Path | None = None,
    max_drop: float | None = None,
    max_latency_ms: float | None = None,
    max_size_bytes: int | None = None,
    max_memory_bytes: int | None = None,
    tolerance: float = 0.05,
    unpaired: bool = False,
    budget_s: float = 30.0,
    config: str | Path | None = None,
    junit: str | Path | None = None,
    summary: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    on_progress: Progress | None = None,
) -> CheckReport:
    """Holds results against budgets and a baseline.

    What was not measured breaks the gate that asks for it. Latency against a baseline is measured
    again here, interleaved, wherever both artifacts are at hand.

    Args:
        results: What bench wrote, artifacts with their manifests, directories of both; or one.
        baseline: What `edgekit baseline update` wrote.
        max_drop: Largest accuracy loss against the baseline, and against the source where its
            accuracy is known; absolute in the metric. Default with a baseline: what chance
            explains.
        max_latency_ms: Largest median latency.
        max_size_bytes: Largest size. Default with a baseline: the baseline's.
        max_memory_bytes: Largest peak memory.
        tolerance: By how much the latency may rise above the baseline's, as a share.
        unpaired: Let latencies that were stored on another occasion decide, where the artifacts are
            not at hand; else they only warn.
        budget_s: Wall seconds of measuring each pair of artifacts again.
        config: An edgekit.toml, whose `[check]` says what is not given here. Default: that of the
            current directory, where neither a budget nor a baseline is given.
        junit: Where to write JUnit XML.
        summary: Where to write Markdown; $GITHUB_STEP_SUMMARY is added to, all else is replaced.
        seed: Of the order of measuring.
        force: Replace files at `junit` and `summary` that edgekit did not write.
        on_progress: Told what is measured, and what is taken from a file.

    Raises:
        UsageError: An argument is outside its range.
        UserError: A result, baseline, edgekit.toml or artifact cannot be used.
        OutputError: A report cannot be written.
        GateError: A gate is broken; the reports are written, and its `report` is what was found.
    """
    asked = Request(
        baseline, max_drop, max_latency_ms, max_size_bytes, max_memory_bytes, tolerance, unpaired,
        budget_s, config, junit, summary, seed, force,
    )  # fmt: skip
    subjects, notes = check_plan.resolve(results, asked, on_progress or _silent)
    report = _report(tuple(_judge(one, asked, on_progress or _silent) for one in subjects), notes)
    check_reports.write(report, junit=junit, summary=summary)
    if not report.passed:
        raise _broken(report)
    return report


def plan(results: str | Path | Sequence[str | Path], asked: Request) -> DryRun:
    """What `check` would measure and write with the same arguments, without doing it."""
    subjects, _ = check_plan.resolve(results, asked, _silent)
    runs = [
        f"bench {one.pair[0]} against {one.pair[1]} on {one.figures.device}, at most"
        f" {asked.budget_s:g} s"
        if one.pair
        else f"judge {check_reading.label(one.figures)} from stored figures"
        for one in subjects
    ]
    writes = [str(path) for path in (asked.junit, asked.summary) if path is not None]
    return DryRun("edgekit.dry-run/1", runs=tuple(runs), writes=tuple(writes))


def broken_lines(report: CheckReport) -> Iterator[tuple[Figures, Gate, str]]:
    """Each broken gate with its one line: which artifact, what, how much, what is allowed."""
    for checked in report.checked:
        for gate in checked.gates:
            if gate.outcome == "broken":
                yield checked.figures, gate, f"{check_reading.label(checked.figures)}: {gate.line}"


def _judge(subject: Subject, asked: Request, progress: Progress) -> Checked:
    figures, limits, entry = subject.figures, subject.limits, subject.entry
    gates = [
        *check_gates.budgets(figures, limits),
        *check_accuracy.source(figures, limits, needed=limits.baseline is None),
    ]
    if entry is not None:
        gates += check_gates.baseline(figures, entry.figures, limits, asked.tolerance)
        gates += _latency(subject, entry.figures, asked, progress)
    elif limits.baseline is not None:
        gates.append(_not_in_baseline(limits.baseline))
    return Checked(figures, tuple(gates))


def _not_in_baseline(path: str) -> Gate:
    return Gate(
        name="baseline",
        against="baseline",
        outcome="broken",
        unit="",
        value=None,
        allowed=None,
        line=f"{path} has no such model, target and device (or several, none of this recipe and"
        " precision)",
        fix=f"if it is new: edgekit baseline update RESULT -o {path}",
    )


def _latency(
    subject: Subject, before: Figures, asked: Request, progress: Progress
) -> Iterator[Gate]:
    """The latency's gate; measured on another machine than the target it only warns."""
    target = subject.figures.target
    for gate in _latency_here(subject, before, asked, progress):
        if subject.figures.elsewhere and gate.outcome == "broken":
            line = f"{gate.line}; measured on this machine, not on a {target}"
            yield msgspec.structs.replace(gate, outcome="warned", line=line)
        else:
            yield gate


def _latency_here(
    subject: Subject, before: Figures, asked: Request, progress: Progress
) -> Iterator[Gate]:
    figures = subject.figures
    if subject.pair is not None:
        yield check_latency.remeasured(_measured(subject, asked, progress), asked.tolerance)
    elif figures.sha256 == before.sha256:
        if figures.median_s is not None:
            yield check_latency.same_bytes(asked.tolerance)
    else:
        stored = check_latency.stored(
            figures, before, asked.tolerance, unpaired=asked.unpaired, why=subject.why
        )
        if stored is not None:
            yield stored


def _measured(subject: Subject, asked: Request, progress: Progress) -> Rerun:
    """Both artifacts measured now, where and with as many threads as the result says."""
    assert subject.pair is not None, "asked only where both are there"
    figures, (before, now) = subject.figures, subject.pair
    described = manifest.path_for(now).is_file()
    report = benching.bench(
        [before, now],
        target=None if described else figures.target,
        devices=figures.device or "local",
        threads=figures.conditions.threads if figures.conditions else 1,
        budget_s=asked.budget_s,
        seed=asked.seed,
        rounds=MIN_ROUNDS_99,
        on_progress=progress,
    )
    for one in report.comparison:
        assert one.ratio_ci99 is not None, f"{MIN_ROUNDS_99} rounds give a 99 % interval"
        return Rerun(one.ratio, one.ratio_ci99, one.rounds)
    raise UserError(
        f"{now} cannot be compared with {before}: {'; '.join(report.results[1].warnings)}",
        "edgekit baseline update, if the change is meant",
    )


def _report(checked: tuple[Checked, ...], notes: tuple[str, ...]) -> CheckReport:
    report = CheckReport("edgekit.check/1", passed=True, checked=checked, notes=notes)
    broken = list(broken_lines(report))
    if not broken:
        return report
    error = _error(broken)
    body = ErrorBody(error.exit_code, type(error).__name__, error.message, error.fix)
    return CheckReport("edgekit.check/1", False, checked, notes, body)


def _broken(report: CheckReport) -> GateError:
    error = _error(list(broken_lines(report)))
    error.report = report
    return error


def _error(broken: Sequence[tuple[Figures, Gate, str]]) -> GateError:
    _, gate, line = broken[0]
    more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
    return GateError(line + more, gate.fix)


def _silent(_message: str) -> None:
    """Tells nobody."""
