"""Standalone C of real models: LiteRT's reference kernels bit for bit, on every sample there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import manifest

TESTS = Path(__file__).parents[1]


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


c_compiling = _module(TESTS / "converters" / "c_compiling.py")
int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")

pytestmark = [pytest.mark.slow, c_compiling.needs_gcc]


def resnet8(data):
    with np.load(data / "mlperf_tiny_ic_resnet8" / "cifar10_lossless_subset.npz") as stored:
        return np.concatenate([stored["x_test"], stored["x_perf"]]).astype(np.float32)


def wake_word(data):
    with np.load(data / "mlperf_tiny_sww_conv1d" / "calibration_samples.npz") as stored:
        return stored["specs"].astype(np.float32)


def autoencoder(data):
    """Every window of five frames of every clip."""
    with np.load(data / "mlperf_tiny_ad_autoencoder" / "toycar_ad01.npz") as stored:
        clips = np.concatenate([stored["x_test"], stored["x_calib_normal"]])
    windows = np.lib.stride_tricks.sliding_window_view(clips, 5, axis=1)
    return windows.transpose(0, 1, 3, 2).reshape(-1, 640)


def random_images(data):
    del data
    return np.random.default_rng(0).uniform(-1, 1, (30, 96, 96, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("model", "samples", "at_least"),
    [
        ("mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite", resnet8, 1_200),
        ("mlperf_tiny_sww_conv1d/str_ww_ref_model.tflite", wake_word, 45),
        ("mlperf_tiny_ad_autoencoder/ad01_int8.tflite", autoencoder, 60_000),
        ("tflm_arena/mobilenetv2_035_96_int8.tflite", random_images, 30),
    ],
)
def test_c_gives_the_bits_of_the_reference_kernels(
    edgekit_data, tmp_path, model, samples, at_least
):
    path = edgekit_data / model
    edgekit.convert(path, emit="c", output=tmp_path / "m.h")
    library = c_compiling.compiled(tmp_path / "m.c", "-O2")
    run = int8_graphs.reference(path.read_bytes())
    written = manifest.read(tmp_path / "m.h")
    (entry,), (result,) = written.inputs, written.outputs
    size = int(np.prod(result.shape))
    given = samples(edgekit_data)
    assert len(given) >= at_least
    scaled = np.rint(given / np.float32(entry.scale)) + entry.zero_point
    quantized = np.clip(scaled, -128, 127).astype(np.int8)
    for sample in quantized:
        (found,) = c_compiling.invoke(library, "m", [sample], [size])
        (wanted,) = run(sample.reshape(entry.shape))
        assert found.tobytes() == wanted.tobytes()
