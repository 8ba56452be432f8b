"""Timing, memory and the step between floats and integers, against counted and known values."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count

import numpy as np
import pytest

from edgekit.targets.runner import memory, tensors, timing
from edgekit.targets.runner.protocol import RunnerError


class Counted:
    """A session with a clock of its own: the n-th inference takes n nanoseconds."""

    def __init__(self) -> None:
        self.calls = 0

    def invoke(self) -> None:
        self.calls += 1

    def elapsed_ns(self) -> int:
        return self.calls


class Waiting:
    """A session that takes a millisecond of wall time and next to no CPU time."""

    def __init__(self) -> None:
        self.invoke = lambda: time.sleep(0.001)


def test_every_inference_is_one_sample():
    session = Counted()
    timed = timing.sample(session, about_ns=1e5, least_runs=100, least_s=0.0, most_s=5.0)
    assert list(timed.samples_ns) == list(range(1, session.calls + 1))
    assert len(timed.samples_ns) >= 100


def test_timing_ends_at_its_limit_even_with_too_few_runs():
    timed = timing.sample(Waiting(), about_ns=1e6, least_runs=10**6, least_s=9.0, most_s=0.02)
    assert 3 <= len(timed.samples_ns) <= 40
    assert timed.elapsed_s < 5


def test_at_least_three_inferences_are_timed_however_long_they_take():
    timed = timing.sample(Waiting(), about_ns=1e9, least_runs=0, least_s=0.0, most_s=0.0)
    assert len(timed.samples_ns) == 3


def test_waiting_shows_as_wall_time_above_cpu_time():
    timed = timing.sample(Waiting(), about_ns=1e6, least_runs=10, least_s=0.0, most_s=1.0)
    assert min(timed.samples_ns) >= 1_000_000
    assert timed.wall_per_cpu > 1.5
    assert timed.cpu_median_ns < np.median(timed.samples_ns)


def test_warm_up_goes_on_while_inferences_become_faster():
    steps = count()
    found = timing.warm_up(lambda: time.sleep(max(0.0, 0.004 - 0.0004 * next(steps))), 0.0, 0.5)
    assert found.runs >= 10


def test_warm_up_ends_at_its_limit_and_says_that_it_was_not_stable():
    found = timing.warm_up(lambda: time.sleep(0.005), 9.0, 0.02)
    assert not found.stable
    assert found.runs <= 10


def test_thinning_keeps_extremes_and_percentiles():
    samples = np.random.default_rng(0).permutation(100_001)
    thin = timing.thinned(samples, 2001)
    assert len(thin) == 2001
    assert (thin[0], thin[-1]) == (0, 100_000)
    np.testing.assert_allclose(np.percentile(thin, [10, 50, 90, 99]), [1e4, 5e4, 9e4, 9.9e4])


def test_few_samples_are_kept_whole():
    assert timing.thinned([3, 1, 2], 2000) == [1, 2, 3]


GAUGED = """
from edgekit.targets.runner import memory

gauge = memory.Gauge()
held = bytearray(b"x" * (32 << 20))
gauge.note()
del held
gauge.skip()
skipped = bytearray(b"x" * (128 << 20))
del skipped
gauge.skip()
gauge.note()
print(gauge.peak_delta_bytes(), gauge.anonymous_delta_bytes())
"""


def test_peak_memory_is_what_was_added_and_what_is_skipped_does_not_count():
    if not memory.reset_peak():
        pytest.skip("this kernel does not reset the peak of a process")
    # In a process of its own: what other tests left behind is given back at any moment.
    done = subprocess.run(
        [sys.executable, "-c", GAUGED], capture_output=True, text=True, check=True
    )
    added, anonymous = map(int, done.stdout.split())
    assert 31 << 20 < added < 80 << 20
    assert anonymous < 31 << 20


def test_dequantized_outputs_are_scale_times_q_minus_zero_point():
    tensor = {"name": "y", "dtype": "uint8", "scale": 0.25, "zero_point": 10}
    found = tensors.to_float(np.array([0, 10, 255], np.uint8), tensor)
    np.testing.assert_array_equal(found, np.float32([-2.5, 0.0, 61.25]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_going_there_and_back_loses_at_most_half_a_step(dtype):
    tensor = {"name": "x", "dtype": dtype, "scale": 0.03, "zero_point": 5}
    limits = np.iinfo(dtype)
    low, high = (limits.min - 5) * 0.03, (limits.max - 5) * 0.03
    x = np.random.default_rng(0).uniform(low, high, 1000).astype(np.float32)
    back = tensors.to_float(tensors.to_runtime(x, tensor), tensor)
    assert np.abs(back - x).max() <= 0.015 * 1.001


def test_token_ids_stay_what_they_are():
    tensor = {"name": "ids", "dtype": "int32", "scale": None, "zero_point": None}
    for given in (np.array([0, 7, 20_000_001]), np.array([0.0, 7.0, 20_000_001.0])):
        np.testing.assert_array_equal(tensors.to_runtime(given, tensor), [0, 7, 20_000_001])


def test_scale_and_zero_point_come_from_the_manifest_where_the_file_has_none():
    found = [{"name": "x", "dtype": "int8", "scale": None, "zero_point": None}]
    tensors.adopt(found, [{"name": "x", "scale": 0.5, "zero_point": -3}])
    assert (found[0]["scale"], found[0]["zero_point"]) == (0.5, -3)


def test_infinite_values_have_no_integer_form():
    tensor = {"name": "x", "dtype": "int8", "scale": 1.0, "zero_point": 0}
    with pytest.raises(RunnerError, match="infinite"):
        tensors.to_runtime(np.array([np.inf], np.float32), tensor)
