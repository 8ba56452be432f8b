"""Chooses activation ranges by what they do to the model's outputs.

A method's name says little: the defaults of two well-known quantizers cost an anomaly detector a
tenth of its AUC without a word. So every method is tried, and the one whose outputs are nearest
to the source's on the calibration samples is taken: the first in the converter's order, unless
another is nearer by more than the samples can mistake. Where trying is cheap, single activations
then move to another method as long as that helps (coordinate search).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekit import building, chunks
from edgekit.building import Built, Choice, Workshop
from edgekit.chunks import Arrays
from edgekit.errors import EdgekitError
from edgekit.manifest_types import Calibration, CalibrationCandidate
from edgekit.parity import worst_sqnr_db
from edgekit.types import STATIC_PRECISIONS, Precision

TUNED = "per-tensor"
SEARCH_MAX_BYTES = 1 << 20
SEARCH_MAX_SAMPLES = 100
SEARCH_ENOUGH_DB = 40.0
SEARCH_GAIN_DB = 0.05
MARGIN_DB = 0.5
"""A smaller advantage on the calibration samples does not carry over to others.

Min-max comes first because it clips nothing: samples that are unlike the calibration samples, as
anomalies are, then still show.
"""


def choose(
    shop: Workshop,
    precision: Precision,
    reference: Arrays,
    hub_bytes: int,
    on_progress: Callable[[str], None],
) -> tuple[Built, Calibration | None]:
    """The best artifact at one precision, and the evidence.

    Args:
        shop: The converter and execution workers.
        precision: What to build.
        reference: The source's outputs on the calibration samples.
        hub_bytes: Size of the float model, which tells whether a search is cheap.
        on_progress: Told what is being tried.

    Raises:
        EdgekitError: No method gave an artifact; the first one's error.
    """
    methods: list[str] = shop.converter.call("methods", precision=precision)
    if not methods:
        return building.build(shop, Choice(precision)), None
    tried: list[tuple[CalibrationCandidate, Built]] = []
    failed: list[tuple[CalibrationCandidate, EdgekitError]] = []
    for method in methods:
        on_progress(f"calibrating {precision}: {method}")
        try:
            built = building.build(shop, Choice(precision, method))
            sqnr = worst_sqnr_db(reference, building.predict(shop, built, shop.calibration))
        except EdgekitError as error:
            # Without the staging directory's random name: manifests of equal inputs are equal.
            reason = error.message.replace(f"{shop.directory}/", "")
            failed.append((CalibrationCandidate(method, None, reason), error))
            continue
        tried.append((CalibrationCandidate(method, sqnr), built))
    if not tried:
        raise failed[0][1]
    best, built = _nearest(tried)
    candidates = [candidate for candidate, _ in tried] + [candidate for candidate, _ in failed]
    tunable = shop.per_tensor and len(methods) > 1  # trained ranges are not
    if tunable and _search_is_cheap(precision, hub_bytes, _decibels(best)):
        on_progress(f"calibrating {precision}: {TUNED}")
        tuned, sqnr = _search(shop, built, reference, methods)
        candidates.append(CalibrationCandidate(TUNED, sqnr))
        if sqnr > _decibels(best) + MARGIN_DB:
            built, best = tuned, candidates[-1]
    samples = len(next(iter(reference.values())))
    return built, Calibration(samples, shop.seed, best.method, tuple(candidates))


def _nearest(
    tried: list[tuple[CalibrationCandidate, Built]],
) -> tuple[CalibrationCandidate, Built]:
    """The first that no other beats by more than the margin."""
    limit = max(_decibels(candidate) for candidate, _ in tried) - MARGIN_DB
    return next(pair for pair in tried if _decibels(pair[0]) >= limit)


def _search(
    shop: Workshop, start: Built, reference: Arrays, methods: list[str]
) -> tuple[Built, float]:
    """Coordinate search: one pass over the activations, keeping each change that helps.

    It looks at every second sample, so that the others can say whether the result is worth having.
    """
    samples, expected = _every_second(shop.calibration, reference)
    best, best_db = start, worst_sqnr_db(expected, building.predict(shop, start, samples))
    for tensor in shop.converter.call("tensors", samples=str(shop.calibration)):
        current = best.choice.overrides.get(tensor, start.choice.method)
        for method in methods:
            if method == current:
                continue
            overrides = {**best.choice.overrides, tensor: method}
            trial = building.build(shop, replace(best.choice, overrides=overrides))
            trial_db = worst_sqnr_db(expected, building.predict(shop, trial, samples))
            if trial_db > best_db + SEARCH_GAIN_DB:
                best, trial, best_db = trial, best, trial_db
            if trial is not start:
                building.discard(trial)
    return best, worst_sqnr_db(reference, building.predict(shop, best, shop.calibration))


def _every_second(calibration: Path, reference: Arrays) -> tuple[Path, Arrays]:
    samples = calibration.with_name("calibration-half")
    picked = slice(0, 2 * SEARCH_MAX_SAMPLES, 2)
    if not samples.exists():
        everything = chunks.read_all(calibration)
        chunks.write(samples, [{name: array[picked] for name, array in everything.items()}])
    return samples, {name: array[picked] for name, array in reference.items()}


def _search_is_cheap(precision: Precision, hub_bytes: int, sqnr_db: float) -> bool:
    static = precision in STATIC_PRECISIONS
    return static and hub_bytes <= SEARCH_MAX_BYTES and sqnr_db < SEARCH_ENOUGH_DB


def _decibels(candidate: CalibrationCandidate) -> float:
    return -np.inf if candidate.sqnr_db is None else candidate.sqnr_db
