"""`--data SPEC`: samples by role, streamed, preprocessed, in the form the model's inputs take."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit import (
    data_functions,
    data_npz,
    data_reading,
    data_roles,
    preprocess_names,
    preprocessing,
    user_code,
)
from edgekit.data_checks import check_inputs
from edgekit.data_roles import CALIBRATION_SAMPLES, Part
from edgekit.errors import DataError, UsageError
from edgekit.registry import Backend, require
from edgekit.types import ROLES, Batch, DataRef, Preprocess, Role, TensorSpec

_IMAGES = Backend("edgekit.data_images", "images", ("PIL",))
_FORMS = "FILE.npz, a directory [train|val|calib|test/]CLASS/image, or FILE.py:FUNCTION"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data that was opened and fits the model; nothing of it is held.

    `parts` says which samples belong to which role. The same spec and seed give the same samples.
    """

    spec: str
    inputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    seed: int
    reader: data_reading.Reader
    parts: Mapping[Role, Part]
    notes: tuple[str, ...]

    @functools.cached_property
    def ref(self) -> DataRef:
        """What was read and how, for the manifest. Hashes the data."""
        sha256 = self.reader.sha256()
        return DataRef(self.spec, sha256, self.preprocess.text, notes=self.notes)

    @property
    def roles(self) -> dict[Role, int | None]:
        """The roles there are, with their sizes; None where a function was not read yet."""
        return {role: self._size(self.parts[role]) for role in ROLES if role in self.parts}

    def count(self, role: Role) -> int:
        """The samples of a role. A function's data is read for it, once."""
        part = self._part(role)
        return self.reader.count(part.pool) if part.numbers is None else len(part.numbers)

    def batches(self, role: Role, size: int = 64) -> Iterator[Batch]:
        """Streams a role in order, preprocessed.

        Args:
            role: Which samples.
            size: Samples per batch; the last one may be smaller.

        Raises:
            DataError: The data has no such role, or what is read cannot be used.
        """
        part = self._part(role)
        return self._prepared(self.reader.read(part.pool, part.numbers), size)

    def calibration(self, limit: int = CALIBRATION_SAMPLES, seed: int | None = None) -> Batch:
        """Samples for calibration, drawn by seed from the calib role, in the data's order.

        Args:
            limit: The most samples.
            seed: Of the draw; None for the data's own.
        """
        return self.sample("calib", limit, seed)

    def sample(self, role: Role, limit: int, seed: int | None = None, group_size: int = 1) -> Batch:
        """At most `limit` samples of a role, drawn by seed, in the data's order.

        `group_size` consecutive samples are drawn together; one group at least.
        """
        assert limit > 0, limit
        part = self._part(role)
        total = self.count(role)
        rng = np.random.default_rng(self.seed if seed is None else seed)
        groups = rng.permutation(-(-total // group_size))[: max(1, limit // group_size)]
        drawn = (np.sort(groups)[:, None] * group_size + np.arange(group_size)).ravel()
        drawn = drawn[drawn < total]
        numbers = drawn if part.numbers is None else part.numbers[drawn]
        return next(self._prepared(self.reader.read(part.pool, numbers), len(numbers)))

    def labels(self, role: Role) -> NDArray[np.generic] | None:
        """All labels of a role where they can be read without the samples, else None."""
        part = self._part(role)
        found = self.reader.labels(part.pool)
        return found if found is None or part.numbers is None else found[part.numbers]

    def raw(self) -> Dataset:
        """The same samples before `--preprocess`."""
        return replace(self, preprocess=preprocess_names.parse("none"))

    def _prepared(self, batches: Iterator[Batch], size: int) -> Iterator[Batch]:
        for batch in data_reading.rebatch(batches, size):
            yield Batch(preprocessing.apply(self.preprocess, batch.x, self.inputs), batch.y)

    def _part(self, role: Role) -> Part:
        if role not in self.parts:
            have = ", ".join(name for name in ROLES if name in self.parts)
            raise DataError(
                f"{self.spec} has no {role} data; it has: {have}",
                f"add x_{role} (npz), {role}/CLASS/ (images) or an answer for {role!r} (function)",
            )
        return self.parts[role]

    def _size(self, part: Part) -> int | None:
        return self.reader.pools[part.pool] if part.numbers is None else len(part.numbers)


def open_data(
    spec: str,
    *,
    inputs: Sequence[TensorSpec],
    preprocess: str = "none",
    seed: int = 0,
    group_size: int = 1,
) -> Dataset:
    """Opens `--data SPEC` and checks it against a model, without reading it whole.

    Data from a function that lacks roles is read once, to count the samples to be shared out.

    Args:
        spec: A `.npz`, an image directory, or `file.py:function`.
        inputs: The model's inputs, batch axis first, None for axes that may vary.
        preprocess: The value of `--preprocess`.
        seed: Of all draws, at least 0.
        group_size: Consecutive samples that must not be separated (the metric's).

    Raises:
        UsageError: The specification, `preprocess` or seed has no allowed form.
        DataError: The data cannot be read or does not fit the model.
    """
    if seed < 0:
        raise UsageError(f"--seed {seed} is negative", "give 0 or more")
    prepared = preprocess_names.parse(preprocess)
    check_inputs(inputs)
    preprocessing.check(prepared, inputs)
    reader = _reader(spec, tuple(inputs))
    parts, notes = data_roles.assign(reader, seed, group_size)
    return Dataset(spec, tuple(inputs), prepared, seed, reader, parts, (*notes, *reader.notes))


def _reader(spec: str, inputs: tuple[TensorSpec, ...]) -> data_reading.Reader:
    if not spec:
        raise UsageError("--data is empty", f"give {_FORMS}")
    if user_code.split(spec):
        return data_functions.open_function(spec, inputs)
    path = Path(spec).expanduser()
    if os.path.isdir(path):
        require(_IMAGES, f"the image directory {spec}")
        from edgekit import data_images  # noqa: PLC0415 pillow is an extra

        return data_images.open_images(path, inputs)
    if path.suffix == ".py":
        raise UsageError(f"--data {spec} names no function", f"--data {spec}:FUNCTION")
    if os.path.isfile(path):
        return data_npz.open_npz(path, inputs)
    if os.path.exists(path):
        raise DataError(f"--data {spec} is neither a file nor a directory", f"give {_FORMS}")
    raise DataError(f"--data {spec} does not exist", f"give {_FORMS}")
