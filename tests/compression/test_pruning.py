"""Magnitude pruning: exact shares, patterns, what is left alone, and that zeros stay zeros."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.workers import Worker

KERNELS = {
    "image": ["conv", "each", "parted", "parted", "back", "out"],
    "rows": ["conv", "each", *["both/forward_gru"] * 2, *["both/backward_gru"] * 2, "lstm", "lstm",
             "out"],
    "words": ["embed", *[f"attend/{one}" for one in ("query", "key", "value", "attention_output")],
              "einsum", "out"],
    "volume": ["conv", "out"],
}  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("sparsity_cases:Cases", "magnitude pruning") as found:
            yield found


def arrays(found, side):
    return {path: np.array(values, np.float32) for path, values in found[side].items()}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.99])
def test_each_kernel_loses_exactly_its_smallest_share(worker, name, sparsity):
    found = worker.call("prune", name=name, sparsity=sparsity)
    assert [one["layer"] for one in found["applied"]] == KERNELS[name]
    assert not found["kept"]
    after = arrays(found, "after")
    for path, before in arrays(found, "before").items():
        gone = after[path] == 0
        assert gone.sum() == min(round(sparsity * before.size), before.size - 1)
        assert np.array_equal(after[path][~gone], before[~gone])
        assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()


@pytest.mark.parametrize("name", ["image", "words"])
def test_over_all_layers_the_smallest_weights_of_all_go(worker, name):
    found = worker.call("prune", name=name, sparsity=0.7, scope="global")
    before, after = arrays(found, "before"), arrays(found, "after")
    everything = np.sort(np.concatenate([np.abs(one).ravel() for one in before.values()]))
    limit = everything[round(0.7 * everything.size) - 1]
    for path, values in before.items():
        assert np.array_equal(after[path], np.where(np.abs(values) > limit, values, 0))
    zeros = sum(int((one == 0).sum()) for one in after.values())
    assert zeros == round(0.7 * everything.size)


@pytest.mark.parametrize("sparsity", [0.5, 0.45])
def test_two_of_four_input_channels_stay_for_each_tap_and_output(worker, sparsity):
    """However the share was rounded: sparse kernels read no group of three."""
    found = worker.call("prune", name="image", sparsity=sparsity, pattern="2:4")
    before, after = arrays(found, "before"), arrays(found, "after")
    for path in ("conv/kernel", "parted/pointwise_kernel", "out/kernel"):
        taps = before[path].reshape(-1, *before[path].shape[-2:])
        made = after[path].reshape(taps.shape)
        for tap, output, first in np.ndindex(taps.shape[0], taps.shape[2], taps.shape[1] // 4):
            four = taps[tap, 4 * first : 4 * first + 4, output]
            stays = np.isin(np.arange(4), np.argsort(np.abs(four))[2:])
            expected = np.where(stays, four, 0)
            assert np.array_equal(made[tap, 4 * first : 4 * first + 4, output], expected)
    back = after["back/kernel"]  # height, width, outputs, inputs
    assert ((back.reshape(*back.shape[:3], -1, 4) != 0).sum(-1) == 2).all()


def test_a_dead_channel_stays_where_groups_of_inputs_hold_zeros(worker, tmp_path):
    inputs, zeros = worker.call("simplified", place=str(tmp_path / "m.keras"), pattern="2:4")
    assert (inputs, zeros) == (8, [2])
    inputs, _ = worker.call("simplified", place=str(tmp_path / "n.keras"), pattern="unstructured")
    assert inputs == 7


def test_a_pattern_leaves_out_what_it_does_not_fit_and_says_why(worker):
    found = worker.call("prune", name="image", sparsity=0.5, pattern="2:4")
    why = {one["layer"]: one["why"] for one in found["kept"]}
    assert why["each"] == "2:4 needs a multiple of 4 inputs, and it has 1"
    assert why["parted"].startswith("depthwise_kernel: 2:4 needs a multiple of 4 inputs")
    assert np.array_equal(
        arrays(found, "after")["each/kernel"], arrays(found, "before")["each/kernel"]
    )
    large = worker.call("prune", name="rows", sparsity=0.5, pattern="16x4")
    assert {one["layer"] for one in large["kept"]} == set(KERNELS["rows"])
    assert "smaller than a block of 16x4: 4 inputs by 8 outputs" in large["kept"][0]["why"]
    table = worker.call("prune", name="words", sparsity=0.5, pattern="2:4")
    assert "looked up and not multiplied" in table["kept"][0]["why"]


def test_a_pattern_that_fits_no_layer_changes_nothing_over_all_layers_too(worker):
    found = worker.call("prune", name="volume", sparsity=0.5, pattern="99x99", scope="global")
    assert not found["applied"]
    assert [one["layer"] for one in found["kept"]] == KERNELS["volume"]


def test_a_share_of_a_layer_goes_for_the_layers_inside_it(worker):
    shares = {"embed": 0.25, "attend": 0.5, "einsum": 0.75}
    found = worker.call("prune", name="words", sparsity=shares)
    assert [one["layer"] for one in found["applied"]] == KERNELS["words"][:-1]
    assert [one["layer"] for one in found["kept"]] == ["out"]
    after = arrays(found, "after")
    for path, values in after.items():
        share = shares.get(path.partition("/")[0], 0.0)
        assert (values == 0).sum() == round(share * values.size), path


def test_blocks_go_as_a_whole_those_of_least_mean_magnitude(worker):
    found = worker.call("prune", name="words", sparsity=0.5, pattern="4x3")
    before, after = arrays(found, "before"), arrays(found, "after")
    kernel, made = before["einsum/kernel"], after["einsum/kernel"]  # 8 inputs, 12 outputs
    means = np.abs(kernel).reshape(2, 4, 4, 3).mean((1, 3))
    zero = (made == 0).reshape(2, 4, 4, 3)
    assert np.array_equal(zero.all((1, 3)), zero.any((1, 3)))
    assert zero.all((1, 3)).sum() == 4
    assert means[zero.all((1, 3))].max() < means[~zero.all((1, 3))].min()


def test_blocks_at_the_edge_are_smaller_and_the_share_holds(worker):
    found = worker.call("prune", name="image", sparsity=0.6, pattern="1x5")  # 8 outputs: 5 and 3
    after = arrays(found, "after")["conv/kernel"].reshape(-1, 8)
    zero = after == 0
    assert np.array_equal(zero[:, :5].all(1), zero[:, :5].any(1))
    assert np.array_equal(zero[:, 5:].all(1), zero[:, 5:].any(1))
    assert 0 <= round(0.6 * after.size) - zero.sum() < 5


def test_zeros_that_are_there_are_among_those_that_go(worker):
    found = worker.call("prune_twice", name="image", first=0.5, second=0.75)
    before, after = arrays(found, "before"), arrays(found, "after")
    for path, values in before.items():
        assert (after[path][values == 0] == 0).all()
        assert (after[path] == 0).sum() == round(0.75 * values.size)


def test_layers_that_nothing_is_known_of_are_left_and_named(worker):
    found = worker.call("prune", name="odd", sparsity=0.5, trained=True)
    why = {one["layer"]: one["why"] for one in found["kept"]}
    assert why == {
        "conv": "its weights are frozen (trainable = False)",
        "slope": "what the weights of a PReLU do is not known",
        "own": "what the weights of a Own do is not known",
    }
    assert [one["layer"] for one in found["applied"]] == ["out"]
    frozen = worker.call("prune", name="odd", sparsity=0.5, trained=False)
    assert [one["layer"] for one in frozen["applied"]] == ["conv", "out"]


@pytest.mark.parametrize(("pattern", "sparsity"), [("unstructured", 0.8), ("2:4", 0.5)])
def test_zeros_come_on_the_cubic_schedule_and_stay_through_updates(worker, pattern, sparsity):
    shares = worker.call("gradual", name="volume", sparsity=sparsity, steps=40, pattern=pattern)
    for step, share in enumerate(shares):
        expected = sparsity * (1 - (1 - min(step / 20, 1)) ** 3)
        assert share == pytest.approx(expected, abs=1 / 400)
    assert shares[20:] == [shares[-1]] * 20


def test_zeros_stay_through_later_updates(worker):
    found = worker.call("held", name="rows", sparsity=0.7, clusters=0, for_int8=False)
    before, after = arrays(found, "before"), arrays(found, "after")
    for path, values in before.items():
        assert np.array_equal(after[path] == 0, values == 0)
        assert not np.array_equal(after[path], values)


def test_the_source_that_teaches_keeps_its_weights(worker, tmp_path):
    before, teacher, student = worker.call(
        "teacher_moves", path=str(tmp_path / "m.keras"), sparsity=0.5
    )
    assert teacher == before != student


def test_what_a_step_would_do_is_explained_without_doing_it(worker):
    steps = [
        {"kind": "prune", "sparsity": 0.5, "pattern": "2:4"},
        {"kind": "cluster", "clusters": 4},
    ]
    told = worker.call("explain", name="image", steps=steps)
    assert not told["changed"]
    prune, cluster = told["steps"]
    assert [one["layer"] for one in prune["applies"]] == ["conv", "parted", "back", "out"]
    assert prune["applies"][0]["done"] == "144 of 288 zero"
    assert [one["layer"] for one in prune["stays"]] == ["each", "parted"]
    assert any("decided while it trains" in note for note in prune["notes"])
    assert cluster["applies"][0]["done"] == "4 values"
    wide = worker.call(
        "explain", name="rows", steps=[{"kind": "prune", "sparsity": 0.5, "pattern": "32x32"}]
    )
    (finding,) = wide["steps"][0]["findings"]
    assert finding["problem"] == "no layer takes the pattern 32x32"
