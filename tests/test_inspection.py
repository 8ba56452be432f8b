"""inspect: the whole way through the child process, on every format and on real models."""

from __future__ import annotations

import pytest

from edgekit import inspection
from edgekit.errors import ModelError, ProfileError


def test_inspect_reads_a_keras_model(tiny_cnn_keras):
    info = inspection.inspect(tiny_cnn_keras)
    assert (info.format, info.generation, info.precision) == ("keras", "keras3", "fp32")
    assert [(spec.name, spec.shape) for spec in info.inputs] == [("image", (None, 8, 8, 1))]
    assert [layer.name for layer in info.layers] == [
        "conv", "norm", "relu", "pool", "flat", "classes",
    ]  # fmt: skip
    assert info.parameters == 3 * 3 * 6 + 4 * 6 + 4 * 4 * 6 * 10 + 10
    assert info.size_bytes == tiny_cnn_keras.stat().st_size


def test_an_unknown_target_is_refused_before_the_model_is_looked_at(tmp_path):
    with pytest.raises(ProfileError):
        inspection.inspect(tmp_path / "nothing.keras", targets=("no-such-board",))


def test_a_missing_model_is_refused_without_a_child_process(tmp_path, monkeypatch):
    monkeypatch.setattr("edgekit.loading.Worker", None)
    with pytest.raises(ModelError, match="there is no"):
        inspection.inspect(tmp_path / "nothing.keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("mlperf_tiny_ic_resnet8/pretrainedResnet.h5", 78_666, 12_501_632),
        ("mlperf_tiny_ad_autoencoder/ad01.h5", 269_992, 264_192),
        ("mlperf_tiny_sww_conv1d/str_ww_ref_model.h5", 47_707, 826_368),
    ],
)
def test_published_keras_2_models_are_replayed(edgekit_data, name, parameters, macs):
    # Parameters: the numbers stored in the file, counted with h5py.
    info = inspection.inspect(edgekit_data / name)
    assert info.generation == "keras2"
    assert (info.parameters, info.macs, info.uncounted) == (parameters, macs, ())
    difference = float(info.notes[0].split("difference ")[1].split()[0])
    assert difference <= 2e-6
