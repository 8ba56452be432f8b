"""What the runner does with TensorRT: the control flow, on stand-ins for GPU and TensorRT.

Nothing here says how TensorRT behaves: the stand-ins (`fake_tensorrt.py`, `stub_cuda.c`) have the
names that were recorded of it, and compute with ONNX Runtime. The real builder is in
`integration/test_tensorrt_rtx.py`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DeviceError, ModelError
from edgekit.targets import local

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

X = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
PLAIN = {
    "profile": {}, "sparse": False, "compute_capability": "8.7", "workspace_bytes": None,
    "dla_core": None, "hardware_compatible": False, "version_compatible": False,
}  # fmt: skip
HERE = {
    "os": "Linux", "compute_capability": "8.7", "gpu": "Stub Orin", "tensorrt": "10.3.0",
    "hardware_compatible": False, "version_compatible": False,
}  # fmt: skip


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stand_ins = _beside("gpu_stand_ins")
tiny = _beside("tiny_models")


@pytest.fixture
def gpu(monkeypatch, tmp_path_factory):
    """This machine with an Orin and TensorRT 10.3, as far as a runner can see: its folder."""
    directory = tmp_path_factory.mktemp("gpu")
    stand_ins.install(monkeypatch, directory, "10.3.0")
    return directory


def run(job):
    frames = {}
    local.open("local").run(
        {"runtime": "tensorrt", **job}, lambda frame: frames.update({frame["frame"]: frame})
    )
    return frames


def build(place, batch=1, **wanted):
    """Builds the dense layer; the frame, and the engine's file."""
    model = tiny.dense_onnx(place / "dense.onnx", batch)
    job = {"kind": "build", "artifact": str(model), "results": str(place / "built")}
    told = run({**job, "wanted": {**PLAIN, **wanted}})["built"]
    engine = place / "dense.engine"
    engine.write_bytes(chunks.read_all(place / "built")["engine"].tobytes())
    return told, engine


def settings(told):
    """What the builder was told, as its stand-in repeats it."""
    return json.loads(told["layers"][0]["tactic"])


def measure(engine, **more):
    job = {
        "kind": "measure", "artifact": str(engine), "threads": 1, "seed": 0, "least_runs": 5,
        "warm_up_least_s": 0.001, "warm_up_most_s": 0.01, "least_s": 0.001, "most_s": 0.01,
    }  # fmt: skip
    return run({**job, **more})


# ------------------------------------------------------------------------------------- building


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.106"])
def test_every_version_builds_strongly_typed_with_nothing_that_another_lacks(
    version, gpu, monkeypatch, tmp_path
):
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    told, _ = build(tmp_path)
    assert (told["tensorrt"], told["gpu"], told["driver"]) == (version, "Stub Orin", "580.95.05")
    assert (settings(told)["flags"], settings(told)["profiles"]) == ([], [])
    assert told["layers"][0]["precision"] == "fp32"


def test_what_is_wanted_reaches_the_builder(gpu, tmp_path):
    shapes = {"in": [[1, 4], [4, 4], [4, 4]]}
    told, _ = build(
        tmp_path, None, profile=shapes, sparse=True, workspace_bytes=1 << 20,
        hardware_compatible=True, version_compatible=True,
    )  # fmt: skip
    asked = settings(told)
    assert asked["profiles"] == [shapes]
    assert asked["flags"] == ["SPARSE_WEIGHTS", "VERSION_COMPATIBLE"]
    assert (asked["pools"], asked["level"]) == ({"WORKSPACE": 1 << 20}, "AMPERE_PLUS")


def test_layers_that_a_dla_does_not_take_are_named(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_TENSORRT_DLA_CORES", "2")
    monkeypatch.setenv("FAKE_TENSORRT_LAYERS", "conv1 dense softmax")
    told, _ = build(tmp_path, dla_core=1)
    assert (settings(told)["core"], settings(told)["flags"]) == (1, ["GPU_FALLBACK"])
    assert told["on_gpu"] == ["dense", "softmax"]


@pytest.mark.parametrize(
    ("cores", "kind", "told"),
    [
        ("0", DeviceError, "dla_core is 0, and this device has 0 DLA cores"),
        ("1", ModelError, "the DLA takes none of the 1 layers"),
    ],
)
def test_a_dla_that_is_not_there_or_takes_nothing_is_no_engine(
    cores, kind, told, gpu, monkeypatch, tmp_path
):
    monkeypatch.setenv("FAKE_TENSORRT_DLA_CORES", cores)
    with pytest.raises(kind, match=told):
        build(tmp_path, dla_core=0)


def test_what_was_timed_is_kept_for_the_next_engine_on_the_device(gpu, tmp_path):
    kept = gpu / "cache" / "edgekit" / "tensorrt" / "timing-10.3.0-sm87.cache"
    told, _ = build(tmp_path)
    assert told["timing_cache"] == str(kept)
    assert kept.read_bytes() == b"timed "
    build(tmp_path)
    assert kept.read_bytes() == b"timed timed "
    kept.write_bytes(b"foreign")
    build(tmp_path)
    assert kept.read_bytes() == b"timed "


def test_a_place_that_cannot_be_written_costs_no_engine(gpu, tmp_path):
    (gpu / "cache").write_bytes(b"a file, and no directory")
    told, engine = build(tmp_path)
    assert engine.stat().st_size > 0
    assert told["timing_cache"] is None


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("REFUSES", r"TensorRT's parser refuses Gemm dense: it is refused \(and 1 more\)"),
        ("BUILDS_NOTHING", r"no engine of this model: Could not find any implementation for node"),
    ],
)
def test_what_tensorrt_refuses_is_one_line(variable, told, gpu, monkeypatch, tmp_path):
    monkeypatch.setenv(f"FAKE_TENSORRT_{variable}", "1")
    with pytest.raises(ModelError, match=told):
        build(tmp_path)


def test_a_device_of_another_kind_than_the_target_builds_nothing(gpu, tmp_path):
    with pytest.raises(DeviceError, match=r"compute capability 7\.5, and this device 8\.7 \(Stub"):
        build(tmp_path, compute_capability="7.5")


def test_a_machine_with_tensorrt_and_without_a_gpu_says_so(gpu, tmp_path):
    (gpu / "libcuda.so.1").write_bytes(b"")
    with pytest.raises(DeviceError, match="there is no NVIDIA driver on this device"):
        build(tmp_path)


def test_a_machine_without_tensorrt_says_so(tmp_path):
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed here")
    with pytest.raises(DeviceError, match="runtime tensorrt cannot be imported on this device"):
        build(tmp_path)


# ------------------------------------------------------------------------------------- running


def predict(engine, **more):
    chunks.write(engine.parent / "x", [{"in": X}])
    results = engine.parent / "y"
    job = {"kind": "predict", "artifact": str(engine), "threads": 1, "results": str(results)}
    run({**job, "samples": str(engine.parent / "x"), **more})
    return chunks.read_all(results)["out"]


@pytest.mark.parametrize("options", [{}, {"cuda_graph": "on"}], ids=["plain", "graph"])
@pytest.mark.parametrize("smallest", [1, 2])
def test_outputs_are_numpys_with_a_graph_and_without(options, smallest, gpu, tmp_path):
    shapes = {"in": [[smallest, 4], [3, 4], [3, 4]]}
    _, engine = build(tmp_path, None, profile=shapes)
    found = predict(engine, options=options)
    np.testing.assert_allclose(found, tiny.dense(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_the_gpus_own_time_is_told_apart_from_the_copies(graph, gpu, tmp_path):
    _, engine = build(tmp_path)
    frames = measure(engine, options={"cuda_graph": "on"} if graph else {})
    told = frames["measured"]["gpu"]
    # The stand-in's clock: a microsecond for each byte that is copied, 500 for the engine.
    assert told["h2d_median_s"] == pytest.approx(4 * 4 * 1e-6)
    assert told["compute_median_s"] == pytest.approx(500e-6)
    assert told["d2h_median_s"] == pytest.approx(3 * 4 * 1e-6)
    assert told["memory_bytes"] == 4 * 4 + 3 * 4
    assert told["cuda_graph"] is graph
    assert (told["power_w"], told["clock_after_hz"]) == (15.25, 1.3e9)
    assert frames["measured"]["median_s"] > 0
    assert frames["facts"]["gpu"] == {
        "name": "Stub Orin", "compute_capability": "8.7", "driver": "580.95.05", "cuda": "12.6",
    }  # fmt: skip


def test_an_option_that_it_does_not_have_is_named(gpu, tmp_path):
    _, engine = build(tmp_path)
    with pytest.raises(ModelError, match="no runtime option NUM_STREAMS"):
        measure(engine, options={"NUM_STREAMS": "1"})


def test_a_file_that_is_no_engine_is_one_line_with_tensorrts_reason(gpu, tmp_path):
    broken = tmp_path / "m.engine"
    broken.write_bytes(b"\0" * 64)
    with pytest.raises(ModelError, match="cannot load the engine: Serialization assertion failed"):
        measure(broken)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"compute_capability": "8.9", "gpu": "NVIDIA L4"},
            r"for compute capability 8\.9 \(NVIDIA L4\), and this device has compute capability",
        ),
        ({"tensorrt": "10.1.0"}, r"for TensorRT 10\.1\.0, and this device has TensorRT 10\.3"),
        ({"tensorrt": "10.16.1", "version_compatible": True}, r"TensorRT 10\.16\.1 or later"),
        ({"arch": "riscv64"}, "for Linux on riscv64, and this device has Linux on "),
    ],
)
def test_an_engine_of_another_device_is_refused_before_tensorrt_sees_it(
    changed, told, gpu, tmp_path
):
    nothing = tmp_path / "m.engine"
    nothing.write_bytes(b"")
    import platform  # noqa: PLC0415

    built = {**HERE, "arch": platform.machine(), **changed}
    with pytest.raises(DeviceError, match=told) as caught:
        measure(nothing, built=built)
    assert "edgekit convert MODEL --target PROFILE --device URL" in caught.value.fix
