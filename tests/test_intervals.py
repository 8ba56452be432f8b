"""Intervals and tests against scipy, published values and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgekit import intervals


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 3), (88, 100), (881, 1000), (10, 10)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert intervals.wilson(right, n) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_gives_the_figures_of_a_textbook() -> None:
    # 15 of 148: Newcombe 1998, table I, method 3, second column.
    assert intervals.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_wilson_never_leaves_zero_to_one() -> None:
    for n in range(1, 200):
        assert intervals.wilson(0, n)[0] == 0.0
        assert intervals.wilson(n, n)[1] == 1.0


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (5, 0), (7, 21), (10, 10), (400, 300)])
def test_mcnemar_agrees_with_scipys_binomial_test(b: int, c: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert intervals.mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_discordant_counts_what_only_one_of_two_gets_right() -> None:
    first, second = [True, True, True, False, True], [False, True, False, True, True]
    pairs = list(zip(first, second, strict=True))
    expected = (pairs.count((True, False)), pairs.count((False, True)))
    assert intervals.discordant(np.array(first), np.array(second)) == expected == (2, 1)


def test_mcnemar_stays_exact_where_floats_would_underflow() -> None:
    assert intervals.mcnemar_exact(0, 1000) == pytest.approx(2.0 * 2.0**-1000)
    assert 0.0 <= intervals.mcnemar_exact(0, 5000) < 1e-300


def test_median_interval_needs_six_values_for_95_and_eight_for_99_percent() -> None:
    assert intervals.median_interval([1.0, 2, 3, 4, 5]) is None
    low, high, level = intervals.median_interval([6.0, 5, 4, 3, 2, 1]) or (0, 0, 0)
    assert (low, high) == (1.0, 6.0)
    assert level == pytest.approx(1 - 2 / 2**6)
    assert intervals.median_interval([float(v) for v in range(7)], 0.99) is None
    assert intervals.median_interval([float(v) for v in range(8)], 0.99) is not None


@pytest.mark.parametrize("n", [6, 9, 10, 17, 40, 101])
def test_median_interval_takes_the_tightest_ranks_that_reach_the_level(n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = intervals.median_interval([float(value) for value in range(1, n + 1)])
    assert found is not None
    low, high, level = found
    k = int(low)
    assert (low, high) == (k, n + 1 - k)
    assert level == pytest.approx(1 - 2 * stats.binom.cdf(k - 1, n, 0.5))
    assert level >= 0.95 > 1 - 2 * stats.binom.cdf(k, n, 0.5)


def test_median_interval_covers_the_median_of_a_skewed_distribution() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = intervals.median_interval(rng.exponential(size=15).tolist())
        assert found is not None
        hits += found[0] <= math.log(2) <= found[1]
    assert hits / 2000 >= 0.95


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = intervals.bootstrap(lambda drawn: float(values[drawn].mean()), 400, resamples=2000)
    assert found is not None
    half = 1.96 * values.std() / 20
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.015)


def test_bootstrap_repeats_with_its_seed_and_differs_with_another() -> None:
    values = np.arange(50.0)

    def run(seed: int) -> tuple[float, float] | None:
        return intervals.bootstrap(lambda drawn: float(values[drawn].mean()), 50, seed=seed)

    assert run(3) == run(3) != run(4)


def test_bootstrap_gives_no_interval_where_it_is_mostly_undefined() -> None:
    assert intervals.bootstrap(lambda _: 1.0, 1) is None
    assert intervals.bootstrap(lambda _: 1.0, 5, resamples=0) is None
    rare = intervals.bootstrap(lambda drawn: 1.0 if 0 in drawn else math.nan, 5)
    assert rare is None  # the first of five is in two thirds of the draws only
    assert intervals.bootstrap(lambda _: 1.0, 5) == (1.0, 1.0)


def test_sqnr_matches_its_definition_on_a_quantized_sine() -> None:
    reference = np.sin(np.linspace(0, 100, 10_000))
    test = np.round(reference * 127) / 127
    expected = 10 * math.log10((reference**2).sum() / ((reference - test) ** 2).sum())
    assert intervals.sqnr_db(reference, test) == pytest.approx(expected)
    # The textbook's 6.02 dB per bit + 1.76 for a full-scale sine, at 7.99 bits.
    assert intervals.sqnr_db(reference, test) == pytest.approx(6.02 * 7.99 + 1.76, abs=0.5)


def test_sqnr_is_always_finite() -> None:
    ones = np.ones(4, np.float32)
    cap_db = intervals.SQNR_CAP_DB
    assert intervals.sqnr_db(ones, ones) == cap_db
    assert intervals.sqnr_db(0 * ones, 0 * ones) == cap_db
    assert intervals.sqnr_db(0 * ones, ones) == -cap_db
    assert intervals.sqnr_db(ones, ones * np.nan) == -cap_db
    assert intervals.sqnr_db(ones, ones * np.inf) == -cap_db
    assert intervals.sqnr_db(ones, ones * np.float32(3e38)) < -cap_db + 1


# ------------------------------------------------------------------------------- two samples


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 6), (5, 5)])
def test_the_interval_of_a_shift_covers_it_as_often_as_enumeration_says(n, m):
    # Every order of n + m values is equally likely where there is no shift: look at all of them.
    for level in (0.9, 0.95, 0.99):
        covered = total = 0
        for chosen in itertools.combinations(range(n + m), n):
            first = [float(at) for at in chosen]
            second = [float(at) for at in range(n + m) if at not in chosen]
            found = intervals.shift_interval(first, second, level)
            covered += found is None or found[0] <= 0 <= found[1]
            total += 1
        assert covered / total >= level


def test_the_interval_of_a_shift_has_the_ranks_that_counting_gives():
    # Of the 252 orders of five and five values 1, 1 and 2 have the statistics 0, 1 and 2: the
    # extremes enclose with 1 − 2/252 = 99.2 %, the third smallest and largest with 1 − 8/252.
    first, second = [0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0, 50.0]
    shifts = sorted(b - a for a in first for b in second)
    assert intervals.shift_interval(first, second, 0.99) == (shifts[0], shifts[-1])
    assert intervals.shift_interval(first, second, 0.96) == (shifts[2], shifts[-3])
    assert intervals.shift_interval(first[:4], second[:4], 0.99) is None


def test_the_difference_of_two_proportions_is_newcombes():
    # Newcombe 1998, table II, method 10 on 56/70 − 48/80: 0.0524 to 0.3339.
    first, second = intervals.wilson(56, 70), intervals.wilson(48, 80)
    found = intervals.difference_interval(56 / 70, first, 48 / 80, second)
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_holm_rejects_as_in_its_textbook_example() -> None:
    # p = 0.005 ≤ 0.05/4 and 0.01 ≤ 0.05/3; 0.03 > 0.05/2 ends it, and 0.04 is not looked at.
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert intervals.holm([]) == []
    assert intervals.holm([0.05]) == [True]
