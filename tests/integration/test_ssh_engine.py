"""An engine that a device builds and runs, over a real sshd; its GPU and TensorRT are stand-ins."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import registry
from edgekit.errors import DeviceError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)

TESTS = Path(__file__).parents[1]


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


servers = _module(TESTS / "ssh_servers.py")
stand_ins = _module(TESTS / "targets" / "gpu_stand_ins.py")
tiny = _module(TESTS / "targets" / "tiny_models.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
    pytest.mark.skipif(servers.why_not() is not None, reason=str(servers.why_not())),
]


@pytest.fixture
def place(tmp_path):
    """A folder with the dense layer as .onnx, and data for it."""
    tiny.dense_onnx(tmp_path / "dense.onnx")
    x = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_calib=x[:4], x_test=x, y_test=tiny.dense(x).argmax(1))
    return tmp_path


def convert(place, server):
    return edgekit.convert(
        place / "dense.onnx", target="jetson-orin-nano", precision="fp32",
        data=str(place / "data.npz"), device=server.url, output=place / "m.onnx",
    )  # fmt: skip


def test_a_device_builds_its_engine_and_runs_it(place, monkeypatch, tmp_path_factory):
    gpu = tmp_path_factory.mktemp("gpu")
    variables = stand_ins.install(None, gpu, "10.3.0")
    with servers.running(tmp_path_factory.mktemp("ssh") / "pi", variables) as server:
        monkeypatch.setenv("PATH", server.path())
        made = convert(place, server)
        assert made.engine.device == server.url
        assert made.engine.max_rel < 1e-5
        assert Path(made.engine.timing_cache).is_file()
        result = edgekit.bench(
            place / "m.onnx", devices=server.url, data=str(place / "data.npz"), budget_s=0.1
        ).results[0]
        assert result.gpu.compute_median_s == pytest.approx(500e-6)
        assert result.accuracy.value == 1.0
        assert servers.wait_for(lambda: server.sessions() == [])


def test_a_device_without_tensorrt_says_so_before_anything_is_converted(
    place, monkeypatch, tmp_path_factory
):
    with servers.running(tmp_path_factory.mktemp("ssh") / "pi") as server:
        monkeypatch.setenv("PATH", server.path())
        with pytest.raises(DeviceError, match="lacks tensorrt in ") as caught:
            convert(place, server)
    assert "sudo apt install python3-libnvinfer" in caught.value.fix
    assert not (place / "m.onnx").exists()
