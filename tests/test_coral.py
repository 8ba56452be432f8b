"""Coral: the int8 .tflite, and the command that compiles it, run where the compiler is installed.

The compiler is Google's and not here: a script in its place shows how edgekit deals with one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.errors import ConversionError, OutputError

TESTS = Path(__file__).parent
COPIES = """#!/bin/sh
cp "$4" "$3/m_edgetpu.tflite"
echo "Number of operations that will run on Edge TPU: 3"
echo "Number of operations that will run on CPU: 1"
"""
FAILS = "#!/bin/sh\necho 'Internal compiler error. Aborting!' >&2\nexit 1\n"


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _module(TESTS / "targets" / "tiny_models.py")


@pytest.fixture
def convert(tmp_path):
    """Converts a small dense layer for Coral into out/m.tflite."""
    model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=8, inputs=16)
    x = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_calib=x)

    def run(**options):
        return edgekit.convert(
            model,
            target="coral-edgetpu",
            data=str(tmp_path / "data.npz"),
            output=tmp_path / "out" / "m.tflite",
            **options,
        )

    return run


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Puts a script in the compiler's place."""

    def put(text):
        place = tmp_path / "bin" / "edgetpu_compiler"
        place.parent.mkdir()
        place.write_text(text)
        place.chmod(0o755)
        monkeypatch.setenv("PATH", str(place.parent), prepend=":")

    return put


def test_without_the_compiler_the_exact_command_is_said(convert, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    written = convert()
    out = tmp_path / "out"
    words = ["edgetpu_compiler", "-s", "-o", str(out), str(out / "m.tflite")]
    assert written.steps[-1].detail == {"command": words, "ran": False}
    assert f"before deploying, run {' '.join(words)}" in written.warnings[-1]
    assert {spec.dtype for spec in (*written.inputs, *written.outputs)} == {"int8"}
    assert written.parity is not None


def test_with_the_compiler_its_file_stands_beside_the_tflite(convert, compiler, tmp_path):
    compiler(COPIES)
    written = convert()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "m.tflite", "m.tflite.edgekit.json", "m_edgetpu.tflite",
    ]  # fmt: skip
    assert [entry.path for entry in written.artifact.files] == ["m.tflite", "m_edgetpu.tflite"]
    assert written.steps[-1].detail["operators"] == {"Edge TPU": 3, "CPU": 1}
    assert "was not executed here" in written.warnings[-1]


def test_a_compiler_that_fails_leaves_nothing(convert, compiler, tmp_path):
    compiler(FAILS)
    with pytest.raises(ConversionError, match="it said: Internal compiler error"):
        convert()
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_where_the_compiled_one_goes_is_not_replaced(convert, compiler, tmp_path):
    compiler(COPIES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m_edgetpu.tflite").write_text("mine")
    with pytest.raises(OutputError, match=r"m_edgetpu\.tflite exists"):
        convert()


def test_installing_the_compiler_makes_the_request_a_new_one(convert, compiler, tmp_path):
    convert()
    compiler(COPIES)
    assert convert().steps[-1].detail["ran"] is True
    assert (tmp_path / "out" / "m_edgetpu.tflite").is_file()


def test_a_dynamic_batch_is_refused(convert):
    with pytest.raises(ConversionError, match="static shapes only"):
        convert(batch="dynamic")
