"""Roles are kept apart; draws repeat; samples arrive in the form the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import data, hashing
from edgekit.data import Dataset
from edgekit.errors import DataError, UsageError
from edgekit.types import Role, TensorSpec

INPUT = (TensorSpec("in", (None, 1), "float32"),)


def write(path: Path, **sizes: int) -> str:
    """Samples that are their own number: train from 1000, val from 2000, calib 3000, test 4000."""
    arrays: dict[str, NDArray[Any]] = {}
    for role, size in sizes.items():
        first = {"train": 1000, "val": 2000, "calib": 3000, "test": 4000}[role]
        arrays[f"x_{role}"] = np.arange(first, first + size, dtype=np.float64)[:, None]
        arrays[f"y_{role}"] = np.arange(first, first + size)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def opened(path: Path, seed: int = 0, group_size: int = 1, **sizes: int) -> Dataset:
    spec = write(path / "d.npz", **sizes)
    return data.open_data(spec, inputs=INPUT, seed=seed, group_size=group_size)


def numbers(dataset: Dataset, role: Role) -> list[int]:
    found: list[int] = []
    for batch in dataset.batches(role, 7):
        assert batch.y is not None
        np.testing.assert_array_equal(batch.x["in"][:, 0], batch.y)
        found += batch.y.tolist()
    return found


def test_val_is_a_tenth_of_train_and_calibration_never_sees_it(tmp_path: Path) -> None:
    dataset = opened(tmp_path, train=500, test=90)
    train, val = numbers(dataset, "train"), numbers(dataset, "val")
    assert dataset.roles == {"train": 450, "val": 50, "calib": 450, "test": 90}
    assert sorted(train + val) == list(range(1000, 1500))
    assert set(numbers(dataset, "calib")) == set(train)
    assert numbers(dataset, "test") == list(range(4000, 4090))
    assert dataset.notes == ("val: 50 of the 500 train samples, set aside by seed 0",)


def test_what_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    dataset = opened(tmp_path, train=50, val=20, calib=5, test=30)
    assert dataset.roles == {"train": 50, "val": 20, "calib": 5, "test": 30}
    assert numbers(dataset, "calib") == list(range(3000, 3005))
    assert dataset.notes == ()


def test_of_a_test_set_alone_disjoint_parts_are_set_aside_and_said(tmp_path: Path) -> None:
    dataset = opened(tmp_path, test=1000)
    parts = [numbers(dataset, role) for role in ("calib", "val", "test")]
    assert [len(part) for part in parts] == [100, 200, 700]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(4000, 5000))
    assert all(part == sorted(part) for part in parts)
    assert "100 of its 1000 samples are set aside for calibration and 200 for" in dataset.notes[0]
    assert dataset.ref.notes == dataset.notes


def test_at_most_200_samples_are_set_aside_for_calibration(tmp_path: Path) -> None:
    assert opened(tmp_path, test=5000).roles == {"val": 1000, "calib": 200, "test": 3800}


def test_x_and_y_alone_are_a_test_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.arange(10.0)[:, None], y=np.arange(10))
    dataset = data.open_data(str(tmp_path / "d.npz"), inputs=INPUT)
    assert dataset.roles == {"val": 2, "calib": 1, "test": 7}


def test_calibration_comes_out_of_val_where_there_is_no_train(tmp_path: Path) -> None:
    dataset = opened(tmp_path, val=50, test=30)
    calib, val = numbers(dataset, "calib"), numbers(dataset, "val")
    assert (len(calib), len(val)) == (5, 45)
    assert sorted(calib + val) == list(range(2000, 2050))
    assert dataset.roles["test"] == 30
    assert dataset.notes == ("calib: 5 of the 50 val samples, set aside by seed 0",)


def test_calibration_and_test_alone_stay_whole_and_val_is_absent(tmp_path: Path) -> None:
    dataset = opened(tmp_path, calib=15, test=30)
    assert dataset.roles == {"calib": 15, "test": 30}
    assert "no val and no train" in dataset.notes[0]
    with pytest.raises(DataError, match="has no val data; it has: calib, test"):
        dataset.batches("val")


@pytest.mark.parametrize("sizes", [{"train": 90}, {"calib": 9}, {"val": 30}])
def test_absent_test_data_is_said_when_it_is_asked_for(
    tmp_path: Path, sizes: dict[str, int]
) -> None:
    dataset = opened(tmp_path, **sizes)
    with pytest.raises(DataError, match="has no test data") as caught:
        dataset.batches("test")
    assert "x_test" in caught.value.fix


def test_the_same_seed_gives_the_same_parts_and_another_seed_others(tmp_path: Path) -> None:
    first, again = opened(tmp_path, test=300), opened(tmp_path, test=300)
    other = opened(tmp_path, test=300, seed=1)
    assert numbers(first, "test") == numbers(again, "test") != numbers(other, "test")


def test_groups_are_never_torn(tmp_path: Path) -> None:
    dataset = opened(tmp_path, test=205, group_size=10)
    parts = {role: set(numbers(dataset, role)) for role in dataset.roles}
    assert sum(len(part) for part in parts.values()) == 205
    for start in range(4000, 4205, 10):
        group = set(range(start, min(start + 10, 4205)))
        assert sum(group <= part for part in parts.values()) == 1


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"test": 2}, "test has 2 samples; at least 3"),
        ({"train": 1}, "train has 1 sample; at least 2"),
        ({"val": 1, "test": 5}, "val has 1 sample; at least 2"),
    ],
)
def test_too_few_samples_to_keep_roles_apart(
    tmp_path: Path, sizes: dict[str, int], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        opened(tmp_path, **sizes)


def test_calibration_is_drawn_by_seed_without_repeats_and_in_order(tmp_path: Path) -> None:
    dataset = opened(tmp_path, train=5000, test=3)
    drawn = [dataset.calibration(limit=50, seed=seed).y for seed in (1, 1, 2)]
    assert all(y is not None and len(set(y.tolist())) == 50 for y in drawn)
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert drawn[2] is not None
    assert drawn[0].tolist() == sorted(drawn[0].tolist()) == drawn[1].tolist()
    assert drawn[0].tolist() != drawn[2].tolist()
    assert set(drawn[0].tolist()).isdisjoint(numbers(dataset, "val"))


def test_calibration_takes_200_samples_unless_told_and_all_if_there_are_fewer(
    tmp_path: Path,
) -> None:
    assert len(opened(tmp_path, train=5000).calibration().x["in"]) == 200
    assert len(opened(tmp_path, calib=15, test=9).calibration().x["in"]) == 15


def test_a_sample_keeps_groups_together_and_is_within_its_limit(tmp_path: Path) -> None:
    dataset = opened(tmp_path, calib=40, test=9)
    y = dataset.sample("calib", 10, seed=1, group_size=4).y
    assert y is not None
    first, second = (y - 3000).reshape(2, 4)
    for group in (first, second):
        assert group[0] % 4 == 0
        assert (np.diff(group) == 1).all()


def test_every_calibration_sample_is_as_likely_as_any_other(tmp_path: Path) -> None:
    dataset = opened(tmp_path, calib=40, test=9)
    hits = np.zeros(40)
    for seed in range(400):
        y = dataset.calibration(limit=10, seed=seed).y
        assert y is not None
        hits[y - 3000] += 1
    assert np.abs(hits - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


def test_batches_have_the_asked_size_and_are_preprocessed(tmp_path: Path) -> None:
    spec = write(tmp_path / "d.npz", train=10, val=5, test=150)
    dataset = data.open_data(spec, inputs=INPUT, preprocess="unit")
    batches = list(dataset.batches("test", 64))
    assert [len(batch.x["in"]) for batch in batches] == [64, 64, 22]
    joined = np.concatenate([batch.x["in"] for batch in batches])
    expected = np.arange(4000, 4150, dtype=np.float32)[:, None] / np.float32(255)
    np.testing.assert_array_equal(joined, expected)
    assert joined.dtype == np.float32
    raw = next(dataset.raw().batches("test", 3))
    np.testing.assert_array_equal(raw.x["in"][:, 0], [4000, 4001, 4002])


def test_labels_can_be_read_alone_and_match_their_role(tmp_path: Path) -> None:
    dataset = opened(tmp_path, train=300, test=9)
    labels = dataset.labels("val")
    assert labels is not None
    assert labels.tolist() == numbers(dataset, "val")


def test_the_reference_holds_spec_hash_and_preprocessing(tmp_path: Path) -> None:
    spec = write(tmp_path / "d.npz", val=30, test=9)
    ref = data.open_data(spec, inputs=INPUT, preprocess=" signed ").ref
    assert (ref.spec, ref.preprocess) == (spec, "signed")
    assert ref.sha256 == hashing.sha256_bytes((tmp_path / "d.npz").read_bytes())


def test_a_negative_seed_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--seed -1"):
        opened(tmp_path, seed=-1, test=9)


@pytest.mark.parametrize(
    ("spec", "told"),
    [("nothing.npz", "does not exist"), ("/dev/null", "neither a file nor a directory")],
)
def test_a_spec_that_names_nothing_says_what_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=told) as caught:
        data.open_data(spec, inputs=INPUT)
    assert "\n" not in str(caught.value)


def test_an_empty_spec_is_not_the_current_directory() -> None:
    with pytest.raises(UsageError, match="--data is empty"):
        data.open_data("", inputs=INPUT)


def test_a_python_file_without_a_function_says_how_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "load.py").write_text("")
    with pytest.raises(UsageError, match=r"load\.py:FUNCTION"):
        data.open_data(str(tmp_path / "load.py"), inputs=INPUT)
