"""An arm64 userland under qemu gives what this machine gives. Built once, then from the cache."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import chunks, registry
from edgekit.errors import DeviceError
from edgekit.targets import qemu_user

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

URL = "qemu://aarch64"
RESNET8 = "mlperf_tiny_ic_resnet8"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def arm64():
    """The emulated device; where the userland cannot be made, its tests have nothing to run on."""
    try:
        registry.target("qemu").set_up(URL, "litert", lambda _text: None, look_only=False)
    except DeviceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no arm64 userland: {error}")
    return registry.target("qemu").open(URL)


def predicted(device, artifact: Path, x: np.ndarray, place: Path) -> np.ndarray:
    """What a device answers to samples of the artifact's one input."""
    frames: list[dict] = []
    job = {"runtime": "litert", "threads": 1, "artifact": str(artifact)}
    device.run({"kind": "describe", **job}, frames.append)
    (name,) = (tensor["name"] for tensor in frames[1]["inputs"])
    samples, results = place / "samples", place / "results"
    chunks.write(samples, [{name: x}])
    paths = {"samples": str(samples), "results": str(results)}
    device.run({"kind": "predict", **job, **paths}, lambda _frame: None)
    (found,) = chunks.read_all(results).values()
    return found


def test_the_emulated_machine_is_told_and_nothing_of_this_one(arm64):
    found = arm64.probe()
    assert found["arch"] == "aarch64"
    assert found["cpu"] == "Cortex-A53 emulated by qemu 10.0"
    assert found["cores"] is None
    assert found["load_1min"] is None


def test_a_float_layer_gives_what_numpy_computes(arm64, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite", batch=None)
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    found = predicted(arm64, artifact, x, tmp_path)
    np.testing.assert_allclose(found, tiny.dense(x), atol=1e-6)


def test_an_int8_layer_gives_back_exactly_what_it_got(arm64, tmp_path):
    artifact = tiny.identity_int8_tflite(tmp_path / "m.tflite", 4, 0.5, 3)
    x = np.arange(-128, 128, dtype=np.float32).reshape(64, 4)
    found = predicted(arm64, artifact, (x - 3) * np.float32(0.5), tmp_path)
    np.testing.assert_array_equal(found, (x - 3) * np.float32(0.5))


def test_a_truncated_model_is_one_line_that_names_it(arm64, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    artifact.write_bytes(artifact.read_bytes()[:-200])
    with pytest.raises(edgekit.errors.UserError, match=r"m\.tflite") as caught:
        predicted(arm64, artifact, np.zeros((1, 4), np.float32), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "samples", "tolerance"),
    [("pretrainedResnet_quant", 200, 0.0), ("pretrainedResnet", 40, 1e-6)],
)
def test_resnet8_gives_the_outputs_of_this_machine(
    arm64, edgekit_data, tmp_path, name, samples, tolerance
):
    with np.load(edgekit_data / RESNET8 / "cifar10_lossless_subset.npz") as stored:
        x = stored["x_test"][:samples].astype(np.float32)
    artifact = edgekit_data / RESNET8 / f"{name}.tflite"
    here = predicted(registry.target("local").open("local"), artifact, x, tmp_path / "here")
    there = predicted(arm64, artifact, x, tmp_path / "there")
    assert len(np.unique(here.argmax(axis=1))) == 10, "the model answers all classes"
    assert np.abs(here - there).max() <= tolerance


def test_artifacts_on_both_devices_have_equal_accuracies_and_no_emulated_latency(
    arm64, edgekit_data, tmp_path
):
    with np.load(edgekit_data / RESNET8 / "cifar10_lossless_subset.npz") as stored:
        parts = {f"{kind}_{role}": stored[f"{kind}_test"][where] for kind in "xy"
                 for role, where in (("test", slice(30)), ("calib", slice(30, 40)))}  # fmt: skip
    np.savez(tmp_path / "d.npz", **parts)
    names = ("pretrainedResnet_quant", "pretrainedResnet")
    report = edgekit.bench(
        [edgekit_data / RESNET8 / f"{name}.tflite" for name in names],
        devices=("local", URL),
        data=str(tmp_path / "d.npz"),
        budget_s=0.1,
    )
    here, there = report.results[:2], report.results[2:]
    assert [one.accuracy for one in there] == [one.accuracy for one in here]
    for one in there:
        assert one.accuracy.value > 0.7
        assert one.accuracy.n == 30
        assert one.device.arch == "aarch64"
        assert one.latency.median_s is None
        assert one.latency.why == qemu_user.EmulatedArm64.untimed
    assert {one.device for one in report.comparison} == {"local"}
