"""Clustering: how many values are left, where they lie, and that they stay shared."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.workers import Worker


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("sparsity_cases:Cases", "clustering") as found:
            yield found


def arrays(found, side):
    return {path: np.array(values, np.float32) for path, values in found[side].items()}


def int8_bytes(kernel, outputs):
    """What int8 with a scale per output makes of weights: LiteRT's max |w| / 127, rounded."""
    axes = tuple(axis for axis in range(kernel.ndim) if axis not in outputs)
    scales = np.abs(kernel).max(axes, keepdims=True) / np.float32(127)
    return np.rint(kernel / np.where(scales == 0, 1, scales)).astype(np.int8)


OUTPUTS = {
    "conv/kernel": (3,), "each/kernel": (2, 3), "parted/depthwise_kernel": (2, 3),
    "parted/pointwise_kernel": (3,), "back/kernel": (2,), "out/kernel": (1,),
}  # fmt: skip


@pytest.mark.parametrize("init", ["density", "k-means++"])
@pytest.mark.parametrize("name", ["image", "rows", "words", "volume"])
def test_no_kernel_has_more_values_than_asked(worker, name, init):
    found = worker.call("cluster", name=name, clusters=6, init=init)
    after = arrays(found, "after")
    for path, before in arrays(found, "before").items():
        assert np.unique(after[path]).size == 6
        assert np.abs(after[path] - before).mean() < 0.4 * np.abs(before).mean()
        order = np.argsort(before, axis=None, kind="stable")
        assert (np.diff(after[path].ravel()[order]) >= 0).all()


@pytest.mark.parametrize("for_int8", [False, True])
def test_zeros_are_a_value_of_their_own(worker, for_int8):
    found = worker.call("cluster", name="image", clusters=8, sparsity=0.6, for_int8=for_int8)
    after = arrays(found, "after")
    for path, before in arrays(found, "before").items():
        assert np.array_equal(after[path] == 0, before == 0)
        if not for_int8:
            assert np.unique(after[path]).size <= 8


@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_for_int8_every_value_is_the_same_byte_in_every_channel(worker, sparsity):
    found = worker.call("cluster", name="image", clusters=8, sparsity=sparsity, for_int8=True)
    after = arrays(found, "after")
    for path, outputs in OUTPUTS.items():
        bytes_of = int8_bytes(after[path], outputs)
        assert np.unique(bytes_of).size <= 8
        assert np.unique(after[path]).size > 8


def test_k_means_reaches_what_lloyd_reaches(worker):
    rng = np.random.default_rng(2)
    values = rng.normal(size=200)
    centres = np.array(worker.call("k_means", values=values.tolist(), count=5, init="density"))
    nearest = np.abs(values[:, None] - centres).argmin(1)
    for number in range(5):
        assert centres[number] == pytest.approx(values[nearest == number].mean())
    start = np.sort(values)[((np.arange(5) + 0.5) * 40).astype(int)]
    for _ in range(100):
        nearest = np.abs(values[:, None] - start).argmin(1)
        start = np.array([values[nearest == number].mean() for number in range(5)])
    assert centres == pytest.approx(start)


@pytest.mark.parametrize("init", ["density", "k-means++"])
def test_groups_that_lie_apart_are_found(worker, init):
    rng = np.random.default_rng(0)
    values = np.concatenate([middle + rng.normal(0, 0.01, 50) for middle in (-3, 0.5, 4)])
    centres = worker.call("k_means", values=values.tolist(), count=3, init=init)
    assert centres == pytest.approx([-3, 0.5, 4], abs=0.01)


def test_a_layer_of_few_values_is_left_and_named(worker):
    found = worker.call("cluster", name="volume", clusters=16, few=1)
    before, after = arrays(found, "before"), arrays(found, "after")
    assert not found["applied"]
    distinct = np.unique(before["conv/kernel"]).size
    assert found["kept"][0]["why"] == f"it has only {distinct} distinct values"
    assert all(np.array_equal(after[path], values) for path, values in before.items())


def test_two_values_cannot_be_both_signs_and_zero(worker):
    found = worker.call("cluster", name="volume", clusters=2, sparsity=0.5, for_int8=True)
    assert {one["why"] for one in found["kept"]} == {"2 values cannot hold both signs and zero"}


def test_three_values_are_both_ends_and_zero(worker):
    found = worker.call("cluster", name="volume", clusters=3, sparsity=0.5, for_int8=True)
    kernel = arrays(found, "after")["conv/kernel"]
    assert np.unique(int8_bytes(kernel, (4,))).tolist() == [-127, 0, 127]


@pytest.mark.parametrize("for_int8", [False, True])
def test_values_move_and_stay_shared_while_weights_are_updated(worker, for_int8):
    found = worker.call("held", name="image", sparsity=0.5, clusters=8, for_int8=for_int8)
    before, moved, after = (arrays(found, side) for side in ("before", "moved", "after"))
    for path, outputs in OUTPUTS.items():
        assert not np.array_equal(before[path], after[path])
        assert np.array_equal(before[path] == 0, after[path] == 0)
        seen = int8_bytes(after[path], outputs) if for_int8 else moved[path]
        assert np.unique(seen).size <= 8
        if not for_int8:
            same = {
                value: np.unique(after[path][before[path] == value])
                for value in np.unique(before[path])
            }
            assert all(values.size == 1 for values in same.values())


def test_a_shared_value_becomes_the_mean_of_its_weights(worker):
    """One update by hand: noise is drawn as the worker draws it."""
    found = worker.call("held", name="volume", sparsity=0.5, clusters=4, for_int8=False)
    rng = np.random.default_rng(0)
    weights = {path: np.array(values) for path, values in found["before"].items()}
    for _ in range(3):
        for path, values in weights.items():
            noisy = values + rng.normal(0, 0.02, values.shape)
            first = found["before"][path]
            for value in np.unique(first):
                members = np.array(first) == value
                noisy[members] = noisy[members].mean() if value else 0.0
            weights[path] = noisy
    for path, expected in weights.items():
        assert np.array(found["after"][path]) == pytest.approx(expected, abs=1e-5)
