"""`--max-drop`: accuracy as a contract, climbed rung by rung.

Rungs, in order: the precision that was asked for, with the best calibration; single layers kept in
float, worst first, in doubling numbers; int16x8. The first rung whose drop on the choosing samples
(the val role) is within the limit is taken. A rung that this version or this target does not have
is named as skipped, never passed over in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit import building, chunks, metrics
from edgekit.building import Built, Choice, Workshop
from edgekit.chunks import Arrays
from edgekit.errors import EdgekitError
from edgekit.intervals import discordant, mcnemar_exact
from edgekit.manifest_types import Calibration, PairedChange, Rung
from edgekit.metrics import Metric
from edgekit.types import STATIC_PRECISIONS, Accuracy, Precision

Climbed = tuple[Built, Calibration | None]


@dataclass(frozen=True, slots=True)
class Judge:
    """Samples of one role with labels, and the source's accuracy on them.

    `source_right` says of each sample whether the source is right, where that has a meaning.
    """

    samples: Path
    labels: NDArray[np.generic] | None
    metric: Metric
    source: Accuracy
    source_right: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Ascent:
    """Where the ladder ended: the artifact to write, the rungs, and whether the drop holds."""

    built: Built
    calibration: Calibration | None
    rungs: tuple[Rung, ...]
    holds: bool


def judge_outputs(judge: Judge, outputs: Arrays) -> Accuracy:
    """The metric of given outputs on the judge's samples."""
    seen = chunks.read_all(judge.samples) if judge.metric.needs_x else None
    found = judge.metric.evaluate(seen, judge.labels, outputs)
    return metrics.of_labels(found, judge.labels)


def paired(judge: Judge, outputs: Arrays) -> PairedChange | None:
    """How given outputs compare with the source's, sample by sample."""
    right = judge.metric.right(None, judge.labels, outputs)
    if right is None or judge.source_right is None:
        return None
    lost, won = discordant(judge.source_right, right)
    return PairedChange(lost, won, mcnemar_exact(lost, won))


def climb(
    shop: Workshop,
    first: Climbed,
    judge: Judge,
    max_drop: float,
    rungs_beyond: Callable[[Precision], Climbed] | None,
    on_progress: Callable[[str], None],
) -> Ascent:
    """Climbs until the drop holds.

    Args:
        shop: The workers.
        first: The artifact at the precision asked for, and its calibration.
        judge: The choosing samples.
        max_drop: Largest drop allowed, absolute in the metric.
        rungs_beyond: Builds another precision (int16x8), or None where the target has none.
        on_progress: Told what is being tried.
    """
    taken: list[tuple[float, Climbed]] = []
    rungs: list[Rung] = []
    for name, attempt in _attempts(shop, first, rungs_beyond):
        on_progress(f"ladder: {name}")
        if isinstance(attempt, str):
            rungs.append(Rung(name, attempt))
            continue
        try:
            climbed = attempt()
            accuracy = judge_outputs(judge, building.predict(shop, climbed[0], judge.samples))
        except EdgekitError as error:
            rungs.append(Rung(name, f"failed: {error.message}"))
            continue
        drop = metrics.drop(judge.source, accuracy)
        holds = drop <= max_drop
        rungs.append(Rung(name, "holds" if holds else "drops too much", accuracy, drop))
        taken.append((drop, climbed))
        if holds:
            return Ascent(*climbed, tuple(rungs), holds=True)
    if not taken:
        return Ascent(*first, tuple(rungs), holds=False)
    _, best = min(taken, key=lambda pair: pair[0])
    return Ascent(*best, tuple(rungs), holds=False)


def _kept_in_float(shop: Workshop, choice: Choice, chosen: Calibration | None) -> Climbed:
    return building.build(shop, choice), chosen


def _attempts(
    shop: Workshop, first: Climbed, beyond: Callable[[Precision], Climbed] | None
) -> Iterator[tuple[str, Callable[[], Climbed] | str]]:
    built, chosen = first
    precision = built.choice.precision
    method = f" ({built.choice.method})" if built.choice.method else ""
    yield f"{precision}{method}", lambda: first
    if precision not in STATIC_PRECISIONS:
        return
    yield (
        "refined PTQ",
        "skipped: it changes the Keras model; compress that with --recipe int8-refined first",
    )
    ranked = [
        str(entry["layer"])
        for entry in shop.converter.call(
            "rank_layers", samples=str(shop.calibration), artifact=str(built.files[0]), limit=64
        )
    ]
    count = 1
    while count <= len(ranked) // 2:
        kept = tuple(ranked[:count])
        choice = replace(built.choice, float_layers=kept)
        yield (
            f"{precision} with {count} layer{'s' * (count > 1)} in float: {', '.join(kept[:2])}"
            + (" …" if count > 2 else ""),
            partial(_kept_in_float, shop, choice, chosen),
        )
        count *= 2
    if precision == "int16x8":
        return
    if beyond is None:
        yield "int16x8", "skipped: the target's runtime has no int16x8"
    else:
        yield "int16x8", lambda: beyond("int16x8")
