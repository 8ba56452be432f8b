"""How shares follow from sensitivity: the least damage for what goes, and never all of a layer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.compression import sensitivity
from edgekit.errors import RecipeError

CURVES = {
    "redundant": [(0.3, 60.0), (0.5, 50.0), (0.7, 45.0), (0.9, 40.0)],
    "middling": [(0.3, 30.0), (0.5, 22.0), (0.7, 14.0), (0.9, 5.0)],
    "sensitive": [(0.3, 8.0), (0.5, 3.0), (0.7, 0.0), (0.9, -2.0)],
}
SIZES = {"redundant": 1000, "middling": 1000, "sensitive": 1000}


def _noise(name, share):
    """Between the measured shares noise is taken as linear; these curves are convex as they are."""
    shares, powers = [0.0], [0.0]
    for at, sqnr_db in CURVES[name]:
        shares.append(at)
        powers.append(max(10 ** (-sqnr_db / 10), powers[-1] * (at / shares[-2]) ** 2
                          if shares[-2] else 0))  # fmt: skip
    return float(np.interp(share, shares, powers))


@pytest.mark.parametrize("overall", [0.2, 0.4, 0.5, 0.6, 0.8])
def test_no_other_shares_of_the_same_amount_do_less_damage(overall):
    found = sensitivity.shares(CURVES, SIZES, overall)
    assert sum(found.values()) / 3 == pytest.approx(overall)
    damage = sum(_noise(name, share) for name, share in found.items())
    grid = np.linspace(0, 0.9, 46)
    least = min(
        _noise("redundant", a) + _noise("middling", b) + _noise("sensitive", c)
        for a, b in itertools.product(grid, grid)
        if -1e-9 <= (c := 3 * overall - a - b) <= 0.9
    )
    assert damage <= least * (1 + 1e-9)


def test_the_redundant_layer_gives_most_and_the_sensitive_one_least():
    found = sensitivity.shares(CURVES, SIZES, 0.5)
    assert found["redundant"] > found["middling"] > found["sensitive"]


def test_damage_is_weighed_against_the_weights_that_it_buys():
    alike = {"small": CURVES["middling"], "large": CURVES["middling"]}
    found = sensitivity.shares(alike, {"small": 10, "large": 1000}, 0.4)
    assert found["large"] > found["small"]


def test_outputs_that_are_ruined_already_do_not_make_the_rest_free():
    # Noise ends at the power of the signal: measured, 30 % and 90 % of such a layer cost the same.
    ruined = [(0.3, 0.0), (0.5, 0.0), (0.7, 0.0), (0.9, 0.0)]
    found = sensitivity.shares({"a": ruined, "b": ruined}, {"a": 500, "b": 500}, 0.5)
    assert found == pytest.approx({"a": 0.5, "b": 0.5})


def test_more_than_was_measured_is_refused_with_the_most_there_is():
    with pytest.raises(RecipeError, match=r"overall is 0\.95, .* beyond 0\.9"):
        sensitivity.shares(CURVES, SIZES, 0.95)


def test_the_last_channels_of_a_bundle_are_not_for_sale():
    rising = sensitivity.per_channel(CURVES["middling"], 20)
    assert rising.size == 18
    assert (np.diff(rising) >= 0).all()
    assert sensitivity.per_channel(CURVES["middling"], 1).size == 0
    # all removals of 30 % together cost what was measured at 30 %
    assert rising[:6].sum() == pytest.approx(10**-3.0)
