"""`convert` for an Ethos-U: what is written and said, and what is refused with nothing written."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import manifest, printing_npu, registry, tflite_file
from edgekit.cli import main
from edgekit.errors import ConversionError, ProfileError

TESTS = Path(__file__).parent
U55 = "cortex-m55-ethos-u55-128"

pytestmark = pytest.mark.skipif(
    bool(registry.missing(registry.CONVERTERS["ethos_u"])), reason="ethos-u-vela is not installed"
)


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")
tiny = _module(TESTS / "targets" / "tiny_models.py")


@pytest.fixture
def small(tmp_path):
    """An int8 model of five operators."""
    path = tmp_path / "small.tflite"
    path.write_bytes(int8_graphs.small_cnn())
    return path


@pytest.fixture
def out(tmp_path):
    """Where artifacts go; nothing else is there."""
    return tmp_path / "out" / "m.tflite"


def operators(path):
    return [operator.name for operator in tflite_file.read(path).main.operators]


def vela_alone(model, directory):
    """The summary that Vela's own command writes, run without edgekit."""
    command = [
        sys.executable, "-m", "ethosu.vela", "--accelerator-config", "ethos-u55-128",
        "--config", "Arm/vela.ini", "--system-config", "Ethos_U55_High_End_Embedded",
        "--memory-mode", "Shared_Sram", "--output-dir", directory, model,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    with (directory / "small_summary_Ethos_U55_High_End_Embedded.csv").open() as handle:
        return next(csv.DictReader(handle))


def test_an_int8_model_becomes_one_command_stream_with_the_same_ports(small, out):
    written = edgekit.convert(small, target=U55, output=out)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "m.tflite", "m.tflite.edgekit.json",
    ]  # fmt: skip
    assert operators(out) == ["ethos-u"]
    assert (written.artifact.format, written.artifact.precision) == ("ethos_u", "int8")
    (entry,), (result,) = written.inputs, written.outputs
    assert (entry.name, entry.shape, entry.dtype) == ("t0", (1, 6, 6, 2), "int8")
    assert entry.scale == pytest.approx(0.05)
    assert (result.name, result.shape, result.zero_point) == ("t10", (1, 3), -128)


def test_the_estimate_is_what_vela_says_alone_and_is_labelled(small, out, tmp_path):
    estimate = edgekit.convert(small, target=U55, output=out).estimate
    row = vela_alone(small, tmp_path / "alone")
    assert (estimate.kind, estimate.npu_only) == ("estimate", True)
    assert estimate.total_cycles == int(row["cycles_total"])
    assert estimate.npu_cycles == int(row["cycles_npu"])
    assert estimate.inference_s == pytest.approx(float(row["inference_time"]))
    assert estimate.inference_s == pytest.approx(estimate.total_cycles / estimate.clock_hz)
    found = {memory.name: memory for memory in estimate.memories}
    assert found["sram"].used_bytes == 1024 * float(row["sram_memory_used"])
    assert found["off-chip flash"].used_bytes == 1024 * float(row["off_chip_flash_memory_used"])
    assert found["sram"].traffic_bytes == int(row["sram_total_bytes"])
    assert found["dram"].used_bytes == 0
    assert (estimate.npu_operators, estimate.cpu_operators) == (5, ())


def test_operators_on_the_cpu_are_named_with_the_reason(tmp_path, out):
    path = tmp_path / "edges.tflite"
    path.write_bytes(int8_graphs.small_cnn(float_edges=True))
    estimate = edgekit.convert(path, target=U55, output=out).estimate
    assert operators(out) == ["QUANTIZE", "ethos-u", "DEQUANTIZE"]
    quantize, dequantize = estimate.cpu_operators
    assert (quantize.kind, quantize.name) == ("QUANTIZE", "t0")
    assert "unsupported DataType Float32" in quantize.reason
    assert (dequantize.kind, dequantize.reason) == ("DEQUANTIZE", "Unsupported opType")
    assert estimate.npu_operators == 5
    shown = dict(printing_npu.facts(estimate))
    assert "5 on the NPU, 2 on the CPU" in shown["operators"]
    assert "CPU: DEQUANTIZE t12 (Unsupported opType)" in shown["operators"]


def test_the_manifest_says_that_it_was_not_executed_and_of_what_it_was_made(small, out):
    written = edgekit.convert(small, target=U55, output=out)
    (step,) = written.steps
    assert (step.name, step.detail["executed"]) == ("compile", False)
    assert step.detail["tflite_sha256"] == written.source.sha256
    assert "was not executed here" in written.warnings[-1]
    assert written.parity is None
    assert written.accuracy is None


def test_a_float_model_is_made_int8_first_and_that_is_checked(tmp_path, out):
    model = tiny.wide_tflite(tmp_path / "wide.tflite", outputs=16, inputs=32)
    x = np.random.default_rng(0).normal(size=(40, 32)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_calib=x)
    written = edgekit.convert(model, target=U55, data=str(tmp_path / "data.npz"), output=out)
    assert written.parity.samples == 40
    assert [step.name for step in written.steps] == ["convert", "compile"]
    assert operators(out) == ["ethos-u"]
    assert {spec.dtype for spec in (*written.inputs, *written.outputs)} == {"int8"}


def test_the_same_request_is_not_run_again_and_gives_the_same_bytes(small, out, capsys):
    edgekit.convert(small, target=U55, output=out)
    first = out.read_bytes()
    assert main(["convert", str(small), "--target", U55, "-o", str(out)]) == 0
    assert "up to date" in capsys.readouterr().err
    edgekit.convert(small, target=U55, output=out, force=True)
    assert out.read_bytes() == first


def test_what_is_printed_says_estimate_and_nothing_of_vela_reaches_stdout(small, out, capfd):
    assert main(["convert", str(small), "--target", U55, "-o", str(out)]) == 0
    printed = capfd.readouterr().out
    assert "estimate, NPU only" in printed
    assert "Network summary" not in printed
    assert main(["convert", str(small), "--target", U55, "-o", str(out), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["estimate"]["npu_only"] is True


def test_a_model_whose_name_begins_with_a_dash_is_no_option_of_vela(small, out, monkeypatch):
    monkeypatch.chdir(small.parent)
    Path("-o.tflite").write_bytes(small.read_bytes())
    assert edgekit.convert("-o.tflite", target=U55, output=out).estimate.npu_operators == 5


def test_benching_it_ends_in_one_line_that_says_what_runs_it(small, out, capsys):
    edgekit.convert(small, target=U55, output=out)
    assert main(["bench", str(out)]) == 1
    assert "compiled for ethos-u55-128" in capsys.readouterr().err
    manifest.path_for(out).unlink()
    assert main(["bench", str(out), "--budget", "1"]) == 1
    assert "only an Arm Ethos-U runs it" in capsys.readouterr().err


def refused(model, out, **options):
    with pytest.raises((ConversionError, ProfileError)) as caught:
        edgekit.convert(model, target=options.pop("target", U55), output=out, **options)
    assert not out.parent.exists()
    assert caught.value.fix
    return caught.value.message


def test_a_float_model_without_data_is_refused(tmp_path, out):
    assert "getting there needs calibration data" in refused(
        tiny.dense_tflite(tmp_path / "dense.tflite"), out
    )


def test_a_model_with_a_dynamic_batch_is_refused(tmp_path, out):
    model = tiny.dense_tflite(tmp_path / "dense.tflite", batch=None)
    np.savez(tmp_path / "data.npz", x_calib=np.zeros((8, 4), np.float32))
    assert "runs static shapes only" in refused(model, out, data=str(tmp_path / "data.npz"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": "dynamic"}, "runs static shapes only"),
        ({"batch": "4"}, "runs one sample at a time, and --batch is 4"),
        ({"precision": "fp32"}, "does not run fp32; it runs int8, int16x8"),
        ({"precision": "int16x8"}, "is int8 already, and int16x8 was asked for"),
        ({"max_drop": 0.01, "data": "d.npz"}, "--max-drop has nothing to compare"),
        ({"emit": "c"}, "makes C of a .tflite"),
    ],
)
def test_what_an_ethos_u_cannot_do_is_refused(small, out, options, said, monkeypatch):
    monkeypatch.chdir(small.parent)
    np.savez("d.npz", x_calib=np.zeros((8, 6, 6, 2), np.float32))
    with_suffix = out.with_suffix(".h") if "emit" in options else out
    assert said in refused(small, with_suffix, **options)


def test_a_profile_whose_options_contradict_each_other_is_refused(small, out):
    board = small.with_name("board.toml")
    board.write_text(
        f'extends = "{U55}"\nname = "board"\n[ethos_u]\nsystem_config = "Ethos_U65_High_End"\n'
    )
    assert "none that suits ethos-u55-128" in refused(small, out, target=str(board))


def test_a_model_that_the_npu_takes_nothing_of_is_refused(tmp_path, out):
    graph = int8_graphs.Graph()
    x, y = graph.int8((1, 4, 4, 2)), graph.int8((1, 4, 4, 2))
    block, padding = graph.int32([1, 1]), graph.int32([[0, 0], [0, 0]])
    graph.add("SPACE_TO_BATCH_ND", [x, block, padding], [y], version=2)
    path = tmp_path / "nothing.tflite"
    path.write_bytes(graph.finish([x], [y]))
    message = refused(path, out)
    assert "Vela places none of the 1 operators on ethos-u55-128" in message
    assert "of SPACE_TO_BATCH_ND it says: Unsupported opType" in message


def test_what_vela_places_must_fit_into_the_sram_of_the_profile(small, out):
    board = small.with_name("board.toml")
    board.write_text(f'extends = "{U55}"\nname = "board"\n[hardware]\nsram_bytes = 300\n')
    message = refused(small, out, target=str(board))
    assert "in SRAM, and board has 300 B" in message


def test_dry_run_writes_nothing_and_names_format_and_types(small, out, capsys):
    command = ["convert", str(small), "--target", U55, "-o", str(out), "--dry-run", "--json"]
    assert main(command) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["format"], plan["precision"], plan["input_type"]) == ("ethos_u", "int8", "int8")
    assert not out.parent.exists()
