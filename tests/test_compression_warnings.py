"""What `compress` warns of, from figures alone."""

from __future__ import annotations

import pytest

from edgekit import compression_warnings
from edgekit.manifest_types import PairedChange
from edgekit.types import Accuracy


def top1(value: float, ci95: tuple[float, float] = (0.0, 1.0)) -> Accuracy:
    return Accuracy("top1", value, ci95, 1000)


def mse(value: float, ci95: tuple[float, float]) -> Accuracy:
    return Accuracy("mse", value, ci95, 1000, higher_is_better=False)


def test_a_paired_loss_is_told_though_the_source_lies_inside_the_interval() -> None:
    # 15 against 2 discordant samples: p = 2·P(X ≤ 2 | 17, ½) = 308/2^17 = 0.00235.
    paired = PairedChange(15, 2, 308 / 2**17)
    (told,) = compression_warnings.lost(top1(0.881), top1(0.868, (0.845, 0.888)), paired)
    assert "88.10 % → 86.80 %" in told
    assert "only the source is right on 15 samples, only the result on 2" in told
    assert "p = 0.0023" in told


@pytest.mark.parametrize("counts", [(9, 4), (0, 0), (4, 9)])
def test_a_difference_that_chance_explains_is_not_told(counts: tuple[int, int]) -> None:
    lost, won = counts
    p_value = 0.27 if lost != won else 1.0  # 2·P(X ≤ 4 | 13, ½) = 0.267
    paired = PairedChange(lost, won, p_value)
    made = top1(0.881 - (lost - won) / 1000, (0.87, 0.88))
    assert not list(compression_warnings.lost(top1(0.881), made, paired))


@pytest.mark.parametrize(
    ("held", "per_tensor", "warned"),
    [
        ({"clusters": 8, "for_int8": False}, (), True),
        ({"clusters": 8, "for_int8": False}, ("FULLY_CONNECTED",), True),
        ({"clusters": 8, "for_int8": False}, ("*",), False),
        ({"clusters": 8, "for_int8": True}, (), False),
        ({"clusters": 0, "for_int8": False}, (), False),
    ],
)
def test_values_that_scales_by_channel_part_are_told(
    held: dict[str, int], per_tensor: tuple[str, ...], *, warned: bool
) -> None:
    said = " ".join(compression_warnings.of_shared_values(held, per_tensor))
    assert ("each channel has bytes of its own" in said) is warned


def test_without_right_and_wrong_the_interval_decides() -> None:
    (told,) = compression_warnings.lost(mse(10.3, (10.2, 10.4)), mse(11.7, (11.6, 11.8)), None)
    assert "mse 10.30 → 11.70 [11.60, 11.80]" in told
    assert not list(compression_warnings.lost(mse(10.3, (10, 11)), mse(10.5, (10.1, 10.9)), None))
    assert not list(compression_warnings.lost(mse(10.3, (10, 11)), mse(9.0, (8.9, 9.1)), None))
