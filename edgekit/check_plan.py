"""What a check will do: every result, with its limits and what it is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import baselines, check_budgets, check_reading, check_reports
from edgekit.build_types import Budgets
from edgekit.check_types import Baseline, BaselineEntry, Figures
from edgekit.errors import UsageError, UserError

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for beyond the results; see `checking.check`."""

    baseline: str | Path | None = None
    max_drop: float | None = None
    max_latency_ms: float | None = None
    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    tolerance: float = 0.05
    unpaired: bool = False
    budget_s: float = 30.0
    config: str | Path | None = None
    junit: str | Path | None = None
    summary: str | Path | None = None
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """One artifact on one device with what it is held against.

    `pair` is the baseline's artifact and this one, where both are there to be measured again;
    `why` says why they are not.
    """

    figures: Figures
    limits: Budgets
    entry: BaselineEntry | None
    pair: tuple[Path, Path] | None = None
    why: str = ""


def resolve(
    results: str | Path | Sequence[str | Path], asked: Request, progress: Progress
) -> tuple[list[Subject], tuple[str, ...]]:
    """Everything that can be found out, and refused, before anything is measured.

    Returns:
        What is judged, and notes about what is not.

    Raises:
        UsageError, UserError, OutputError: See `checking.check`.
    """
    paths = [results] if isinstance(results, str | Path) else list(results)
    _check_arguments(paths, asked)
    limits = check_budgets.resolve(_asked_budgets(asked), asked.config)
    if limits.file is not None:
        progress(f"budgets from {limits.file.path}")
    check_reports.may_write(junit=asked.junit, summary=asked.summary, force=asked.force)
    found = check_reading.read(paths)
    budgets = [check_budgets.of(limits, figures) for figures in found]
    if all(one == Budgets() for one in budgets):
        where = limits.file.path if limits.file else "the command line"
        raise UserError(
            f"{where} has no budget for {check_reading.label(found[0])}",
            "write one under [check], or add --max-size-bytes N or --baseline FILE",
        )
    entries, notes = _entries(found, budgets)
    unruled = [
        f"{check_reading.label(figures)}: no budget is about it, and nothing was checked"
        for figures, one in zip(found, budgets, strict=True)
        if one == Budgets()
    ]
    return [_paired(Subject(*one)) for one in zip(found, budgets, entries, strict=True)], (
        *notes,
        *unruled,
    )


def _asked_budgets(asked: Request) -> Budgets:
    return Budgets(
        max_drop=asked.max_drop,
        max_size_bytes=asked.max_size_bytes,
        max_latency_ms=asked.max_latency_ms,
        max_memory_bytes=asked.max_memory_bytes,
        baseline=None if asked.baseline is None else str(asked.baseline),
    )


def _check_arguments(paths: Sequence[str | Path], asked: Request) -> None:
    if not paths:
        raise UsageError("no result was given", "edgekit check RESULT…")
    for name, share in (("--max-drop", asked.max_drop), ("--tolerance", asked.tolerance)):
        if share is not None and not 0 <= share < 1:
            raise UsageError(f"{name} {share:g} is not in 0 to 1", f"{name} 0.05")
    for name, value in (
        ("--max-latency-ms", asked.max_latency_ms),
        ("--max-size-bytes", asked.max_size_bytes),
        ("--max-memory-bytes", asked.max_memory_bytes),
        ("--budget", asked.budget_s),
    ):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} {value:g} is not a number above 0", f"{name} 30")


def _entries(
    found: Sequence[Figures], budgets: Sequence[Budgets]
) -> tuple[list[BaselineEntry | None], tuple[str, ...]]:
    """The baseline's entry of each, and what baselines hold beyond."""
    read: dict[str, Baseline] = {
        path: baselines.read(path)
        for path in dict.fromkeys(one.baseline for one in budgets)
        if path is not None
    }
    entries: list[BaselineEntry | None] = [None] * len(found)
    notes = []
    for path, baseline in read.items():
        mine = [at for at, one in enumerate(budgets) if one.baseline == path]
        matched = baselines.match([found[at] for at in mine], baseline)
        for at, entry in zip(mine, matched, strict=True):
            entries[at] = entry
        unmatched = [one for one in baseline.entries if one not in matched]
        if unmatched:
            names = ", ".join(check_reading.label(one.figures) for one in unmatched[:3])
            more = f" and {len(unmatched) - 3} more" if len(unmatched) > 3 else ""
            notes.append(f"{path} also has {names}{more}, of which no result was given")
    return entries, tuple(notes)


def _paired(subject: Subject) -> Subject:
    """Finds the two artifacts that latency is measured of."""
    figures, entry = subject.figures, subject.entry
    if entry is None or entry.figures.sha256 == figures.sha256 or figures.median_s is None:
        return subject
    assert subject.limits.baseline is not None, "an entry comes from a baseline"
    before = baselines.artifact(entry, Path(subject.limits.baseline))
    now = Path(figures.artifact)
    why = ""
    if before is None:
        why = "the baseline's artifact is not at hand to measure both again"
    elif not baselines.holds(now, figures.sha256):
        why = f"{now} is not at hand as it was measured, to measure both again"
    pair = (before, now) if before is not None and not why else None
    return Subject(figures, subject.limits, entry, pair, why)
