"""Training samples, spooled once to memory-mapped files, and augmented in a few fixed views.

An augmented view is made once, block by block, with seeds that depend on the view and the block
alone: shuffling and batch size do not change it, and a teacher has to answer to it only once
(function matching, Beyer et al. 2022, arXiv 2106.05237, with a finite number of views).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import preprocess_names, preprocessing, user_code
from edgekit.compression import spooling
from edgekit.compression.spooling import Spool, Spooled
from edgekit.data import Dataset
from edgekit.data_checks import check_dtype, check_finite, fit, shape_text
from edgekit.errors import DataError
from edgekit.types import Batch, Preprocess, Role, TensorSpec
from edgekit.user_code import UserFunction

Array = NDArray[Any]

VIEWS = 4
"""Differently augmented versions of each sample; epoch e sees view e % VIEWS."""

SPOOL = "train"
"""The folder of the samples as they are, beside those of the views."""

BLOCK_SAMPLES = 256
"""Consecutive samples that are augmented together."""


class TrainingData:
    """The train role of a data set, for any number of passes.

    Attributes:
        count: Samples.
        views: 1, or VIEWS where samples are augmented.
        labels: The labels as they are stored, [count, …], memory-mapped; None where none are.
        augment: The augmentation as the user named it, or None.
    """

    def __init__(
        self,
        raw: Spooled,
        inputs: tuple[TensorSpec, ...],
        preprocess: Preprocess,
        seed: int,
        augment: UserFunction | None,
        directory: Path,
    ) -> None:
        self._inputs, self._preprocess, self._seed = inputs, preprocess, seed
        self._augment, self._directory = augment, directory
        self._raw = raw
        self._views = [Spool(directory / f"view-{number}") for number in range(VIEWS)]
        self.count = raw.count
        self.views = VIEWS if augment else 1
        self.augment = augment.spec if augment else None

    @property
    def labels(self) -> Array | None:
        """The labels before augmentation."""
        return self._raw.y

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, in the order of `batch`."""
        return self._inputs

    def batch(self, view: int, numbers: Array) -> tuple[list[Array], Array | None]:
        """Preprocessed inputs [n, …] in the model's order, and labels [n, …] or None.

        Args:
            view: Which augmentation, below `views`.
            numbers: Sample numbers, in any order, also repeated.

        Raises:
            DataError: The augmentation fails or returns what does not fit.
        """
        assert 0 <= view < self.views, (view, self.views)
        while not self.prepare(view, limit_s=60.0):
            pass
        source = self._views[view].spooled if self._augment else self._raw
        assert source is not None
        return self._prepared(source, numbers)

    def blocks(self, view: int) -> Iterator[list[Array]]:
        """The inputs of consecutive blocks of BLOCK_SAMPLES (the last is smaller), in order."""
        for start in range(0, self.count, BLOCK_SAMPLES):
            numbers = np.arange(start, min(start + BLOCK_SAMPLES, self.count))
            yield self.batch(view, numbers)[0]

    def prepare(self, view: int, limit_s: float) -> bool:
        """Augments blocks of a view for about `limit_s` seconds; True once all of it is there."""
        if self._augment is None:
            return True
        started, made = time.monotonic(), self._views[view]
        while made.done < self.count:
            numbers = np.arange(made.done, min(made.done + BLOCK_SAMPLES, self.count))
            made.write(self._augmented(view, numbers))
            if made.done == self.count:
                made.finish()
            if time.monotonic() - started >= limit_s:
                break
        return made.done >= self.count

    def _prepared(self, source: Spooled, numbers: Array) -> tuple[list[Array], Array | None]:
        raw = {name: array[numbers] for name, array in source.x.items()}
        ready = preprocessing.apply(self._preprocess, raw, self._inputs)
        arrays = [ready[spec.name].astype(spec.dtype, copy=False) for spec in self._inputs]
        return arrays, None if source.y is None else source.y[numbers]

    def _augmented(self, view: int, numbers: Array) -> Batch:
        assert self._augment is not None
        block = int(numbers[0]) // BLOCK_SAMPLES
        seed = int(np.random.SeedSequence([self._seed, view, block]).generate_state(1)[0])
        # Copies: the hook may work in place.
        x = {name: np.array(array[numbers]) for name, array in self._raw.x.items()}
        y = None if self._raw.y is None else np.array(self._raw.y[numbers])
        given = next(iter(x.values())) if len(x) == 1 else x
        with user_code.guarded(self._augment.path, self._augment.spec):
            answer = self._augment.function(given, y, seed)
        return self._checked(answer, y, len(numbers))

    def _checked(self, answer: Any, y: Array | None, count: int) -> Batch:
        assert self._augment is not None
        what = self._augment.spec
        if isinstance(answer, tuple):
            if len(answer) != 2:
                raise _wrong(what, f"a tuple of {len(answer)}")
            answer, y = answer[0], None if y is None else np.asarray(answer[1])
        if len(self._inputs) == 1 and not isinstance(answer, Mapping):
            answer = {self._inputs[0].name: answer}
        if not isinstance(answer, Mapping) or set(answer) != {spec.name for spec in self._inputs}:
            raise _wrong(what, type(answer).__name__)
        x = {spec.name: _fitting(answer[spec.name], spec, what, count) for spec in self._inputs}
        if y is not None and (y.ndim == 0 or len(y) != count):
            raise _wrong(what, f"y of shape {shape_text(y.shape)} for {count} samples")
        if y is not None:
            check_dtype(y.dtype, f"y of {what}")
        return Batch(x, y)


def spool(
    dataset: Dataset,
    *,
    seed: int,
    augment: str | None,
    directory: Path,
    role: Role = "train",
) -> TrainingData:
    """Reads a role once and keeps it, before preprocessing, in files in `directory`.

    Args:
        dataset: Opened for the model, with its preprocessing.
        seed: Of the augmentation.
        augment: `file.py:function`, `function(x, y, seed)` → x or (x, y) of the same length; x is
            raw, an array or a dict by input name.
        role: Whose samples.
        directory: For the files; as large as the samples, with augmentation 1 + VIEWS times that.

    Raises:
        DataError: There is no train role, samples differ in shape or type, or the augmentation
            cannot be loaded.
    """
    function = user_code.load(augment) if augment else None
    kept = Spool(directory / SPOOL)
    for batch in dataset.raw().batches(role, BLOCK_SAMPLES):
        kept.write(batch)
    spooled = kept.finish()
    return TrainingData(spooled, dataset.inputs, dataset.preprocess, seed, function, directory)


def reopen(
    spooled: Path,
    inputs: tuple[TensorSpec, ...],
    preprocess: str,
    *,
    seed: int,
    augment: str | None,
    directory: Path,
) -> TrainingData:
    """The samples that another process has spooled.

    Args:
        spooled: The directory that `spool` was given there.
        inputs: The model's.
        preprocess: The value of `--preprocess`.
        seed: Of the augmentation.
        augment: See `spool`.
        directory: For this process's own augmented views.
    """
    function = user_code.load(augment) if augment else None
    prepared = preprocess_names.parse(preprocess)
    raw = spooling.reopen(spooled / SPOOL)
    return TrainingData(raw, inputs, prepared, seed, function, directory)


def _fitting(value: Any, spec: TensorSpec, what: str, count: int) -> Array:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise _wrong(what, type(value).__name__)
    check_dtype(array.dtype, f"x of {what}")
    if array.ndim == 0 or len(array) != count:
        raise _wrong(what, f"x of shape {shape_text(array.shape)} for {count} samples")
    fitted = fit(array, spec, f"x of {what}", np.arange(count))
    check_finite(fitted, f"x of {what}", np.arange(count))
    return fitted


def _wrong(what: str, came: str) -> DataError:
    return DataError(
        f"{what} returned {came}", "return x or (x, y), with as many samples as it was given"
    )
