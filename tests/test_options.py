"""What option values mean."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import options


@pytest.mark.parametrize(
    ("text", "rate"),
    [("0.01", 0.01), ("1%", 0.01), ("1 %", 0.01), ("0", 0.0), ("0%", 0.0), ("99.9%", 0.999)],
)
def test_a_rate_is_a_fraction_or_a_percentage(text: str, rate: float) -> None:
    assert options.rate(text) == pytest.approx(rate, abs=1e-12)


@given(st.integers(min_value=0, max_value=9999))
def test_a_percentage_and_its_fraction_mean_the_same(basis_points: int) -> None:
    as_percentage = options.rate(f"{basis_points / 100}%")
    assert as_percentage == pytest.approx(options.rate(f"{basis_points / 10_000}"), abs=1e-12)


@pytest.mark.parametrize(
    "text", ["1", "100%", "2", "-0.1", "-1%", "nan", "inf", "", "%", "1%%", "a"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        options.rate(text)


def test_1_is_refused_with_what_was_probably_meant() -> None:
    with pytest.raises(click.BadParameter, match=r"one per cent is 0\.01 or 1%"):
        options.rate("1")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("30s", 30.0), ("0.5", 0.5), (2.0, 2.0)]
)
def test_seconds(text: str | float, seconds: float) -> None:
    assert options.seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "soon", "", "s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        options.seconds(text)


@pytest.mark.parametrize("text", ["1", "8", "2..8", "dynamic"])
def test_batches(text: str) -> None:
    assert options.batch(text) == text


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.5", "8..2", "4..4", "0..3", "1..", "Dynamic", "٣", ""]
)
def test_what_is_no_batch_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        options.batch(text)


def test_a_path_is_not_looked_at() -> None:
    assert options.path("no/such/file.keras") == Path("no/such/file.keras")
    with pytest.raises(click.BadParameter, match="it is empty"):
        options.path("")
