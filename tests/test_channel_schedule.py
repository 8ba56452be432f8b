"""Iterations of a channels step end where one cut would, by equal shares."""

from __future__ import annotations

import pytest

from edgekit import channel_schedule
from edgekit.types import ChannelsStep

SOURCE = {"macs_after": 1000, "parameters_after": 400}


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_ratios_multiply_to_the_whole(iterations):
    step = ChannelsStep(ratio=0.6, iterations=iterations)
    kept = 1.0
    for iteration in range(1, iterations + 1):
        amount = channel_schedule.amount(step, iteration, SOURCE, {}, 8)
        assert amount["multiple"] == (8 if iteration == iterations else 1)
        assert amount["max_macs"] is amount["max_parameters"] is None
        kept *= 1 - amount["ratio"]
    assert kept == pytest.approx(0.4)


def test_a_share_refers_to_the_source_and_a_number_to_itself():
    now = {"macs": 900, "parameters": 390}
    shared = channel_schedule.amount(ChannelsStep(max_macs=0.25), 1, SOURCE, now, 1)
    assert shared["max_macs"] == 250
    absolute = channel_schedule.amount(ChannelsStep(max_parameters=100), 1, SOURCE, now, 1)
    assert (absolute["max_parameters"], absolute["max_macs"]) == (100, None)


def test_a_budget_is_approached_by_equal_factors():
    step = ChannelsStep(max_macs=0.25, iterations=2)
    first = channel_schedule.amount(step, 1, SOURCE, {"macs": 1000}, 1)
    assert first["max_macs"] == 500
    last = channel_schedule.amount(step, 2, SOURCE, {"macs": 480}, 1)
    assert last["max_macs"] == 250


def test_what_went_in_several_iterations_is_summed_per_layer():
    def cut(before, channels, remaining):
        removed = {"layer": "a", "channels": channels, "remaining": remaining}
        return {"parameters_before": before, "removed": [removed], "kept": []}

    merged = channel_schedule.merged([cut(10, 3, 5), cut(8, 1, 4)])
    assert merged["parameters_before"] == 10
    assert merged["removed"] == [{"layer": "a", "channels": 4, "remaining": 4}]
