"""Building and measuring TensorRT engines: the control flow, on stand-ins for GPU and TensorRT.

Nothing here says how TensorRT behaves: the stand-ins (`targets/fake_tensorrt.py`, `stub_cuda.c`)
have the names that were recorded of it, and compute with ONNX Runtime. The real builder is in
`integration/test_tensorrt_rtx.py`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

import edgekit
from edgekit import cli, engine_plan, manifest, registry
from edgekit.errors import ConversionError, DeviceError, ParityError, UsageError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

HERE = Path(__file__).parent
X = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stand_ins = _module(HERE / "targets" / "gpu_stand_ins.py")
tiny = _module(HERE / "targets" / "tiny_models.py")


@pytest.fixture
def place(tmp_path):
    """A folder with the dense layer as .onnx, and data for it."""
    tiny.dense_onnx(tmp_path / "dense.onnx", None)
    np.savez(tmp_path / "data.npz", x_calib=X, x_test=X, y_test=tiny.dense(X).argmax(1))
    return tmp_path


@pytest.fixture
def jetson(monkeypatch, tmp_path_factory):
    """This machine with an Orin and TensorRT 10.3, as far as a runner can see."""
    return _with_gpu(monkeypatch, tmp_path_factory, "10.3.0")


def _with_gpu(patch, factory, version, *defines):
    directory = factory.mktemp("gpu")
    stand_ins.install(patch, directory, version, *defines)
    return directory


def convert(place, **options):
    given = {
        "target": "jetson-orin-nano", "precision": "fp32", "data": str(place / "data.npz"),
        "device": "local", "output": place / "m.onnx",
    }  # fmt: skip
    return edgekit.convert(place / "dense.onnx", **{**given, **options})


def profile(place, text, extends="jetson-orin-nano"):
    path = place / "mine.toml"
    path.write_text(f'name = "mine"\nextends = "{extends}"\n[tensorrt]\n{text}\n')
    return str(path)


def settings(made):
    """What the builder was told, as its stand-in repeats it."""
    return json.loads(made.engine.layers[0].tactic)


# ------------------------------------------------------------------------------------- building


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0.106"])
def test_an_engine_is_built_checked_and_written_beside_its_onnx(
    version, place, monkeypatch, tmp_path_factory
):
    _with_gpu(monkeypatch, tmp_path_factory, version)
    made = convert(place)
    assert [entry.path for entry in made.artifact.files] == ["m.onnx", "m.engine"]
    assert (place / "m.engine").is_file()
    built = made.engine
    assert (built.tensorrt, built.compute_capability, built.gpu) == (version, "8.7", "Stub Orin")
    assert (built.driver, built.cuda, built.device) == ("580.95.05", "12.6", "local")
    assert (built.precisions, len(built.layers)) == ({"fp32": 1}, 1)
    assert built.max_rel < 1e-5
    assert made.steps[-1].detail["ran"]
    told = [line for line in made.warnings if "profile is for TensorRT 10" in line]
    assert len(told) == (version[:2] == "11")
    assert manifest.read(place / "m.onnx").engine == built


def test_the_same_request_builds_nothing_again_and_another_device_does(place, jetson):
    first = convert(place)
    said = []
    again = convert(place, on_progress=said.append)
    assert again.engine == first.engine
    assert said == [f"{place / 'm.onnx'} is up to date: nothing was run"]
    without = convert(place, device="none", force=True)
    assert without.engine is None
    assert without.request_sha256 != first.request_sha256


def test_what_a_profile_asks_for_reaches_the_builder_and_the_manifest(place, jetson):
    text = "version_compatible = true\nworkspace_bytes = 1048576\nhardware_compatible = true"
    made = convert(place, target=profile(place, text))
    asked = settings(made)
    assert asked["flags"] == ["VERSION_COMPATIBLE"]
    assert asked["pools"] == {"WORKSPACE": 1048576}
    assert asked["level"] == "AMPERE_PLUS"
    assert (made.engine.version_compatible, made.engine.hardware_compatible) == (True, True)
    words = made.steps[-1].detail["command"]
    assert "--memPoolSize=workspace:1" in words
    assert {"--versionCompatible", "--hardwareCompatibilityLevel=ampere+"} <= set(words)


def test_a_dla_takes_no_batch_that_varies(place):
    with pytest.raises(ConversionError, match="a DLA takes no batch that varies"):
        convert(place, target=profile(place, "dla_core = 0"), batch="1..4")


def test_sparse_weights_are_asked_for_where_the_model_has_them(place, jetson, monkeypatch):
    weights = tiny.WEIGHTS.copy()
    weights[::2] = 0  # of the four values that an output sums, two
    monkeypatch.setattr(tiny, "WEIGHTS", weights)
    tiny.dense_onnx(place / "dense.onnx", None)
    made = convert(place)
    assert settings(made)["flags"] == ["SPARSE_WEIGHTS"]
    assert len(made.engine.sparse_layers) == 1
    assert "--sparsity=enable" in made.steps[-1].detail["command"]


# -------------------------------------------------------------------------------------- refused


def test_a_machine_without_tensorrt_says_how_to_get_it(place):
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    with pytest.raises(edgekit.errors.MissingExtra, match="needs tensorrt") as caught:
        convert(place)
    assert "pip install tensorrt" in caught.value.fix


@pytest.mark.slow
def test_a_gpu_that_was_not_asked_for_is_tried_and_its_failure_told(place, jetson, monkeypatch):
    monkeypatch.setattr(engine_plan, "_GPU_NODES", (str(place),))
    made = convert(place, target="nvidia-t4", device=None)
    assert made.engine is None
    assert "no engine was built" in made.warnings[-1]
    assert "the target has compute capability 7.5" in made.warnings[-1]
    built = convert(place, device=None, force=True)
    assert built.engine.device == "local"


def test_a_device_is_for_engines_alone(place):
    with pytest.raises(UsageError, match="only TensorRT engines are built on a device"):
        edgekit.convert(
            place / "dense.onnx", target="host-onnxruntime", device="local", output=place / "o.onnx"
        )


def test_an_engine_that_computes_something_else_is_refused(place, jetson, monkeypatch):
    broken = (jetson / "tensorrt.py").read_text().replace("[...] = value", "[...] = value + 9")
    (jetson / "tensorrt.py").write_text(broken)
    with pytest.raises(ParityError):
        convert(place)
    assert not (place / "m.engine").exists()


# ------------------------------------------------------------------------------------ measuring


@pytest.mark.slow
def test_bench_runs_the_engine_and_compare_the_onnx(place, jetson, capsys):
    made = convert(place, target=profile(place, "cuda_graph = true"), batch="2..4")
    assert made.engine.options == {"cuda_graph": "on"}
    out = place / "r.result.json"
    words = ["bench", str(place / "m.onnx"), "--budget", "0.5", "-o", str(out)]
    assert cli.main([*words, "--data", str(place / "data.npz")]) == 0
    said = capsys.readouterr().out
    assert "Stub Orin" in said
    assert "500 µs" in said
    result = json.loads(out.read_text())["results"][0]
    gpu = result["gpu"]
    # The stand-in's clock: a microsecond for each byte that is copied; two samples is the smallest.
    assert gpu["h2d_median_s"] == pytest.approx(2 * 4 * 4 * 1e-6)
    assert gpu["compute_median_s"] == pytest.approx(500e-6)
    assert (gpu["power_w"], gpu["cuda_graph"]) == (15.25, True)
    assert gpu["throttle_reasons"] == ["hw_thermal_slowdown", "sw_power_cap"]
    assert result["throughput_per_s"] == pytest.approx(2 / result["latency"]["median_s"])
    assert result["accuracy"]["value"] == 1.0
    assert result["delegate"]["name"] == "TensorRT"
    assert result["environment"]["versions"]["tensorrt"] == "10.3.0"
    assert any("held the GPU's clock down" in line for line in result["warnings"])
    assert not any("say nothing about" in line for line in result["warnings"])
    found = edgekit.compare(place / "dense.onnx", place / "m.onnx", data=str(place / "data.npz"))
    assert found.artifact.runtime == "onnxruntime"


def test_an_engine_of_another_device_is_refused(place, jetson):
    made = convert(place)
    other = msgspec.structs.replace(made.engine, compute_capability="8.9", gpu="NVIDIA L4")
    written = msgspec.structs.replace(made, engine=other)
    manifest.path_for(place / "m.onnx").write_bytes(manifest.encode(written))
    with pytest.raises(DeviceError, match=r"8\.9 \(NVIDIA L4\), and this device has") as caught:
        edgekit.bench(place / "m.onnx")
    assert "edgekit convert MODEL --target PROFILE --device URL" in caught.value.fix


def test_what_convert_prints_names_the_engine_and_no_command(place, jetson, capsys):
    words = [str(place / "dense.onnx"), "--target", "jetson-orin-nano", "--precision", "fp32"]
    options = ["--device", "local", "--data", str(place / "data.npz"), "-o", str(place / "m.onnx")]
    assert cli.main(["convert", *words, *options]) == 0
    said = capsys.readouterr().out
    assert "m.engine, built on local" in said
    assert "1 fp32" in said
    assert "trtexec" not in said
