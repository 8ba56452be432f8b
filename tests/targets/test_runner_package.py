"""The runner as a package that travels: one file, old Pythons, nothing of edgekit."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.targets import local, packing

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).with_name("tiny_models.py")
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

RUNNER = Path(local.__file__).resolve().parent / "runner"
SOURCES = sorted(RUNNER.glob("*.py"))
RUNTIMES = {
    "litert": {"ai_edge_litert", "tflite_runtime"},
    "openvino": {"openvino"},
    "onnxruntime": {"onnxruntime"},
    "tensorrt": {"tensorrt"},
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_9(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_the_standard_library_numpy_and_its_own_runtime_are_imported(path):
    allowed = {*sys.stdlib_module_names, "numpy", *RUNTIMES.get(path.stem.partition("_")[0], ())}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module.partition(".")[0] in allowed


def test_annotations_that_python_3_9_cannot_evaluate_are_never_evaluated():
    for path in SOURCES:
        body = ast.parse(path.read_text()).body
        has_code = any(not isinstance(node, ast.Expr) for node in body)
        assert not has_code or "from __future__ import annotations" in path.read_text()


def test_it_runs_from_a_single_file(tmp_path):
    (tmp_path / "runner.pyz").write_bytes(packing.runner())
    x = np.array([[1, 2, 3, 4]], np.float32)
    chunks.write(tmp_path / "samples", [{"in": x}])
    job = {
        "kind": "predict", "runtime": "litert", "threads": 1, "token": "t0k",
        "artifact": str(tiny.dense_tflite(tmp_path / "m.tflite")),
        "samples": str(tmp_path / "samples"), "results": str(tmp_path / "results"),
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-I", str(tmp_path / "runner.pyz")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        lines = list(process.stdout)  # until it ends by itself
    assert json.loads(lines[-1].removeprefix(b"@edgekit:t0k ")) == {"done": True}
    found = chunks.read_all(tmp_path / "results")["out"]
    np.testing.assert_allclose(found, tiny.dense(x), rtol=1e-6)


def test_the_packed_runner_holds_the_sources_and_is_the_same_each_time():
    first = packing.runner()
    assert packing.runner() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    for path in SOURCES:
        assert held[f"edgekit_runner/{path.name}"] == path.read_bytes()
    assert packing.file_name(first) != packing.file_name(first + b"another version")
