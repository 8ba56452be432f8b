"""Refined int8: what each stage does, and that the result is never worse than plain int8."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit.errors import DataError
from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("quantizing_cases:Cases", "quantizing") as found:
            yield found


def test_equalization_makes_channels_alike_and_changes_no_output(worker):
    found = worker.call("equalized")
    assert found["pairs"] == [["first", "depthwise"], ["depthwise", "second"], ["second", "out"]]
    assert found["change"] < 1e-5
    before, after = found["spread"]
    assert before > 100
    assert after < 2


def test_bias_correction_takes_back_the_mean_shift_of_rounding(worker):
    before, after = worker.call("bias_corrected")
    assert before > 1e-3
    assert after < 0.01 * before


def test_bias_correction_leaves_grouped_convolutions_alone(worker):
    before, after = worker.call("bias_of_groups")
    assert before == after


@pytest.mark.slow
def test_refinement_recovers_most_of_what_uneven_channels_lose(worker):
    found = worker.call("refined")
    assert found["report"]["kept"] == "refined"
    assert found["report"]["equalized"]
    plain, refined = found["noise"]  # on samples that nothing looked at
    assert refined < plain / 4
    assert found["same_on_grid"] < 1e-4


@pytest.mark.slow
def test_a_refinement_that_is_no_better_leaves_weights_and_ranges_of_plain_int8(worker):
    found = worker.call("useless")
    assert found["report"]["equalized"]  # so that there was something to take back
    assert found["report"]["kept"] == "plain"
    assert found["untouched"]
    plain, left = found["ranges"]
    assert left == plain


@pytest.mark.parametrize(
    ("samples", "size", "fixed", "counts"),
    [(8, 32, False, [6, 1, 1]), (100, 32, False, [75, 13, 12]), (64, 8, True, [48, 8, 8])],
)
def test_what_judges_a_refinement_has_chosen_nothing(worker, samples, size, fixed, counts):
    assert worker.call("counts", samples=samples, size=size, fixed=fixed) == counts


def test_a_fixed_batch_needs_one_to_choose_and_one_to_judge(worker):
    with pytest.raises(DataError, match="255 samples are too few") as error:
        worker.call("counts", samples=255, size=32, fixed=True)
    assert error.value.fix == "give 256 or more"


@pytest.mark.slow
def test_a_refinement_is_the_same_again(worker):
    one, other = (worker.call("refined", steps=20)["sum"] for _ in range(2))
    assert one == other


def test_too_few_samples_are_one_line(worker):
    with pytest.raises(DataError, match="5 samples are too few"):
        worker.call("too_few")
