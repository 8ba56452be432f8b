"""Our builder with a real parser and builder: what the linter passes is built, the rest is refused.

TensorRT-RTX builds engines on machines without a GPU, and its bindings have TensorRT's names. Two
wheels, without what they would bring, make this test run (1.7.1 takes unsigned Q/DQ, which the
linter refuses: TensorRT's documentation lists signed types alone):

    python -m pip install --no-deps --target DIRECTORY \
        onnxruntime-ep-nv-tensorrt-rtx-cu13 tensorrt-rtx-cu13-bindings
    EDGEKIT_TENSORRT_RTX=DIRECTORY pytest tests/integration/test_tensorrt_rtx.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import registry

onnx = pytest.importorskip("onnx")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)
quantization = pytest.importorskip("onnxruntime.quantization")

from onnx import helper  # noqa: E402

from edgekit.converters import tensorrt_lint  # noqa: E402

WHEELS = os.environ.get("EDGEKIT_TENSORRT_RTX")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WHEELS is None, reason="EDGEKIT_TENSORRT_RTX is not set"),
]
BUILD = """
import importlib, json, sys
sys.modules["tensorrt"] = importlib.import_module("tensorrt_rtx_bindings")
from edgekit.targets.runner import tensorrt_build, tensorrt_log
from edgekit.targets.runner.protocol import RunnerError
model, wanted, cache = sys.argv[1:]
try:
    built = tensorrt_build.build(model, json.loads(wanted), tensorrt_log.Log(), cache)
    print(json.dumps({"bytes": built.content.nbytes, "timing_cache": built.timing_cache}))
except RunnerError as error:
    print(json.dumps({"refused": error.message}))
"""
WANTED = {
    "profile": {}, "sparse": False, "workspace_bytes": None, "dla_core": None,
    "hardware_compatible": False, "version_compatible": False,
}  # fmt: skip


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs = _module(Path(__file__).parents[1] / "converters" / "onnx_graphs.py")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A folder with the libraries under the names that the bindings look for."""
    folder = tmp_path_factory.mktemp("libraries")
    for path in Path(WHEELS, "onnxruntime_ep_nv_tensorrt_rtx").glob("lib*.so.*"):
        stem, _, version = path.name.partition(".so.")
        (folder / f"{stem}.so.{version.partition('.')[0]}").symlink_to(path)
    return folder


@pytest.fixture
def build(libraries, tmp_path):
    """Builds an .onnx in a process of its own; returns what came of it."""

    def run(model, **wanted):
        words = [str(model), json.dumps({**WANTED, **wanted}), str(tmp_path / "timing.cache")]
        done = subprocess.run(
            [sys.executable, "-c", BUILD, *words],
            env={**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(WHEELS)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def converted(folder, precision, **options):
    hub = graphs.cnn(folder / "cnn.onnx")
    np.savez(folder / "data.npz", x_calib=graphs.samples("image", 24, 4, 12, 12)["image"])
    out = folder / "m.onnx"
    edgekit.convert(
        hub, target="nvidia-t4", precision=precision, data=str(folder / "data.npz"), output=out,
        **options,
    )  # fmt: skip
    return out


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_what_convert_writes_is_parsed_and_built(precision, build, tmp_path):
    found = build(converted(tmp_path, precision))
    assert found.get("refused") is None
    assert found["bytes"] > 1000
    assert Path(found["timing_cache"]).stat().st_size > 0


def test_a_range_of_batches_is_built(build, tmp_path):
    model = converted(tmp_path, "int8", batch="1..4")
    shapes = {"image": [[size, 4, 12, 12] for size in (1, 4, 4)]}
    assert "no optimization profile has been defined" in build(model)["refused"]
    found = build(model, profile=shapes, sparse=True, workspace_bytes=1 << 28)
    assert found.get("refused") is None


def defaults(folder):
    """int8 as ONNX Runtime makes it by default."""

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rows = iter(graphs.samples("image", 8, 4, 12, 12)["image"])

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {"image": row[None]}

    path = folder / "m.onnx"
    quantization.quantize_static(str(graphs.cnn(folder / "cnn.onnx")), str(path), Reader())
    return path


def one(folder, node, kind=onnx.TensorProto.FLOAT, values=None, shape=(1, 4, 4), out=None):
    graph = helper.make_graph(
        node,
        "tiny",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", kind, list(shape if out is None else out))],
        [onnx.numpy_helper.from_array(array, name) for name, array in (values or {}).items()],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


def pair(folder, zero_point, kind):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize"),
    ]
    return one(
        folder, nodes, values={"s": np.float32(0.1).reshape(()), "z": np.array(zero_point, kind)}
    )


BAD = {
    "ONNX Runtime's int8": (defaults, "b1_DequantizeLinear"),
    "a zero point": (lambda folder: pair(folder, 3, np.int8), "zero point"),
    "Erfc": (lambda folder: one(folder, [helper.make_node("Erfc", ["x"], ["y"])]), "Erfc"),
    "Det": (
        lambda folder: one(folder, [helper.make_node("Det", ["x"], ["y"])], out=(1,)),
        "Det",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_the_linter_refuses_the_parser_refuses_too(name, build, tmp_path):
    make, told = BAD[name]
    model = make(tmp_path)
    assert tensorrt_lint.lint(onnx.load(model), batch_varies=False)
    assert told in build(model).get("refused", "it was built")
