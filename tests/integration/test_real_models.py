"""What int8 costs real trained models; needs EDGEKIT_DATA. Judged by loops without edgekit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("EDGEKIT_DATA" not in os.environ, reason="EDGEKIT_DATA is not set"),
]
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
UPSTREAM_INT8_BYTES = 98_496  # MLPerf Tiny's own pretrainedResnet_quant.tflite


RUN = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import accuracy
data, place = pathlib.Path(os.environ["EDGEKIT_DATA"]), pathlib.Path(sys.argv[3])
rows = getattr(accuracy, sys.argv[2])(data, place)
print(json.dumps(rows))
"""


def judged(model: str, directory: Path) -> list:
    """Rows of the benchmark, made in another process: it runs both runtimes in its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(BENCHMARKS), model, str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_resnet8_int8_loses_at_most_half_a_point_over_three_draws(tmp_path):
    rows = judged("resnet8", tmp_path)
    assert [row["target"] for row in rows] == ["host", "host-openvino"]
    for row in rows:
        assert row["float"] == pytest.approx(0.881, abs=0.0015)  # the published upstream value
        assert row["int8_mean_drop"] <= 0.005
        assert min(row["mcnemar_p"]) >= 0.05
    assert rows[0]["size_bytes"] <= UPSTREAM_INT8_BYTES


def test_autoencoder_keeps_its_auc_at_int8(tmp_path):
    for row in judged("autoencoder", tmp_path):
        assert row["float"] == pytest.approx(0.880, abs=0.001)  # the recorded upstream value
        assert row["drop"] <= 0.005


def test_wake_word_makes_no_more_errors_at_int8(tmp_path):
    for row in judged("wake_word", tmp_path):
        assert row["quantized"] >= row["float"]


def test_lstm_is_smaller_and_within_a_point(tmp_path):
    tflite, openvino = judged("lstm", tmp_path)
    assert tflite["precision"] == "int8-dynamic"
    assert tflite["size_bytes"] < tflite["float_size_bytes"]
    assert openvino["precision"] == "int8"
    assert max(tflite["drop"], openvino["drop"]) <= 0.01
