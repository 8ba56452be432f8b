"""Refined post-training quantization: int8 tuned on unlabelled samples, never worse than plain.

Channels are equalized, biases corrected for what rounding the weights shifts, and rounding and
ranges trained against the float model. At every stage the better of two twins goes on, judged by
the signal-to-noise ratio of the outputs. Samples that are held back say where the training was
best, and others, which nothing was chosen by, have the last word between that and plain int8.
Imports TensorFlow: for workers.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import (
    bias_correction,
    equalizing,
    graph,
    observing,
    range_candidates,
    rebuilding,
    training,
)
from edgekit.compression.int8_rules import Range
from edgekit.compression.quantized_twin import Twin
from edgekit.compression.rounding_training import RoundingTraining
from edgekit.compression.tracing import Traced
from edgekit.errors import DataError

Array = NDArray[Any]
Batch = list[Array]

SAMPLES = 512
"""At most, as long as a fixed batch does not need more."""
HELD_BACK = 4
"""Every fourth is held back; these in turn choose a state of the training, and judge it."""
LEAST_SAMPLES = 8
BATCH = 32
STEPS = 400
JUDGED_EVERY = 50
SEARCH_SAMPLES = 96
SEARCH_GAIN_DB = 0.05
GAIN_DB = 0.2
"""A smaller advantage of a stage is not worth having."""


class _State(NamedTuple):
    """Weights and ranges of a twin, and how near its outputs are to the float model's."""

    weights: list[Array]
    ranges: dict[str, Range]
    sqnr_db: float


def least_samples(size: int, *, fixed: bool) -> int:
    """How many it takes: those that choose, and those that judge, make a batch of a fixed size."""
    return max(LEAST_SAMPLES, 2 * HELD_BACK * size) if fixed else LEAST_SAMPLES


class Refinement:
    """One refinement of the open model, driven in slices of time.

    Args:
        twin: Of the model; its weights and ranges are changed.
        samples: Inputs in the model's order [n, …], without labels.
        size: Samples of a batch.
        seed: Of the order of training.
        fixed: The model takes batches of this size only.

    Raises:
        DataError: There are too few samples.
    """

    def __init__(
        self, twin: Twin, samples: Sequence[Array], size: int, seed: int, *, fixed: bool = False
    ) -> None:
        count, least = len(samples[0]), least_samples(size, fixed=fixed)
        if count < least:
            raise DataError(
                f"{count} samples are too few to refine int8 on", f"give {max(100, least)} or more"
            )
        training.make_deterministic(seed)
        self._twin, self._seed = twin, seed
        self._size = min(size, count // HELD_BACK)
        place = np.arange(count) % (2 * HELD_BACK)
        chooses, judges = place == HELD_BACK - 1, place == 2 * HELD_BACK - 1
        self._fitted, self._choosing, self._judging = (
            [one[part] for one in samples] for part in (~(chooses | judges), chooses, judges)
        )
        self._exactly, self._rounded = (
            Traced(partial(twin.before_bounding, rounding=rounding)) for rounding in (False, True)
        )
        few = max(self._size, SEARCH_SAMPLES // self._size * self._size)
        self._few = [one[:few] for one in self._fitted]
        self._exact = {id(part): self._answers(part, rounding=False)
                       for part in (self._fitted, self._choosing, self._judging, self._few)
                       }  # fmt: skip
        self.samples = count
        self.report: dict[str, Any] = {}
        self._work = self._stages()
        self._done = 0

    def advance(self, limit_s: float) -> dict[str, int]:
        """Works for about `limit_s` seconds; steps `done` of `total`."""
        started = time.monotonic()
        for _ in self._work:
            self._done = min(self._done + 1, STEPS - 1)
            if time.monotonic() - started >= limit_s:
                break
        else:
            self._done = STEPS
        return {"done": self._done, "total": STEPS}

    def _stages(self) -> Iterator[None]:
        untouched = self._twin.model.get_weights()
        plain = yield from self._calibrated()
        plain_db = self._sqnr(self._judging)
        yield
        best = plain
        scaled = yield from self._equalized()
        equalized = scaled.sqnr_db > best.sqnr_db + GAIN_DB
        best = scaled if equalized else best
        self._restore(best)
        yield
        teacher = Twin(
            rebuilding.rebuild(graph.read(self._twin.model)), self._twin.scheme,
            self._twin.per_tensor,
        )  # fmt: skip
        corrected = self._corrected()
        used_bias = corrected.sqnr_db > best.sqnr_db + GAIN_DB
        best = corrected if used_bias else best
        self._restore(best)
        before = best._replace(sqnr_db=self._sqnr(self._choosing))
        last = yield from self._trained(teacher, before)
        self._restore(last)
        refined_db = self._sqnr(self._judging)
        improved = refined_db > plain_db
        if not improved:
            self._restore(plain._replace(weights=untouched))
        self.report = {
            "kept": "refined" if improved else "plain",
            "samples": len(self._fitted[0]),
            "choosing": self._seen(self._choosing), "judging": self._seen(self._judging),
            "sqnr_db": refined_db, "plain_sqnr_db": plain_db,
            "equalized": equalized, "bias_corrected": used_bias,
            "trained": last is not before,
        }  # fmt: skip

    def _trained(self, teacher: Twin, best: _State) -> Generator[None, None, _State]:
        """The best of what training leads to and what it begins with, on what is to choose."""
        training = RoundingTraining(self._twin, teacher)
        random = np.random.default_rng(self._seed)
        count = len(self._fitted[0])
        for step in range(STEPS):
            numbers = random.permutation(count)[: self._size]
            training.step([one[np.sort(numbers)] for one in self._fitted], step / STEPS)
            if (step + 1) % JUDGED_EVERY == 0:
                now = self._sqnr(self._choosing)
                best = self._state(now) if now > best.sqnr_db else best
            yield
        return best

    def _calibrated(self) -> Generator[None, None, _State]:
        """The twin with its best ranges for the weights that it has, as `convert` finds them.

        The best method for all activations, and then for each what helps the outputs more.
        """
        seen = observing.observe(self._twin, self._batches(self._fitted))
        found = [range_candidates.ranges(seen, one) for one in range_candidates.METHODS]
        tried = []
        for ranges in found:
            self._twin.set_ranges(ranges)
            tried.append(self._state(self._sqnr(self._fitted)))
            yield
        best = max(tried, key=lambda one: one.sqnr_db)
        self._restore(best)
        nearest = self._sqnr(self._few)
        for name in self._twin.sites:
            for limits in sorted({ranges[name] for ranges in found} - {best.ranges[name]}):
                before = {name: self._twin.ranges()[name]}
                self._twin.set_ranges({name: limits})
                now = self._sqnr(self._few)
                if now > nearest + SEARCH_GAIN_DB:
                    nearest = now
                else:
                    self._twin.set_ranges(before)
                yield
        searched = self._state(self._sqnr(self._fitted))
        best = max(best, searched, key=lambda one: one.sqnr_db)
        self._restore(best)
        return best

    def _equalized(self) -> Generator[None, None, _State]:
        largest = bias_correction.largest_inputs(self._twin, self._batches(self._fitted))
        for _ in range(2):  # a layer that was scaled as a reader is then scaled as a maker
            made = equalizing.equalize(self._twin.graph, self._twin.rules, largest)
            if not made:
                break
            largest = bias_correction.largest_inputs(self._twin, self._batches(self._fitted))
        return (yield from self._calibrated())

    def _corrected(self) -> _State:
        bias_correction.correct(self._twin, self._batches(self._fitted))
        return self._state(self._sqnr(self._fitted))

    def _state(self, sqnr_db: float) -> _State:
        return _State(self._twin.model.get_weights(), self._twin.ranges(), sqnr_db)

    def _restore(self, state: _State) -> None:
        self._twin.model.set_weights(state.weights)
        self._twin.set_ranges(state.ranges)

    def _batches(self, part: Sequence[Array]) -> Iterator[Batch]:
        size = min(self._size, len(part[0]))
        for start in range(0, len(part[0]) - size + 1, size):
            yield [one[start : start + size] for one in part]

    def _answers(self, part: Sequence[Array], *, rounding: bool) -> list[Array]:
        made = [
            [np.asarray(one, np.float64) for one in
             (self._rounded if rounding else self._exactly)(batch)]
            for batch in self._batches(part)
        ]  # fmt: skip
        return [np.concatenate(one) for one in zip(*made, strict=True)]

    def _seen(self, part: Sequence[Array]) -> int:
        """How many samples of a part make whole batches, which are what is looked at."""
        return sum(len(batch[0]) for batch in self._batches(part))

    def _sqnr(self, part: Sequence[Array]) -> float:
        """Of the worst output, in decibels, before a final softmax or sigmoid that hides noise."""
        exact, found = self._exact[id(part)], self._answers(part, rounding=True)
        ratios = [
            np.square(one).sum() / max(np.square(one - other).sum(), 1e-30)
            for one, other in zip(exact, found, strict=True)
        ]
        return float(10 * np.log10(max(min(ratios), 1e-30)))
