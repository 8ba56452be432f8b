"""Which of a model's trained ranges belongs to which tensor of a converter's graph."""

from __future__ import annotations

import pytest

from edgekit.converters import trained_ranges


def trained(name, limits, extremes):
    return {"name": name, "range": limits, "extremes": extremes}


CONV = trained("conv", [-0.9, 2.8], [-1.0, 3.0, -0.5, 2.0])


def test_a_tensor_has_the_range_of_the_layer_whose_values_it_has():
    other = trained("dense", [-4.0, 4.0], [-1.0, 3.0, -0.5, 2.1])
    found = trained_ranges.match([other, CONV], {"t7": (-1.0, 3.0, -0.5, 2.000001)})
    assert found.ranges == {"t7": (-0.9, 2.8)}
    assert (found.unused, found.without, found.unclear) == (["dense"], [], {})


def test_a_tensor_with_the_values_of_two_layers_gets_a_range_that_spans_both_and_is_named():
    both = [CONV, trained("concat", [-1.0, 2.5], CONV["extremes"])]
    seen = {"t7": (-1.0, 3.0, -0.5, 2.0), "t8": (0.0, 1.0, 0.0, 1.0)}
    for order in (both, both[::-1]):
        found = trained_ranges.match(order, seen)
        assert found.ranges == {"t7": (-1.0, 2.8)}
        assert sorted(found.unclear["t7"]) == ["concat", "conv"]
        (said,) = (note for note in trained_ranges.notes(found) if "differ" in note)
        assert "t7" in said
        assert "concat" in said
        assert "conv" in said


def test_tensors_inside_one_layer_need_not_all_be_there():
    inside = trained("conv", [0.1, 3.8], [0.0, 4.0, 0.5, 3.0])
    lonely = trained("dense", [0.0, 9.0], [0.0, 9.0, 0.0, 8.0])
    found = trained_ranges.match([CONV, inside, lonely], {"t7": (-1.0, 3.0, -0.5, 2.0)})
    assert (found.trained, found.unused) == (2, ["dense"])
    found = trained_ranges.match([CONV, inside], {"t7": (0.0, 4.0, 0.5, 3.0)})
    assert found.ranges == {"t7": (0.1, 3.8)}


@pytest.mark.parametrize("limits", [[-0.9, 2.8], [-0.9, 2.81]])
def test_two_layers_whose_ranges_are_the_same_to_int8_are_not_told(limits):
    seen = {"t7": (-1.0, 3.0, -0.5, 2.0)}
    found = trained_ranges.match([CONV, trained("pad", limits, CONV["extremes"])], seen)
    assert found.ranges == {"t7": (-0.9, 2.8)}
    assert trained_ranges.notes(found) == []
