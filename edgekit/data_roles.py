"""Who may look at which samples: what chooses never sees the samples that judge.

val is given, or 10 % of train. calib is given, or train without val. Where only a test set is
given, parts of it are set aside; where val and test are given, calib comes out of val.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.data_reading import Numbers, Reader
from edgekit.errors import DataError
from edgekit.types import Role

CALIBRATION_SAMPLES = 200
"""The most that calibration draws unless told, and the most that is set aside for it."""

_CALIB_SHARE = 0.1
_VAL_OF_TRAIN = 0.1
_VAL_OF_TEST = 0.2
_VAL_NOTE = "val: "
_NO_VAL = "no val and no train: what has to be chosen is chosen on the calibration samples"


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a pool: their numbers, ascending, or None for all of them."""

    pool: Role
    numbers: Numbers | None = None


def assign(
    reader: Reader, seed: int, group_size: int
) -> tuple[Mapping[Role, Part], tuple[str, ...]]:
    """Gives every role its samples, and says how where the data did not.

    Args:
        reader: The data.
        seed: Of the draws: the same seed gives the same parts.
        group_size: Consecutive samples that stay together.

    Raises:
        DataError: There are too few samples to keep the roles apart.
    """
    parts: dict[Role, Part] = {role: Part(role) for role in reader.pools}
    given = set(parts)
    if given == {"test"}:
        return _from_test(reader, seed, group_size)
    notes: list[str] = []
    if "train" in given and "val" not in given:
        total = reader.count("train")
        size = _share(_VAL_OF_TRAIN, total, group_size)
        val, train = _split(reader, "train", [size], seed, group_size)
        parts |= {"train": train, "val": val}
        notes.append(
            f"{_VAL_NOTE}{_size(val)} of the {total} train samples, set aside by seed {seed}"
        )
    if "train" in given and "calib" not in given:
        parts["calib"] = parts["train"]
    if given & {"train", "calib"} or "val" not in given:
        return parts, (*notes, *_without_val(parts))
    total = reader.count("val")
    size = _calibration_size(total, group_size)
    calib, val = _split(reader, "val", [size], seed, group_size)
    notes.append(f"calib: {_size(calib)} of the {total} val samples, set aside by seed {seed}")
    return parts | {"calib": calib, "val": val}, tuple(notes)


def _from_test(
    reader: Reader, seed: int, group_size: int
) -> tuple[Mapping[Role, Part], tuple[str, ...]]:
    total = reader.count("test")
    sizes = [_calibration_size(total, group_size), _share(_VAL_OF_TEST, total, group_size)]
    calib, val, test = _split(reader, "test", sizes, seed, group_size)
    note = (
        f"only a test set is given: {_size(calib)} of its {total} samples are set aside for "
        f"calibration and {_size(val)} for choosing (seed {seed}); test is the other {_size(test)}"
    )
    return {"calib": calib, "val": val, "test": test}, (note,)


def _without_val(parts: Mapping[Role, Part]) -> tuple[str, ...]:
    if "val" in parts:
        return ()
    return (_NO_VAL,)


def is_about_choosing(note: str) -> bool:
    """Whether a note of `assign` concerns only those who choose: measuring reads no val samples."""
    return note == _NO_VAL or note.startswith(_VAL_NOTE)


def _calibration_size(total: int, group_size: int) -> int:
    most = max(1, CALIBRATION_SAMPLES // group_size)
    return min(most, _share(_CALIB_SHARE, total, group_size))


def _share(share: float, total: int, group_size: int) -> int:
    """A share of the groups, at least one."""
    return max(1, int(share * _groups(total, group_size)))


def _groups(total: int, group_size: int) -> int:
    return -(-total // group_size)


def _size(part: Part) -> int:
    return 0 if part.numbers is None else len(part.numbers)


def _split(reader: Reader, pool: Role, sizes: list[int], seed: int, group_size: int) -> list[Part]:
    """Disjoint parts of the given sizes, in groups, and one with the rest."""
    total = reader.count(pool)
    groups = _groups(total, group_size)
    if groups <= sum(sizes):
        plural = "s" * (groups != 1)
        what = f"sample{plural}" if group_size == 1 else f"group{plural} of {group_size} samples"
        raise DataError(
            f"{pool} has {groups} {what}; at least {sum(sizes) + 1} are needed to keep "
            "calibration, choosing and test apart",
            "give more samples, or give the roles train, val, calib and test yourself",
        )
    order = np.random.default_rng(seed).permutation(groups)
    edges = np.cumsum(sizes)
    return [Part(pool, _samples(part, total, group_size)) for part in np.split(order, edges)]


def _samples(groups: Numbers, total: int, group_size: int) -> Numbers:
    starts = np.sort(groups)[:, None] * group_size
    numbers = (starts + np.arange(group_size)).ravel()
    return numbers[numbers < total]
