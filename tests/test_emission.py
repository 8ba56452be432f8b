"""`convert --emit`: what is written, what compiles, what it answers, and what is refused."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import conversion, manifest
from edgekit.cli import main

TESTS = Path(__file__).parent
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror")


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")
tiny = _module(TESTS / "targets" / "tiny_models.py")
needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="gcc is not installed")


@pytest.fixture
def small(tmp_path):
    """A small int8 model."""
    path = tmp_path / "small.tflite"
    path.write_bytes(int8_graphs.small_cnn())
    return path


def build(directory, *command):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@needs_gcc
def test_standalone_c_compiles_without_warnings_and_passes_its_golden_vectors(small, tmp_path):
    out = tmp_path / "out"
    written = edgekit.convert(small, emit="c", output=out / "my-model.h")
    stem = "my-model"
    listed = [f"{stem}.h", f"{stem}.c", f"{stem}_golden.h", f"{stem}_main.c"]
    assert [entry.path for entry in written.artifact.files] == listed
    assert names(out) == sorted([*listed, f"{stem}.h.edgekit.json"])
    assert (written.artifact.format, written.artifact.precision) == ("c", "int8")
    build(out, "gcc", "-std=c99", *WARNINGS, f"{stem}.c", f"{stem}_main.c", "-o", "run")
    assert "PASS" in build(out, "./run")
    build(out, "g++", "-x", "c++", "-std=c++11", *WARNINGS, "-fsyntax-only", f"{stem}.h")


@needs_gcc
def test_the_test_program_fails_where_one_golden_value_is_wrong(small, tmp_path):
    edgekit.convert(small, emit="c", output=tmp_path / "m.h")
    golden = tmp_path / "m_golden.h"
    text, at = golden.read_text(), golden.read_text().index("m_golden_output[")
    number = re.search(r"\{\s+\{\s+(-?\d+)", text[at:])
    wrong = str((int(number[1]) + 129) % 256 - 128)
    start, end = at + number.start(1), at + number.end(1)
    golden.write_text(text[:start] + wrong + text[end:])
    build(tmp_path, "gcc", "-std=c99", "m.c", "m_main.c", "-o", "run")
    done = subprocess.run(["./run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL: m, 1 of 8" in done.stdout


@needs_gcc
def test_c_array_holds_the_tflite_and_compiles_as_c_plus_plus(small, tmp_path):
    written = edgekit.convert(small, emit="c-array", output=tmp_path / "m.h")
    assert [entry.path for entry in written.artifact.files] == [
        "m.h", "m.cc", "m_golden.h", "m_resolver.h", "m_main.cc",
    ]  # fmt: skip
    source = (tmp_path / "m.cc").read_text()
    values = bytes(int(text, 16) for text in re.findall(r"0x([0-9a-f]{2})", source))
    assert values == small.read_bytes()
    assert "alignas(16)" in source
    for compiler in ("gcc", "g++"):
        build(tmp_path, compiler, "-std=c++11", *WARNINGS, "-c", "m.cc", "-o", "m.o")
    header = (tmp_path / "m.h").read_text()
    assert f"#define M_LENGTH {small.stat().st_size}U" in header
    assert "#define M_ARENA_HEAD_BYTES 224" in header  # 144 for 6·6·4, 80 for 6·6·2 aligned


@needs_gcc
def test_test_program_of_a_c_array_names_its_operators_and_compiles(small, tmp_path):
    edgekit.convert(small, emit="c-array", output=tmp_path / "m.h")
    resolver = (tmp_path / "m_resolver.h").read_text()
    assert re.findall(r"resolver\.(\w+)\(", resolver) == [
        "AddAveragePool2D", "AddConv2D", "AddFullyConnected", "AddReshape", "AddSoftmax",
    ]  # fmt: skip
    stubs = (TESTS / "converters" / "micro_stubs.h").read_text()
    for name in ("micro/micro_mutable_op_resolver.h", "micro/micro_interpreter.h",
                 "schema/schema_generated.h"):  # fmt: skip
        place = tmp_path / "include" / "tensorflow" / "lite" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(stubs)
    build(tmp_path, "g++", "-std=c++17", *WARNINGS, "-Iinclude", "-c", "m_main.cc")


def test_golden_inputs_are_the_samples_that_were_given(small, tmp_path):
    x = np.random.default_rng(1).normal(0, 2, (30, 6, 6, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_calib=x)
    edgekit.convert(small, emit="c", data=str(tmp_path / "data.npz"), output=tmp_path / "m.h")
    golden = (tmp_path / "m_golden.h").read_text()
    assert "calibration samples of" in golden
    numbers = [int(text) for text in re.findall(r"-?\b\d+\b", golden.partition("SIZE] = {")[2])]
    first = np.array(numbers[:72]).reshape(6, 6, 2)
    candidates = np.clip(np.rint(x / np.float32(0.05)) + 3, -128, 127)
    assert any((first == candidate).all() for candidate in candidates)


def test_golden_vectors_without_data_are_labelled_random(small, tmp_path):
    edgekit.convert(small, emit="c", seed=7, output=tmp_path / "m.h")
    assert "random numbers, seed 7" in (tmp_path / "m_golden.h").read_text()


@needs_gcc
def test_a_float_model_is_converted_first_and_its_manifest_says_how(tmp_path):
    source = tiny.dense_tflite(tmp_path / "dense.tflite", signature="serving_default")
    x = np.random.default_rng(2).uniform(-1, 1, (200, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_calib=x)
    written = edgekit.convert(
        source, emit="c", data=str(tmp_path / "data.npz"), output=tmp_path / "m.h"
    )
    assert [step.name for step in written.steps] == ["convert", "emit c"]
    assert written.calibration.samples == 200
    assert written.parity.real_data
    assert (written.inputs[0].name, written.inputs[0].dtype) == ("features", "int8")
    build(tmp_path, "gcc", "-std=c99", "m.c", "m_main.c", "-o", "run")
    assert "PASS" in build(tmp_path, "./run")
    text = (tmp_path / "m_golden.h").read_text()
    found = re.findall(r"\{\s+((?:-?\d+(?:, )?)+)\s+\}", text)
    rows = [np.array([int(v) for v in row.split(", ")]) for row in found]
    entry, result = written.inputs[0], written.outputs[0]
    for given, answer in zip(rows[:8], rows[8:], strict=True):
        real = (given - entry.zero_point) * entry.scale
        wanted = tiny.dense(real)
        assert np.abs((answer - result.zero_point) * result.scale - wanted).max() < 0.05


@needs_gcc
def test_float_edges_are_left_to_the_caller(tmp_path):
    source = tmp_path / "edges.tflite"
    source.write_bytes(int8_graphs.small_cnn(float_edges=True))
    written = edgekit.convert(source, emit="c", output=tmp_path / "m.h")
    assert (written.inputs[0].dtype, written.outputs[0].dtype) == ("int8", "int8")
    assert written.inputs[0].zero_point == 3
    build(tmp_path, "gcc", "-std=c99", "m.c", "m_main.c", "-o", "run")
    assert "PASS" in build(tmp_path, "./run")


def test_unchanged_request_is_not_run_again_and_bytes_are_the_same(small, tmp_path):
    for name in ("a", "b"):
        edgekit.convert(small, emit="c", output=tmp_path / name / "m.h")
    for path in (tmp_path / "a").glob("m*[hc]"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    before = (tmp_path / "a" / "m.c").stat().st_mtime_ns
    edgekit.convert(small, emit="c", output=tmp_path / "a" / "m.h")
    assert (tmp_path / "a" / "m.c").stat().st_mtime_ns == before


def test_names_from_the_model_cannot_leave_their_comments(tmp_path):
    graph = int8_graphs.Graph()
    x, y = graph.int8((1, 4)), graph.int8((1, 4), 0.1)
    graph.tensors[x].name = "*/ #error evil\n \\"
    graph.tensors[y].name = "??/ // */ int evil;"
    graph.add("QUANTIZE", [x], [y], version=2)
    source = tmp_path / "evil.tflite"
    source.write_bytes(graph.finish([x], [y]))
    edgekit.convert(source, emit="c", output=tmp_path / "m.h")
    for name in ("m.h", "m.c"):
        code = re.sub(r"/\*.*?\*/", "", (tmp_path / name).read_text(), flags=re.DOTALL)
        assert "evil" not in code


def test_dry_run_says_what_would_be_written_and_writes_nothing(small, tmp_path):
    planned = conversion.plan(small, emit="c", output=tmp_path / "m.h", **DEFAULTS)
    assert (planned.emit, planned.precision, planned.input_type) == ("c", "int8", "int8")
    command = ["convert", str(small), "--emit", "c", "--dry-run", "-o", str(tmp_path / "m.h")]
    assert main(command) == 0
    assert names(tmp_path) == ["small.tflite"]


DEFAULTS = {
    "target": "host", "precision": None, "data": None, "preprocess": None, "metric": None,
    "input_type": None, "output_type": None, "batch": "1", "max_drop": None, "simplify": True,
    "seed": 0, "trust": False,
}  # fmt: skip


def test_the_c_is_run_here_where_there_is_a_compiler(small, tmp_path, monkeypatch):
    with_compiler = edgekit.convert(small, emit="c", output=tmp_path / "a" / "m.h")
    monkeypatch.setenv("PATH", str(tmp_path))
    without = edgekit.convert(small, emit="c", output=tmp_path / "b" / "m.h")
    assert any("the C was not run; build m_main.c" in text for text in without.warnings)
    assert without.environment["c_compiler"] is None
    if shutil.which("cc", path=os.defpath):
        assert with_compiler.environment["c_compiler"]
        assert not any("not run" in text for text in with_compiler.warnings)
    assert with_compiler.steps == without.steps


def test_memory_is_printed(small, tmp_path, capsys):
    assert main(["convert", str(small), "--emit", "c", "-o", str(tmp_path / "m.h")]) == 0
    shown = capsys.readouterr().out
    assert manifest.read(tmp_path / "m.h").steps[-1].detail["arena_bytes"] == 144 + 16
    assert "arena 160" in shown
