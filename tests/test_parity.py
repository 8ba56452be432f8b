import numpy as np
import pytest

from edgekit import parity
from edgekit.errors import ParityError

REFERENCE = {"y": np.array([[1.0, -2.0, 4.0], [0.5, 0.25, 0.0]], np.float32)}


def test_differences_are_stated_absolute_and_relative_to_the_largest_output():
    found = {"y": REFERENCE["y"] + np.array([[0, 0.1, 0], [0, 0, 0]], np.float32)}
    measured = parity.measure(REFERENCE, found, "fp32", real_data=True)
    assert measured.max_abs == pytest.approx(0.1, rel=1e-5)
    assert measured.max_rel == pytest.approx(0.1 / 4, rel=1e-5)
    assert measured.samples == 2


def test_sqnr_is_that_of_the_worst_output():
    reference = {"a": np.ones((4, 2), np.float32), "b": np.full((4, 2), 2.0, np.float32)}
    found = {"a": np.full((4, 2), 1.1, np.float32), "b": np.full((4, 2), 2.02, np.float32)}
    # Power of 1 over power of 0.1: 20 dB; of 2 over 0.02: 40 dB.
    assert parity.worst_sqnr_db(reference, found) == pytest.approx(20.0, abs=1e-4)


def test_top1_agreement_is_counted_for_classifiers():
    found = {"y": np.array([[1.0, -2.0, 4.0], [0.0, 0.25, 0.0]], np.float32)}
    assert parity.measure(REFERENCE, found, "int8", real_data=True).agreement == 0.5


def test_float_artifact_beyond_tolerance_is_refused_with_both_figures():
    found = {"y": REFERENCE["y"] * 1.01}
    measured = parity.measure(REFERENCE, found, "fp32", real_data=True)
    with pytest.raises(ParityError, match=r"0\.01 of the largest output; allowed is 0\.001"):
        parity.judge(measured, "fp32")


def test_quantized_artifact_with_more_error_than_signal_is_refused():
    found = {"y": REFERENCE["y"][:, ::-1] * 3}
    measured = parity.measure(REFERENCE, found, "int8", real_data=True)
    with pytest.raises(ParityError, match="destroys"):
        parity.judge(measured, "int8")


def test_damaged_outputs_are_warned_of_with_the_figure():
    reference = {"y": np.ones((10, 10), np.float32)}
    found = {"y": np.full((10, 10), 1.5, np.float32)}
    measured = parity.measure(reference, found, "int8", real_data=True)
    (warning,) = parity.judge(measured, "int8")
    assert "6.0 dB" in warning  # 10 · log10(1 / 0.25)


def test_an_output_that_stopped_answering_is_refused():
    reference = {"y": np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)}
    found = {"y": np.full((2, 2), 0.5, np.float32)}
    measured = parity.measure(reference, found, "int8", real_data=True)
    assert measured.constant == "y"
    with pytest.raises(ParityError, match="same output 'y' for every sample"):
        parity.judge(measured, "int8")


def test_an_output_that_hardly_varied_may_round_to_a_constant():
    reference = {"y": np.array([[0.1, 0.1001], [0.1001, 0.1]], np.float32)}
    found = {"y": np.full((2, 2), 0.1, np.float32)}
    assert parity.measure(reference, found, "int8", real_data=True).constant is None


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"z": REFERENCE["y"]}, "lost the output 'y'"),
        ({"y": REFERENCE["y"][:, :2]}, "shape"),
        ({"y": np.full_like(REFERENCE["y"], np.nan)}, "not finite"),
    ],
)
def test_outputs_that_cannot_be_compared_are_named(found, message):
    with pytest.raises(ParityError, match=message):
        parity.measure(REFERENCE, found, "int8", real_data=True)
