"""What int8 costs real trained models; needs EDGEKIT_DATA. Judged by loops without edgekit."""

import importlib
import os
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EDGEKIT_DATA" not in os.environ, reason="EDGEKIT_DATA is not set"),
]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
UPSTREAM_INT8_BYTES = 98_496  # MLPerf Tiny's own pretrainedResnet_quant.tflite


@pytest.fixture(scope="module")
def accuracy():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("accuracy")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def data():
    return Path(os.environ["EDGEKIT_DATA"])


def test_resnet8_int8_loses_at_most_half_a_point_over_three_draws(accuracy, data, tmp_path):
    rows = accuracy.resnet8(data, tmp_path)
    assert [row["target"] for row in rows] == ["host", "host-openvino"]
    for row in rows:
        assert row["float"] == pytest.approx(0.881, abs=0.0015)  # the published upstream value
        assert row["int8_mean_drop"] <= 0.005
        assert min(row["mcnemar_p"]) >= 0.05
    assert rows[0]["size_bytes"] <= UPSTREAM_INT8_BYTES


def test_autoencoder_keeps_its_auc_at_int8(accuracy, data, tmp_path):
    for row in accuracy.autoencoder(data, tmp_path):
        assert row["float"] == pytest.approx(0.880, abs=0.001)  # the recorded upstream value
        assert row["drop"] <= 0.005


def test_wake_word_makes_no_more_errors_at_int8(accuracy, data, tmp_path):
    for row in accuracy.wake_word(data, tmp_path):
        assert row["quantized"] >= row["float"]


def test_lstm_is_smaller_and_within_a_point(accuracy, data, tmp_path):
    tflite, openvino = accuracy.lstm(data, tmp_path)
    assert tflite["precision"] == "int8-dynamic"
    assert tflite["size_bytes"] < tflite["float_size_bytes"]
    assert openvino["precision"] == "int8"
    assert max(tflite["drop"], openvino["drop"]) <= 0.01
