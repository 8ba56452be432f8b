"""Multiply-accumulates against formulas, published figures, and the same model as TFLite."""

from __future__ import annotations

import msgspec
import pytest

from edgekit import operator_macs, tflite_file
from edgekit.layer_macs import layer_macs
from edgekit.types import ModelInfo

TINY_CNN = 8 * 8 * 3 * 3 * 1 * 6 + 4 * 4 * 6 * 10
SEQUENCE = (
    10 * 3 * 6 * 8  # conv1d: time × kernel × in × out
    + 2 * 10 * 4 * (8 * 5 + 5 * 5)  # two LSTMs: time × gates × (input + recurrent)
    + 10 * 3 * (10 * 4 + 4 * 4)  # GRU
    + 4 * 3
)
TRANSFORMER = (
    4 * 12 * 8 * 8  # query, key, value and output projections: 2 heads × 4
    + 2 * 12 * 12 * 2 * 4  # scores and their sums
    + 12 * 8 * 8
    + 8 * 4
)
RESIDUAL = (
    8 * 8 * 3 * 3 * 4
    + 8 * 8 * 4 * 4
    + 4 * 4 * (3 * 3 * 4 + 4 * 6)
    + 4 * 4 * 3 * 3 * 6 * 3  # transposed: each input position meets the whole kernel
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny_cnn", TINY_CNN),
        ("sequence", SEQUENCE),
        ("transformer", TRANSFORMER),
        ("residual", RESIDUAL),
    ],
)
def test_keras_and_tflite_count_the_same_as_the_formula(
    models, keras_source, tmp_path, name, expected
):
    path = models / "keras3" / f"{name}.keras"
    info = msgspec.convert(keras_source.call("open", path=str(path)), type=ModelInfo)
    assert (info.macs, info.uncounted) == (expected, ())
    keras_source.call("export_tflite", path=str(tmp_path / "m.tflite"), batch=1)
    counts = operator_macs.graph_macs(tflite_file.read(tmp_path / "m.tflite"))
    assert sum(count or 0 for count in counts) == expected
    assert None not in counts


def test_a_kind_without_a_rule_is_named_and_not_guessed(models, keras_source):
    info = keras_source.call("open", path=str(models / "refused" / "inverse.keras"))
    assert info["uncounted"] == ["Inv"]
    assert info["macs"] == 4 * 4 * 4  # the Dense before it


@pytest.mark.slow
def test_mobilenet_v2_has_its_published_300_million(tmp_path, models, keras_source):
    # Sandler et al. 2018, table 4: 300M multiply-adds at 224 × 224, width 1.0.
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    code = "import keras, sys; keras.applications.MobileNetV2(weights=None).save(sys.argv[1])"
    path = tmp_path / "mobilenet.keras"
    subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True)
    info = keras_source.call("open", path=str(path))
    assert info["macs"] == 300_774_272
    assert info["parameters"] == 3_538_984  # as keras.io/api/applications says: 3.5M


def test_a_layer_of_unknown_length_has_no_count():
    class Conv1D:
        weights = ()
        kernel = type("Kernel", (), {"shape": (3, 4, 8)})()

    assert layer_macs(Conv1D(), [(10, 4)], [(8, 8)]) == 8 * 3 * 4 * 8
    assert layer_macs(Conv1D(), [(None, 4)], [(None, 8)]) is None


def test_mlperf_tiny_models_have_their_published_counts(edgekit_data):
    # ResNet-8: 12.5 MMACs, autoencoder: 0.26 M (Banbury et al. 2021, MLPerf Tiny).
    for name, expected in (
        ("mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite", 12_501_632),
        ("mlperf_tiny_ad_autoencoder/ad01_int8.tflite", 264_192),
        ("mnist_lstm_tflite/trained_lstm.tflite", 28 * 4 * 20 * (28 + 20) + 28 * 20 * 10),
    ):
        counts = operator_macs.graph_macs(tflite_file.read(edgekit_data / name))
        assert sum(count or 0 for count in counts) == expected
