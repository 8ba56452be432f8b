import numpy as np
import pytest

from edgekit.converters import tflite_calibration as calibration


def collected(samples):
    kept = calibration.TensorStatistics()
    for sample in samples:
        kept.add(sample.astype(np.float32), 100_000)
    return calibration.Collected({"t": kept}, len(samples))


@pytest.fixture(scope="module")
def samples():
    random = np.random.default_rng(0)
    return [random.standard_normal((1, 20, 20, 3)) * (1 + k / 4) for k in range(8)]


def test_minmax_covers_every_value(samples):
    low, high = calibration.ranges(collected(samples), "minmax")["t"]
    everything = np.concatenate([s.ravel() for s in samples]).astype(np.float32)
    assert (low, high) == (everything.min(), everything.max())


def test_moving_average_is_the_mean_of_the_samples_extremes(samples):
    low, high = calibration.ranges(collected(samples), "moving-average")["t"]
    assert low == pytest.approx(np.mean([s.min() for s in samples]), rel=1e-6)
    assert high == pytest.approx(np.mean([s.max() for s in samples]), rel=1e-6)


def test_percentile_agrees_with_numpy(samples):
    low, high = calibration.ranges(collected(samples), "percentile")["t"]
    everything = np.concatenate([s.ravel() for s in samples])
    assert (low, high) == pytest.approx(tuple(np.percentile(everything, (0.01, 99.99))), rel=1e-5)


def test_range_always_holds_zero():
    low, high = calibration.ranges(collected([np.full((1, 4), 3.0)]), "minmax")["t"]
    assert (low, high) == (0.0, 3.0)


def test_mse_range_clips_a_lone_outlier_at_few_levels():
    values = np.random.default_rng(1).standard_normal(4000).astype(np.float32)
    values[7] = 60.0
    low, high = calibration.least_squares_range(values, values.min(), 60.0, 16)

    def error(limits):
        scale = (limits[1] - limits[0]) / 15
        rounded = np.round(np.clip(values, *limits) / scale) * scale
        return np.square(values - rounded).sum()

    assert high < 60.0
    assert error((low, high)) < error((values.min(), 60.0))


def test_mse_range_keeps_everything_when_nothing_sticks_out():
    values = np.linspace(0, 1, 5000, dtype=np.float32)
    assert calibration.least_squares_range(values, 0.0, 1.0, 256) == (0.0, 1.0)
