"""Numbers as people read them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import intervals, units


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (98496, "98.5 kB"),
        (999_499, "999 kB"), (999_999, "1.00 MB"), (13_900_000, "13.9 MB"), (2.9e9, "2.90 GB"),
    ],
)  # fmt: skip
def test_sizes_count_1000(value: float | None, shown: str) -> None:
    assert units.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (3.41e-6, "3.41 µs"), (78.2e-6, "78.2 µs"), (999.9e-6, "1.00 ms"),
        (0.0067, "6.70 ms"), (0.214, "214 ms"), (1.5, "1.50 s"), (90, "90.0 s"),
        (5e-10, "0.500 ns"), (0, "0 ns"),
    ],
)  # fmt: skip
def test_durations_take_the_unit_that_fits(value: float | None, shown: str) -> None:
    assert units.duration(value) == shown


def test_the_interval_of_a_duration_has_its_unit_and_decimals() -> None:
    assert units.duration_interval(78.2e-6, (77.94e-6, 78.55e-6)) == "[77.9, 78.5]"
    assert units.duration_interval(999e-6, (998e-6, 1.01e-3)) == "[998, 1010]"
    assert units.duration_interval(None, (1.0, 2.0)) == ""
    assert units.duration_interval(1.0, None) == ""


@pytest.mark.parametrize(
    ("name", "value", "interval", "shown"),
    [
        ("top1", 0.8788, (0.8723, 0.885), "87.88 % [87.23, 88.50]"),
        ("auc", 0.88, (0.8701, 0.8912), "0.8800 [0.8701, 0.8912]"),
        ("mse", 123.456, (120.0, 125.0), "123.5 [120.0, 125.0]"),
        ("file.py:f", 0.0, None, "0 "),
    ],
)
def test_shares_are_in_per_cent_and_other_metrics_are_not(
    name: str, value: float, interval: tuple[float, float] | None, shown: str
) -> None:
    told = f"{units.metric(name, value)} {units.metric_interval(name, value, interval)}"
    assert told == shown


def test_counts_and_ratios() -> None:
    assert units.count(12_500_000) == "12.5 M"
    assert units.count(75_866) == "75.9 k"
    assert units.count(12) == "12"
    assert units.count(None) == "–"
    assert units.factor_of(3.2051) == "3.21×"


@given(st.floats(min_value=1e-8, max_value=1e3))
def test_a_shown_duration_is_within_half_a_per_cent(value_s: float) -> None:
    number, unit = units.duration(value_s).split()
    factor = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert math.isclose(float(number) * factor, value_s, rel_tol=0.0051)


@given(st.integers(min_value=1, max_value=10**12))
def test_a_shown_size_is_within_half_a_per_cent_and_has_at_most_four_digits(value: int) -> None:
    number, unit = units.size(value).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert math.isclose(float(number) * factor, value, rel_tol=0.0051)
    assert len(re.sub(r"\D", "", number)) <= 4


def test_a_change_of_a_share_is_in_points_and_others_are_as_they_are():
    assert units.metric_change("top1", 0.015, (0.0021, 0.0279)) == "1.50 points [0.21, 2.79]"
    assert units.metric_change("mse", 0.015) == "0.0150"


def test_a_ratio_at_its_cap_is_called_equal() -> None:
    assert units.decibels(intervals.SQNR_CAP_DB) == "equal"
    assert units.decibels(38.44) == "38.4 dB"
