"""`edgekit bench m.h --device qemu://cortex-m7`: what the result holds, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.cli import main
from edgekit.errors import ModelError, UserError

TESTS = Path(__file__).parent
needs_boards = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="arm-none-eabi-gcc and qemu-system-arm are not installed",
)


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")


@pytest.fixture
def emitted(made, tmp_path):
    """C of a small model, and data whose labels are what LiteRT's reference kernels answer."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "m.h"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What `emitted` has a copy of."""
    tmp_path = tmp_path_factory.mktemp("emitted")
    model = tmp_path / "m.tflite"
    model.write_bytes(int8_graphs.small_cnn())
    written = edgekit.convert(model, target="cortex-m7", emit="c", output=tmp_path / "m.h")
    (entry,), (exit_,) = written.inputs, written.outputs
    run = int8_graphs.reference(model.read_bytes())
    stored = np.random.default_rng(1).integers(-128, 128, (20, *entry.shape[1:])).astype(np.int8)
    x = (stored.astype(np.float32) - entry.zero_point) * np.float32(entry.scale)
    answers = np.concatenate([run(sample[np.newaxis])[0] for sample in stored]).reshape(20, -1)
    y = (answers.astype(np.float32) - exit_.zero_point) * np.float32(exit_.scale)
    np.savez(tmp_path / "d.npz", x_test=x, y_test=y)
    return tmp_path


@needs_boards
def test_accuracy_memory_and_instructions_are_measured_and_latency_is_null(emitted, capsys):
    data, out = emitted.with_name("d.npz"), emitted.with_name("r.json")
    command = ["bench", str(emitted), "--device", "qemu://cortex-m7", "--data", str(data)]
    assert main([*command, "--metric", "mse", "--json", "-o", str(out)]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["accuracy"]["value"] == 0, "LiteRT's reference kernels, bit for bit"
    assert result["accuracy"]["n"] == 14, "six are set aside for choosing"
    assert result["latency"]["median_s"] is None
    assert "instructions and no cycles" in result["latency"]["why"]
    assert result["memory"] == {"peak_delta_bytes": None, "anonymous_bytes": None}
    assert result["device"]["url"] == "qemu://cortex-m7"
    assert result["device"]["measured_here"] is False
    assert result["instructions"]["per_inference"] > 1000
    assert result["instructions"]["inputs"] == "the first sample of the data"
    assert result["footprint"]["flash_bytes"] > 500
    manifest = json.loads(Path(f"{emitted}.edgekit.json").read_text())
    assert result["footprint"]["ram_bytes"] == manifest["steps"][-1]["detail"]["arena_bytes"]


@needs_boards
def test_the_table_shows_memory_and_instructions_and_says_why_there_is_no_latency(emitted, capsys):
    assert main(["bench", str(emitted), "--device", "qemu://cortex-m3"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "instructions" in shown
    assert "flash" in shown
    assert "no latency: QEMU counts instructions and no cycles" in shown
    assert "median latency" not in shown


@needs_boards
def test_boards_and_models_stand_side_by_side(emitted):
    report = edgekit.bench(
        [emitted, emitted], devices=["qemu://cortex-m3", "qemu://cortex-m55"], target="cortex-m7"
    )
    counts = [one.instructions.per_inference for one in report.results]
    assert counts[0] == counts[1] != counts[2] == counts[3]
    assert report.comparison == ()
    assert {one.instructions.inputs for one in report.results} == {"random, seed 0: all of int8"}


@needs_boards
def test_a_tflite_on_a_board_is_refused_with_the_command_that_helps(emitted):
    with pytest.raises(ModelError, match=r"m.tflite is no C, and nothing else runs on") as caught:
        edgekit.bench(emitted.with_suffix(".tflite"), devices="qemu://cortex-m7")
    assert "--emit c -o m.h" in caught.value.fix


def test_c_on_this_machine_is_refused_with_the_device_that_runs_it(emitted):
    with pytest.raises(ModelError, match=r"m.h is C for a microcontroller") as caught:
        edgekit.bench(emitted)
    assert "--device qemu://cortex-m7" in caught.value.fix


@pytest.mark.parametrize("emit", ["c", "c-array"])
def test_c_without_its_manifest_or_for_another_runtime_is_refused(emitted, emit):
    header = emitted.with_name("other.h")
    edgekit.convert(emitted.with_suffix(".tflite"), emit=emit, output=header)
    if emit == "c":
        header.with_name("other.h.edgekit.json").unlink()
    with pytest.raises(ModelError, match=r"other.h is no header of --emit c with its manifest"):
        edgekit.bench(header, devices="qemu://cortex-m7")


def test_c_that_was_changed_is_refused(emitted):
    emitted.with_suffix(".c").write_text("int m_invoke(void) { return 0; }\n")
    with pytest.raises(UserError, match=r"is not the artifact that m.h.+: m.c was changed") as said:
        edgekit.bench(emitted, devices="qemu://cortex-m7")
    assert said.value.fix == "convert it again"
    emitted.with_suffix(".c").unlink()
    with pytest.raises(UserError, match=r"m.c is missing"):
        edgekit.bench(emitted, devices="qemu://cortex-m7")
