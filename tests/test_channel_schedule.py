"""Iterations of a channels step end where one cut would, by equal shares."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgekit import channel_schedule
from edgekit.recipe_types import ChannelsStep

SOURCE = {"macs_after": 1000, "parameters_after": 400}


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_a_ratio_is_one_of_what_was_there_at_first(iterations):
    step = ChannelsStep(ratio=0.6, iterations=iterations)
    kept = [1.0]
    for iteration in range(1, iterations + 1):
        amount = channel_schedule.amount(step, iteration, SOURCE, {})
        assert amount["first"] == (iteration == 1)
        assert amount["max_macs"] is amount["max_parameters"] is None
        kept.append(1 - amount["ratio"])
    assert kept[-1] == pytest.approx(0.4)
    shares = [after / before for before, after in pairwise(kept)]
    assert shares == pytest.approx([shares[0]] * iterations)


def test_a_share_refers_to_the_source_and_a_number_to_itself():
    now = {"macs": 900, "parameters": 390}
    shared = channel_schedule.amount(ChannelsStep(max_macs=0.25), 1, SOURCE, now)
    assert shared["max_macs"] == 250
    absolute = channel_schedule.amount(ChannelsStep(max_parameters=100), 1, SOURCE, now)
    assert (absolute["max_parameters"], absolute["max_macs"]) == (100, None)


def test_a_budget_is_approached_by_equal_factors():
    step = ChannelsStep(max_macs=0.25, iterations=2)
    first = channel_schedule.amount(step, 1, SOURCE, {"macs": 1000})
    assert first["max_macs"] == 500
    last = channel_schedule.amount(step, 2, SOURCE, {"macs": 480})
    assert last["max_macs"] == 250


def test_what_went_in_several_iterations_is_summed_per_layer():
    def cut(before, channels, remaining):
        removed = {"layer": "a", "channels": channels, "remaining": remaining}
        return {"parameters_before": before, "removed": [removed], "kept": [], "budget": None}

    merged = channel_schedule.merged([cut(10, 3, 5), cut(8, 1, 4)])
    assert merged["parameters_before"] == 10
    assert merged["removed"] == [{"layer": "a", "channels": 4, "remaining": 4}]
