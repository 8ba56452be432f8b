"""What `convert` says of a model that was trained for another int8 than the target's."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit import chunks, hardware, loading, manifest, trained_ranges
from edgekit.manifest_types import Manifest, Quantization
from edgekit.types import FileRef, ModelFile


def recorded(scheme: str, *per_tensor: str) -> Quantization:
    return Quantization(
        scheme=scheme, mode="qat", precision="int8", per_tensor=per_tensor, ranges={},
        float_layers={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "scheme"),
    [("host", "litert"), ("host-openvino", "openvino"), ("nvidia-t4", "tensorrt")],
)
def test_a_target_has_the_int8_of_its_runtime(target, scheme):
    profile = hardware.load(target)
    assert hardware.scheme(profile) == scheme
    assert not trained_ranges.other_int8(recorded(scheme), scheme, ())


def test_int8_of_another_runtime_is_warned_of():
    (said,) = trained_ranges.other_int8(recorded("litert"), "tensorrt", ())
    assert "trained for int8 as litert has it, and this target's is tensorrt" in said


def test_other_scales_of_weights_are_warned_of():
    (said,) = trained_ranges.other_int8(recorded("litert"), "litert", ("FULLY_CONNECTED",))
    assert "(FULLY_CONNECTED)" in said


@pytest.fixture
def compressed(tmp_path):
    """A file of a recipe that trained int8, beside its manifest, as `loading.identify` finds it."""
    path = tmp_path / "m.keras"
    path.write_bytes(b"as it was written")
    written = Manifest(
        versions={}, command=(), request_sha256="r", seed=0, model_name="m", recipe="qat-int8",
        artifact=manifest.artifact_info(
            (path,), format_name="keras", precision=None, gzip_bytes=1
        ),
        source=FileRef("source.keras", "s", 1), quantization=recorded("litert"),
    )  # fmt: skip
    manifest.path_for(path).write_bytes(manifest.encode(written))
    return ModelFile(str(path), "keras", "keras", "s", 17)


def test_ranges_are_taken_for_the_file_and_the_precision_that_they_were_trained_for(compressed):
    assert trained_ranges.recorded(compressed, "int8") == recorded("litert")
    assert trained_ranges.recorded(compressed, "int16x8") is None
    assert not trained_ranges.left_out(compressed, "int8")


def test_ranges_of_a_file_that_changed_are_left_out_aloud(compressed):
    Path(compressed.path).write_bytes(b"as somebody left it")
    assert trained_ranges.recorded(compressed, "int8") is None
    (said,) = trained_ranges.left_out(compressed, "int8")
    assert "the ranges that the recipe qat-int8 left are not used" in said
    assert "m.keras was changed since" in said
    assert not trained_ranges.left_out(compressed, "fp32")


@pytest.mark.slow
def test_what_a_rescaling_multiplies_has_its_range_without_the_offset(tmp_path):
    demo = str(resources.files("edgekit") / "demo_digits.keras")  # x * 0.125 - 1
    pixels = np.random.default_rng(0).uniform(0, 16, (4, 8, 8, 1)).astype(np.float32)
    chunks.write(tmp_path / "samples", [{"image": pixels}])
    trained = msgspec.structs.replace(recorded("litert"), ranges={"rescaling": (-0.75, 0.5)})
    with loading.opened(loading.identify(demo)) as (worker, _):
        whole, product = trained_ranges.located(worker, trained, tmp_path / "samples", 1)
    assert (whole["range"], product["range"]) == ([-0.75, 0.5], [0.25, 1.5])
    scaled = pixels.reshape(4, -1) / 8
    lows, highs = scaled.min(axis=1), scaled.max(axis=1)
    ends = np.array([lows.min(), highs.max(), lows.mean(), highs.mean()])
    assert product["extremes"] == pytest.approx(ends, abs=1e-6)
    assert whole["extremes"] == pytest.approx(ends - 1, abs=1e-6)
