"""From processes to figures, against numbers worked out by hand or by enumeration."""

from __future__ import annotations

import itertools
import math
import statistics

import msgspec
import pytest

from edgekit import bench_statistics
from edgekit.result_types import GpuReplicate, Replicate


def replicate(median_s: float = 1e-3, **changes) -> Replicate:
    """A process that was not disturbed; its samples are one microsecond apart."""
    given = {
        "import_s": 0.1, "load_s": 0.01, "first_inference_s": 0.002, "runs": 11,
        "median_s": median_s, "min_s": median_s * 0.9,
        "samples_ns": tuple(round(median_s * 1e9) + 1000 * step for step in range(-5, 6)),
        "cpu_median_s": median_s * 0.99, "wall_per_cpu": 1.01, "involuntary_switches": 1,
        "elapsed_s": 0.5, "warm_up_runs": 10, "warm_up_stable": True, "inputs": "random",
        "clock": "perf_counter", "peak_delta_bytes": 1000, "anonymous_bytes": 600,
    }  # fmt: skip
    return Replicate(**{**given, **changes})


def latency(replicates, threads=1):
    return bench_statistics.latency(replicates, threads=threads, stopped="enough")


def test_the_median_is_that_of_the_processes_not_of_the_runs():
    # One process with very many runs must not outweigh the others.
    found = latency([replicate(1e-3), replicate(2e-3, runs=100_000), replicate(4e-3)])
    assert found.median_s == 2e-3
    assert found.process_medians_s == (1e-3, 2e-3, 4e-3)
    assert found.runs == 100_022


def test_with_six_processes_the_interval_is_from_the_smallest_to_the_largest():
    medians = [1.3e-3, 1.0e-3, 1.1e-3, 1.2e-3, 1.4e-3, 1.5e-3]
    assert latency([replicate(median) for median in medians]).ci95_s == (1.0e-3, 1.5e-3)


def test_with_five_processes_there_is_no_interval():
    assert latency([replicate() for _ in range(5)]).ci95_s is None


def test_the_interval_covers_the_median_as_often_as_it_says():
    # Each value lies below the true median with probability one half: enumerate all 2^9 cases.
    values = list(range(-9, 0)), list(range(1, 10))
    covered = 0
    for signs in itertools.product((0, 1), repeat=9):
        drawn = [values[sign][at] for at, sign in enumerate(signs)]
        low, high = bench_statistics.interval(drawn)
        covered += low <= 0 <= high
    assert covered / 2**9 >= 0.95


def test_percentiles_need_enough_runs():
    def found(runs):
        return latency([replicate(runs=runs) for _ in range(6)])

    assert found(10).p90_s is None  # 60 runs
    assert found(11).p90_s is not None  # 66
    assert found(110).p99_s is None  # 660
    assert found(111).p99_s is not None  # 666


def test_a_percentile_is_the_smallest_sample_that_the_share_does_not_exceed():
    ordered = list(range(1, 101))
    assert bench_statistics.percentile(ordered, 0.9) == 90
    assert bench_statistics.percentile(ordered, 0.99) == 99
    assert bench_statistics.percentile([5], 0.99) == 5


def test_percentiles_are_taken_over_the_samples_of_all_processes():
    replicates = [
        replicate(samples_ns=tuple(range(start, 60_000, 6)), runs=10_000) for start in range(6)
    ]
    assert latency(replicates).p90_s == pytest.approx(53_999e-9)


def test_the_minimum_is_over_all_processes():
    assert latency([replicate(2e-3), replicate(1e-3)]).min_s == pytest.approx(0.9e-3)


def test_wall_time_above_cpu_time_on_one_thread_is_contention():
    assert latency([replicate(wall_per_cpu=1.06) for _ in range(6)]).contended is True
    assert latency([replicate(wall_per_cpu=1.04) for _ in range(6)]).contended is False


def test_wall_time_below_cpu_time_on_several_threads_says_nothing():
    assert latency([replicate(wall_per_cpu=1.5) for _ in range(6)], threads=2).contended is False


def test_many_involuntary_switches_are_contention_on_any_number_of_threads():
    disturbed = [replicate(involuntary_switches=50) for _ in range(6)]
    assert latency(disturbed, threads=2).contended is True


def test_one_disturbed_process_of_six_is_not_contention():
    replicates = [replicate() for _ in range(5)] + [replicate(wall_per_cpu=2.0)]
    assert latency(replicates).contended is False


def test_cold_start_and_memory_are_medians_over_processes():
    replicates = [
        replicate(load_s=load_s, peak_delta_bytes=peak)
        for load_s, peak in ((0.01, 100), (0.02, 300), (0.5, 200))
    ]
    assert bench_statistics.cold_start(replicates).load_s == 0.02
    assert bench_statistics.memory(replicates).peak_delta_bytes == 200


def test_memory_that_a_process_could_not_tell_is_not_measured():
    found = bench_statistics.memory([replicate(), replicate(peak_delta_bytes=None)])
    assert found.peak_delta_bytes is None
    assert found.anonymous_bytes == 600


def test_a_ratio_survives_what_slows_whole_rounds():
    drift = [1.0, 2.0, 1.5, 3.0, 1.2, 2.5, 1.1]
    baseline = [1e-3 * factor for factor in drift]
    candidate = [0.5e-3 * factor for factor in drift]
    found = bench_statistics.ratio(baseline, candidate)
    assert found.value == pytest.approx(0.5)
    assert found.ci95 == pytest.approx((0.5, 0.5))
    assert found.different


def test_a_ratio_whose_interval_holds_one_is_no_difference():
    found = bench_statistics.ratio([1.0] * 6, [0.9, 1.2, 1.1, 1.3, 1.2, 1.1])
    assert found.ci95 == (0.9, 1.3)
    assert found.value == statistics.median([0.9, 1.2, 1.1, 1.3, 1.2, 1.1])
    assert not found.different


def test_fewer_than_six_rounds_give_no_ratio():
    assert bench_statistics.ratio([1.0] * 5, [2.0] * 5) is None


def test_the_half_width_is_relative_to_the_median():
    values = [0.98, 0.99, 1.0, 1.0, 1.01, 1.02]
    assert bench_statistics.relative_half_width(values) == pytest.approx(0.02)
    assert bench_statistics.relative_half_width([1.0]) == math.inf


# ---------------------------------------------------------------------------- 99 % intervals


def test_eight_rounds_give_a_99_percent_interval_and_seven_do_not():
    ratios = [1.1, 1.2, 1.3, 1.15, 1.25, 1.05, 1.4, 1.35]
    found = bench_statistics.ratio([1.0] * 8, ratios)
    assert found.ci99 == (1.05, 1.4)
    assert bench_statistics.ratio([1.0] * 7, ratios[:7]).ci99 is None


def test_the_99_percent_interval_covers_the_median_as_often_as_it_says():
    covered = 0
    for signs in itertools.product((-1, 1), repeat=11):  # each value on one side of the median
        drawn = [sign * (at + 1) for at, sign in enumerate(signs)]
        low, high = bench_statistics.interval(drawn, 0.99)
        covered += low <= 0 <= high
    assert covered / 2**11 >= 0.99


def test_an_unpaired_ratio_needs_five_processes_each():
    found = bench_statistics.unpaired_ratio_ci99([1.0] * 5, [2.0] * 5)
    assert found == pytest.approx((2.0, 2.0))
    assert bench_statistics.unpaired_ratio_ci99([1.0] * 4, [2.0] * 4) is None


def test_what_a_tool_does_not_tell_is_none_and_its_mean_is_no_median():
    untold = dict.fromkeys(
        ("median_s", "cpu_median_s", "wall_per_cpu", "involuntary_switches", "import_s")
    )
    replicates = [
        msgspec.structs.replace(replicate(), **untold, mean_s=mean, runs=100, samples_ns=())
        for mean in (3.0, 1.0, 2.0)
    ]
    found = bench_statistics.latency(replicates, threads=1, stopped="")
    assert (found.median_s, found.ci95_s, found.p90_s, found.cpu_median_s) == (None,) * 4
    assert found.mean_s == 2.0
    assert found.contended is None
    assert found.process_medians_s == ()
    assert found.why == "the tool that measured tells its mean, and no median"
    cold = bench_statistics.cold_start(replicates)
    assert cold.import_s is None
    assert cold.load_s is not None


def test_one_process_that_does_not_tell_leaves_the_figure_out():
    assert bench_statistics.known([1, 2, None]) == []
    assert bench_statistics.known([1, 2, 3]) == [1, 2, 3]


def test_a_process_that_waits_for_a_gpu_is_not_contended_and_its_cpu_time_is_no_latency():
    gpu = msgspec.convert(
        {
            "h2d_median_s": 1e-5, "compute_median_s": 1e-3, "d2h_median_s": 1e-5, "runs": 50,
            "cuda_graph": False, "memory_bytes": None, "clock_before_hz": None,
            "clock_after_hz": None, "memory_clock_hz": None, "power_w": None,
            "temperature_c": None, "throttle_reasons": None,
        },
        GpuReplicate,
    )  # fmt: skip
    found = latency([replicate(gpu=gpu, wall_per_cpu=9.0) for _ in range(6)])
    assert found.contended is False
    assert found.cpu_median_s is None
    assert latency([replicate(gpu=gpu, involuntary_switches=900) for _ in range(6)]).contended
