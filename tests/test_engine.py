"""TensorRT without a GPU: the checked .onnx, the command that builds the engine, and the linter."""

from __future__ import annotations

import importlib.util
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import cli, engine_plan, hardware, printing, printing_convert, registry
from edgekit.errors import ConversionError, ModelError, ProfileError, UsageError
from edgekit.types import TensorSpec

onnx = pytest.importorskip("onnx")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)

HERE = Path(__file__).parent


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs = _module(HERE / "converters" / "onnx_graphs.py")
T4 = hardware.load("nvidia-t4")
IMAGE = TensorSpec("image", (None, 3, 8, 8), "float32")


def test_the_command_is_strongly_typed_and_names_both_files():
    words = engine_plan.command(Path("a/m.onnx"), engine_plan.wanted(T4, [IMAGE], None, ()))
    assert words == [
        "trtexec", "--onnx=a/m.onnx", "--saveEngine=a/m.engine", "--stronglyTyped",
        "--skipInference",
    ]  # fmt: skip


def test_a_range_of_batches_becomes_an_optimization_profile():
    words = engine_plan.command(Path("m.onnx"), engine_plan.wanted(T4, [IMAGE], (1, 16), ()))
    assert words[-3:] == [
        "--minShapes=image:1x3x8x8", "--optShapes=image:16x3x8x8", "--maxShapes=image:16x3x8x8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "target", "kind", "told"),
    [
        ("1..16", "host", UsageError, "only TensorRT engines take a range"),
        ("16..1", "nvidia-t4", UsageError, "is no range A..B"),
        ("0..4", "nvidia-t4", UsageError, "is no range A..B"),
        ("1..1000000", "nvidia-t4", UsageError, "A ≤ B ≤ 999,999"),
        ("dynamic", "nvidia-t4", ConversionError, "dynamic has no end"),
    ],
)
def test_batches_that_cannot_be_had_are_refused(text, target, kind, told):
    with pytest.raises(kind, match=told):
        engine_plan.batch_range(text, hardware.load(target))


@pytest.mark.parametrize(
    ("given", "meant"), [((1, 16), "1..16"), ([2, 8], "2..8"), (4, "4"), (None, "1")]
)
def test_a_batch_that_is_no_text_is_wrong_usage_with_the_text_to_give(given, meant, tmp_path):
    with pytest.raises(UsageError, match="is no text") as caught:
        edgekit.convert("m.onnx", target="nvidia-t4", batch=given, output=tmp_path / "m.onnx")
    assert caught.value.fix == f'use batch="{meant}"'


def test_ranges_and_numbers_are_told_apart():
    assert engine_plan.batch_range("2..8", T4) == (2, 8)
    assert engine_plan.batch_range("4", T4) is None


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small network converted for a T4, batch 1 to 4: its file, manifest and folder."""
    folder = tmp_path_factory.mktemp("made")
    hub = graphs.cnn(folder / "cnn.onnx")
    np.savez(folder / "data.npz", x_calib=graphs.samples("image", 24, 4, 12, 12)["image"])
    written = edgekit.convert(
        hub, target="nvidia-t4", precision="int8", data=str(folder / "data.npz"), batch="1..4",
        output=folder / "m.onnx",
    )  # fmt: skip
    return folder / "m.onnx", written, folder


def test_the_manifest_says_that_no_engine_was_built_and_how_it_is(made):
    path, written, _ = made
    step = written.steps[-1]
    assert (step.name, step.detail["ran"], step.detail["compute_capability"]) == (
        "build", False, "7.5",
    )  # fmt: skip
    assert step.detail["command"][1] == f"--onnx={path}"
    assert "--maxShapes=image:4x4x12x12" in step.detail["command"]
    assert "no engine was built" in written.warnings[-1]
    assert written.inputs[0].shape == (None, 4, 12, 12)
    assert written.parity.sqnr_db > 25


def test_the_command_is_printed_on_one_line_that_a_shell_takes(made):
    path, written, _ = made
    lines = printing.render(printing_convert.convert(written, path)).splitlines()
    (command,) = [line for line in lines if "trtexec" in line]
    assert len(command) > printing.WIDTH_WITHOUT_TERMINAL
    assert shlex.split(command) == list(written.steps[-1].detail["command"])


def test_bench_does_not_measure_it_in_the_place_of_tensorrt(made):
    with pytest.raises(ModelError, match="no engine was built") as caught:
        edgekit.bench([made[0]])
    assert f"trtexec --onnx={made[0]} --saveEngine=" in caught.value.fix


def test_compare_runs_it_in_onnx_runtime_and_says_that_this_is_not_tensorrt(made):
    path, _, folder = made
    x = graphs.samples("image", 24, 4, 12, 12)["image"]
    np.savez(folder / "both.npz", x_calib=x, x_test=x)
    found = edgekit.compare(folder / "cnn.onnx", path, data=str(folder / "both.npz"), layers=True)
    assert (found.artifact.format, found.artifact.runtime) == ("tensorrt", "onnxruntime")
    assert found.outputs[0].sqnr_db > 25
    assert {"pooling", "dense"} <= {layer.reference for layer in found.layers.layers}
    assert any("run by onnxruntime, not by tensorrt" in line for line in found.warnings)


def test_inspect_lints_a_given_onnx(made, capsys):
    path, _, folder = made
    assert cli.main(["inspect", str(path), "--target", "nvidia-t4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["findings"] == []
    model = onnx.load(path)
    for entry in model.graph.initializer:
        if entry.name == "image_zero_point":
            entry.raw_data = np.int8(7).tobytes()
    onnx.save(model, folder / "bad.onnx")
    assert cli.main(["inspect", str(folder / "bad.onnx"), "--target", "nvidia-t4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["targets"][0]["findings"]
    assert [one["layer"] for one in found] == ["image_quantize", "image_dequantize"]
    assert "zero point that is not 0 (7)" in found[0]["problem"]


def test_a_layer_that_tensorrt_lacks_is_refused_before_anything_is_written(tmp_path):
    square = [("x", graphs.FLOAT, [1, 4, 4])]
    nodes = [
        onnx.helper.make_node("Det", ["x"], ["d"], name="determinant"),
        onnx.helper.make_node("Add", ["d", "one"], ["y"], name="shift"),
    ]
    constants = {"one": np.ones(1, np.float32)}
    hub = graphs.save(tmp_path / "det.onnx", nodes, square, [("y", graphs.FLOAT, [1])], constants)
    with pytest.raises(ConversionError, match="determinant: TensorRT has no Det"):
        edgekit.convert(hub, target="nvidia-t4", precision="fp32", output=tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["det.onnx"]


@pytest.mark.parametrize(
    ("precision", "why"),
    [("int4-weight", "matrix products alone.* opset 21"), ("int16x8", "no 16-bit integers")],
)
def test_a_precision_that_tensorrt_takes_in_part_or_not_is_refused_with_the_reason(
    precision, why, tmp_path
):
    hub = graphs.cnn(tmp_path / "cnn.onnx")
    np.savez(tmp_path / "data.npz", x=graphs.samples("image", 4, 4, 12, 12)["image"])
    with pytest.raises(ConversionError, match=why):
        edgekit.convert(
            hub, target="nvidia-t4", precision=precision, data=str(tmp_path / "data.npz"),
            output=tmp_path / "m.onnx",
        )  # fmt: skip


def test_engine_options_of_a_profile_become_those_of_the_command(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nextends = "jetson-agx-orin"\n[tensorrt]\nworkspace_bytes = 268435456\n'
        "version_compatible = true\nhardware_compatible = true\ndla_core = 1\n"
    )
    asked = engine_plan.wanted(hardware.load(path), [IMAGE], None, ["conv"])
    assert engine_plan.command(Path("m.onnx"), asked)[5:] == [
        "--sparsity=enable", "--memPoolSize=workspace:256", "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+", "--useDLACore=1", "--allowGPUFallback",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "line", "told"),
    [
        ("nvidia-t4", "hardware_compatible = true", "for GPUs from Ampere on"),
        ("nvidia-t4", 'compute_capability = "sm_75"', "compute_capability is 'sm_75'"),
        ("jetson-agx-orin", "dla_core = -1", "tensorrt.dla_core is -1"),
        ("host-onnxruntime", "dla_core = 1", r"\[tensorrt\] is read for format tensorrt"),
    ],
)
def test_engine_options_that_cannot_be_are_refused(base, line, told, tmp_path):
    path = tmp_path / "mine.toml"
    more = (
        ""
        if "compute" in line or base != "host-onnxruntime"
        else 'compute_capability = "8.7"\nmajor = 10\n'
    )
    path.write_text(f'name = "mine"\nextends = "{base}"\n[tensorrt]\n{more}{line}\n')
    with pytest.raises(ProfileError, match=told):
        hardware.load(path)


def test_the_provider_of_a_target_is_asked_for_and_never_replaced(tmp_path):
    path = tmp_path / "cuda.toml"
    path.write_text(
        'name = "cuda"\nextends = "host-onnxruntime"\nkind = "gpu"\n[onnxruntime]\n'
        'provider = "CUDAExecutionProvider"\n'
    )
    if "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    hub = graphs.cnn(tmp_path / "cnn.onnx")
    with pytest.raises(ModelError, match="execution provider CUDAExecutionProvider is not part"):
        edgekit.bench(hub, target=str(path), budget_s=0.1)
