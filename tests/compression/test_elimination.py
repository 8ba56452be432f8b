"""Elimination in closed form, against least squares solved anew for every choice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.compression.elimination import DAMPING, INTERCEPT, Problem, eliminate


def drawn(seed, channels, taps, outputs, *, intercept):
    """Correlated inputs, weights, and outputs that are a little more than the weights give."""
    rng = np.random.default_rng(seed)
    size = channels * taps
    mixed = rng.normal(size=(size, size)) * 0.4 + np.eye(size)
    x = rng.normal(size=(600, size)) @ mixed + 0.5
    weights = rng.normal(size=(size, outputs))
    groups = np.tile(10 + np.arange(channels), taps)
    if intercept:
        x = np.hstack([x, np.ones((600, 1))])
        weights = np.vstack([weights, rng.normal(size=(1, outputs))])
        groups = np.append(groups, INTERCEPT)
    wanted = x @ weights + 0.1 * rng.normal(size=(600, outputs))
    return x, wanted, weights, groups


def problem(x, wanted, weights, groups):
    scale = float(wanted.var(0).sum())
    return Problem(x.T @ x / len(x), x.T @ wanted / len(x), weights, groups, scale)


def refitted(x, wanted, weights, groups, kept):
    """Ridge regression towards the weights, as ordinary least squares with rows added."""
    inputs = groups != INTERCEPT
    pull = np.sqrt(len(x) * DAMPING * (x[:, inputs] ** 2).mean())
    rows = np.flatnonzero(kept)
    anchors = np.diag(np.where(inputs, pull, 0.0))
    stacked = np.vstack([x, anchors])
    answers = np.vstack([wanted, anchors @ weights])
    found = np.zeros_like(weights)
    found[rows] = np.linalg.lstsq(stacked[:, rows], answers, rcond=None)[0]
    return found, float(np.square(answers - stacked @ found).sum()) / len(x)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("taps", [1, 3])
def test_the_first_to_go_is_the_one_whose_loss_least_squares_finds_smallest(intercept, taps):
    given = drawn(1, 5, taps, 4, intercept=intercept)
    chosen = eliminate([problem(*given)], 10 + np.arange(5), 1)
    groups = given[3]
    whole = refitted(*given, np.ones(groups.size, bool))[1]
    losses = [refitted(*given, groups != 10 + channel)[1] - whole for channel in range(5)]
    assert chosen.gone.tolist() == [10 + int(np.argmin(losses))]
    np.testing.assert_allclose(chosen.costs, min(losses) / given[1].var(0).sum(), rtol=1e-5)


@pytest.mark.parametrize("intercept", [False, True])
def test_what_stays_has_the_weights_of_least_squares_on_what_stays(intercept):
    given = drawn(2, 6, 3, 4, intercept=intercept)
    chosen = eliminate([problem(*given)], 10 + np.arange(6), 4)
    kept = ~np.isin(given[3], chosen.gone)
    np.testing.assert_allclose(chosen.weights[0], refitted(*given, kept)[0], atol=1e-6)
    assert not chosen.weights[0][~kept].any()


def test_the_costs_add_up_to_the_loss_of_all_that_went():
    given = drawn(3, 6, 2, 3, intercept=True)
    chosen = eliminate([problem(*given)], 10 + np.arange(6), 3)
    groups = given[3]
    whole = refitted(*given, np.ones(groups.size, bool))[1]
    loss = refitted(*given, ~np.isin(groups, chosen.gone))[1] - whole
    np.testing.assert_allclose(chosen.costs.sum(), loss / given[1].var(0).sum(), rtol=1e-5)


def test_one_at_a_time_is_close_to_the_best_of_all_choices():
    given = drawn(4, 7, 1, 3, intercept=False)
    chosen = eliminate([problem(*given)], 10 + np.arange(7), 3)
    groups = given[3]
    losses = {
        which: refitted(*given, ~np.isin(groups, which))[1]
        for which in itertools.combinations(range(10, 17), 3)
    }
    ours = losses[tuple(sorted(chosen.gone.tolist()))]
    assert ours <= sorted(losses.values())[2], "among the three best of 35"


def test_a_channel_with_two_readers_counts_with_both():
    first, second = (drawn(seed, 4, 1, 3, intercept=False) for seed in (5, 6))
    chosen = eliminate([problem(*first), problem(*second)], 10 + np.arange(4), 1)
    shares = [
        [
            (refitted(*given, given[3] != 10 + channel)[1] - refitted(*given, given[3] > 0)[1])
            / given[1].var(0).sum()
            for channel in range(4)
        ]
        for given in (first, second)
    ]
    assert chosen.gone.tolist() == [10 + int(np.argmin(np.sum(shares, axis=0)))]


def test_a_reader_that_cannot_adjust_counts_with_the_power_it_loses():
    weights = np.array([[1.0, 1.0], [3.0, 0.0], [0.5, 0.5]])
    squares = np.array([4.0, 0.1, 9.0])  # powers 8, 0.9 and 4.5
    given = Problem(squares, np.zeros((3, 2)), weights, np.array([7, 8, 9]), 13.4)
    chosen = eliminate([given], np.array([7, 8, 9]), 2)
    assert chosen.gone.tolist() == [8, 9]
    np.testing.assert_allclose(chosen.costs, [0.9 / 13.4, 4.5 / 13.4])
    np.testing.assert_array_equal(chosen.weights[0], [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
