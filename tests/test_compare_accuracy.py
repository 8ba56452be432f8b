"""Per class: counts by hand, the exact test by scipy's binomial, intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import compare_warnings
from edgekit.compare_accuracy import per_class
from edgekit.compare_types import AccuracyChange, Compared, Rerun
from edgekit.intervals import paired_change_interval
from edgekit.types import Accuracy


def test_classes_are_counted_and_the_one_that_lost_most_comes_first() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    reference = np.array([1, 1, 0, 1, 1, 1, 0, 1], bool)
    artifact = np.array([1, 1, 1, 0, 0, 1, 0, 1], bool)
    first, second, third = per_class(labels, reference, artifact)
    assert (first.label, first.n, first.reference_right, first.artifact_right) == (1, 4, 3, 1)
    assert (first.lost, first.won) == (2, 0)
    assert first.p_value == pytest.approx(2 * 0.5**2)  # two coins, both alike
    assert (second.label, second.lost, second.won) == (2, 0, 0)
    assert (third.label, third.lost, third.won) == (0, 0, 1)


def test_a_class_that_collapses_is_named_although_the_total_hardly_moves() -> None:
    labels = np.repeat(np.arange(10), 100)
    reference = np.ones(1000, bool)
    artifact = reference.copy()
    artifact[300:320] = False  # 20 of the 100 samples of class 3
    artifact[[1, 101]] = False
    classes = per_class(labels, reference, artifact)
    judged = Accuracy("top1", 1.0, None, 1000)
    lost = compare_warnings.lost_classes(AccuracyChange(judged, judged, 0.022, classes=classes))
    assert [one.label for one in lost] == [3]
    assert (lost[0].lost, lost[0].won) == (20, 0)


def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    lost_share, won_share, n = 0.08, 0.03, 150
    covered = 0
    for _ in range(1000):
        lost, won, _ = random.multinomial(n, [lost_share, won_share, 1 - lost_share - won_share])
        low, high = paired_change_interval(int(lost), int(won), n)
        covered += low <= won_share - lost_share <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_the_paired_interval_mirrors_and_stays_within_its_bounds() -> None:
    assert paired_change_interval(7, 2, 40) == pytest.approx(
        tuple(-edge for edge in reversed(paired_change_interval(2, 7, 40)))
    )
    assert paired_change_interval(3, 0, 3)[0] == -1.0


@pytest.mark.parametrize(
    ("exact_db", "says"), [(48.0, "which explains the difference"), (21.0, "does not explain")]
)
def test_bfloat16_is_named_where_it_ran_and_blamed_only_where_float32_helps(exact_db, says) -> None:
    from edgekit.compare_reruns import ran_in_bfloat16  # noqa: PLC0415

    about = Compared("m.xml", "0", "openvino", "fp32", 1, "openvino", "bfloat16, float32")
    assert ran_in_bfloat16(about)
    assert not ran_in_bfloat16(
        Compared("m.xml", "0", "openvino", "fp32", 1, "openvino", "float32", "float32")
    )
    rerun = Rerun({"INFERENCE_PRECISION_HINT": "f32"}, 0.01, 0.001, 20.0, exact_db)
    told = compare_warnings.of_rerun(rerun)
    assert says in told
    assert "INFERENCE_PRECISION_HINT=f32" in told
