"""When zeros come: the cubic schedule's own formula, and who may be kept."""

from __future__ import annotations

import pytest

from edgekit import prune_schedule


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 3001])
def test_the_ramp_is_zhu_and_guptas_and_ends_half_way(steps):
    end = prune_schedule.ramp_end(steps)
    assert end in {steps // 2, steps // 2 + 1}
    for step in range(steps):
        s_i, s_f, t0, dt = 0.0, 1.0, 0, 1
        formula = s_f + (s_i - s_f) * (1 - min(1, (step - t0) / (end * dt))) ** 3
        assert prune_schedule.ramp(step, steps) == pytest.approx(formula)


def test_masks_change_about_fifty_times_and_last_at_the_end_of_the_ramp():
    updates = [step for step in range(1000) if prune_schedule.is_update(step, 1000)]
    assert 45 <= len(updates) <= 55
    assert updates[-1] == prune_schedule.ramp_end(1000) == 500
    assert prune_schedule.is_update(0, 3)


@pytest.mark.parametrize(("epochs", "earliest"), [(1, 1), (2, 2), (3, 2), (10, 6)])
def test_the_first_epoch_that_may_be_kept_has_ended_the_ramp(epochs, earliest):
    assert prune_schedule.earliest_epoch(epochs) == earliest
    steps = 50 * epochs
    assert 50 * earliest - 1 >= prune_schedule.ramp_end(steps)
