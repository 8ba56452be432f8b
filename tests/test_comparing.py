"""Compare end to end: a float network and int8 ones in three formats, whole and ruined."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from edgekit import cli, compare_sides, comparing, layer_comparison, manifest
from edgekit.compare_types import CompareReport
from edgekit.errors import DataError, ModelError, OutputError, UsageError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = _module(Path(__file__).with_name("compare_cases.py"))
tiny = _module(Path(__file__).parent / "targets" / "tiny_models.py")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The float network."""
    return cases.float_onnx(tmp_path_factory.mktemp("network") / "net.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(cases.write_data(tmp_path_factory.mktemp("data") / "data.npz"))


def artifact(kind, directory, ruin=None):
    if kind == "xml":
        pytest.importorskip("openvino")
    return cases.ARTIFACTS[kind](directory / f"{ruin}.{kind}", ruin)


@pytest.fixture
def dense(tmp_path):
    """The dense layer in two formats, and data: three classes, labelled at random."""
    random = np.random.default_rng(3)
    x = random.normal(size=(90, 4)).astype(np.float32)
    y = random.integers(0, 3, 90)
    np.savez(tmp_path / "d.npz", x_calib=x[:30], y_calib=y[:30], x_test=x[30:], y_test=y[30:])
    return (
        tiny.dense_onnx(tmp_path / "m.onnx"),
        tiny.dense_tflite(tmp_path / "m.tflite"),
        str(tmp_path / "d.npz"),
    )


# ----------------------------------------------------------------------------- layers


@pytest.mark.parametrize("kind", cases.ARTIFACTS)
def test_a_whole_int8_network_has_no_bad_layer_and_every_convolution_is_matched(
    kind, network, data, tmp_path
):
    found = comparing.compare(network, artifact(kind, tmp_path), data=data, layers=True)
    assert found.layers.first_bad is None
    assert found.layers.suggestion is None
    standing_for = {layer.reference for layer in found.layers.layers}
    assert {"first_relu", "second_relu", "third_relu"} <= standing_for
    assert all(layer.sqnr_db > 25 for layer in found.layers.layers)
    assert {one.kind for one in found.layers.unmatched} <= {"MatMul"}  # IR adds the bias apart


@pytest.mark.parametrize("kind", cases.ARTIFACTS)
@pytest.mark.parametrize(
    ("ruin", "cause"), [("scaled", "scaled-channel"), ("clipped", "range-clipped")]
)
def test_the_ruined_layer_is_named_with_its_cause(kind, ruin, cause, network, data, tmp_path):
    found = comparing.compare(network, artifact(kind, tmp_path, ruin), data=data, layers=True)
    first = next(layer for layer in found.layers.layers if layer.bad)
    assert first.name == found.layers.first_bad
    assert first.reference.startswith("second")
    assert first.causes[0].kind == cause
    if cause == "scaled-channel":
        assert f"channel {cases.SCALED_CHANNEL} of 8" in first.causes[0].evidence
    assert "--max-drop" in found.layers.suggestion


def test_the_evidence_of_a_clipped_range_is_what_numpy_counts(network, data, tmp_path):
    made = artifact("tflite", tmp_path, "clipped")
    found = comparing.compare(network, made, data=data, layers=True)
    layer = next(one for one in found.layers.layers if one.name == "second")
    drawn = np.sort(np.random.default_rng(0).permutation(80)[: layer_comparison.LAYER_SAMPLES])
    values = cases.activations(cases.IMAGES[:80][drawn])[0]["second"]
    limit = cases.RANGES["second"] * cases.CLIPPED_TO
    share = float((values > limit * (1 + 1 / 255)).mean())
    assert f"{share:.2%} lie outside" in layer.causes[0].evidence
    clipped = np.minimum(values, limit)
    expected_db = 10 * math.log10((values**2).sum() / ((values - clipped) ** 2).sum())
    assert layer.sqnr_db == pytest.approx(expected_db, abs=0.2)


def test_int8_in_one_format_is_the_reference_of_another(network, data, tmp_path):
    whole, ruined = artifact("onnx", tmp_path), artifact("tflite", tmp_path, "scaled")
    found = comparing.compare(whole, ruined, data=data, layers=True)
    assert found.layers.first_bad == "second"


def test_the_plot_is_whole_xml_with_a_point_per_layer_and_the_bad_one_named(
    network, data, tmp_path
):
    plot = tmp_path / "layers.svg"
    made = artifact("tflite", tmp_path, "clipped")
    found = comparing.compare(network, made, data=data, layers=True, plot=plot)
    root = ElementTree.parse(plot).getroot()  # noqa: S314 written a moment ago
    points = [one for one in root.iter() if one.tag.endswith("circle")]
    assert len(points) == len(found.layers.layers)
    texts = [one.text for one in root.iter() if one.get("class") == "note"]
    assert texts == ["second"]
    comparing.compare(network, made, data=data, layers=True, plot=plot)  # its own is replaced


# ------------------------------------------------------------------- outputs and accuracy


def test_outputs_and_accuracy_are_what_numpy_makes_of_them(network, data, tmp_path):
    made = artifact("onnx", tmp_path, "clipped")
    found = comparing.compare(network, made, data=data)
    onnxruntime = pytest.importorskip("onnxruntime")
    images, labels = cases.IMAGES[80:], cases.LABELS[80:]
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    answers = np.concatenate(
        [session.run(None, {"image": images[at : at + 1]})[0] for at in range(80)]
    ).astype(np.float64)
    expected = cases.SCORES[80:]
    (output,) = found.outputs
    error = np.abs(answers - expected)
    assert output.max_abs == pytest.approx(error.max(), rel=1e-4)
    assert output.mean_abs == pytest.approx(error.mean(), rel=1e-4)
    power = 10 * math.log10((expected**2).sum() / (error**2).sum())
    assert output.sqnr_db == pytest.approx(power, abs=1e-3)
    agreeing = answers.argmax(1) == expected.argmax(1)
    assert output.top1_agreement == agreeing.mean()
    change = found.accuracy
    assert change.reference.value == 1.0
    assert change.artifact.value == agreeing.mean()
    assert change.paired.only_source_right == (~agreeing).sum()
    lost = {one.label: one.lost for one in change.classes}
    assert lost == {k: int((~agreeing)[labels == k].sum()) for k in np.unique(labels)}
    assert list(lost.values()) == sorted(lost.values(), reverse=True)


def test_the_same_computation_in_two_formats_differs_by_rounding_only(dense):
    reference, other, data = dense
    found = comparing.compare(reference, other, data=data)
    assert found.outputs[0].max_abs < 1e-5
    assert found.accuracy.drop == 0.0
    assert found.accuracy.paired.p_value == 1.0


def test_without_labels_outputs_are_compared_and_that_is_said(dense, tmp_path):
    reference, other, _ = dense
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "bare.npz", x_test=x)
    found = comparing.compare(reference, other, data=str(tmp_path / "bare.npz"))
    assert found.accuracy is None
    assert any("no labels" in line for line in found.warnings)


def test_a_difference_within_one_quantization_step_is_called_that(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["in"], ["out"])], "g",
        [value("in", onnx.TensorProto.FLOAT, [1, 4])],
        [value("out", onnx.TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "i.onnx"
    )
    made = tiny.identity_int8_tflite(tmp_path / "i.tflite", 4, 0.1, 0)
    x = np.random.default_rng(0).uniform(-3, 3, (60, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_test=x)
    found = comparing.compare(tmp_path / "i.onnx", made, data=str(tmp_path / "d.npz"))
    assert found.outputs[0].step == pytest.approx(0.1)
    assert 0 < found.outputs[0].max_steps <= 0.51  # rounding to the grid
    assert any("one quantization step" in line for line in found.warnings)


def test_a_report_with_values_that_are_not_finite_decodes_by_its_own_type(dense, tmp_path, capsys):
    reference, _, _ = dense
    onnx = pytest.importorskip("onnx")
    model = onnx.load(reference)
    for constant in model.graph.initializer:
        values = np.full_like(onnx.numpy_helper.to_array(constant), 3e38)
        constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))
    onnx.save(model, tmp_path / "overflowing.onnx")
    x = np.abs(np.random.default_rng(0).normal(5, 1, size=(40, 4))).astype(np.float32)
    np.savez(tmp_path / "bare.npz", x_test=x, x_calib=x)
    arguments = ["compare", str(reference), str(tmp_path / "overflowing.onnx"), "-q", "--layers"]
    arguments += ["--data", str(tmp_path / "bare.npz")]
    assert cli.main([*arguments, "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=CompareReport)
    assert (report.outputs[0].max_abs, report.outputs[0].mean_abs) == (None, None)
    assert report.layers.layers[-1].max_abs is None
    assert cli.main(arguments) == 0
    assert "not finite" in capsys.readouterr().out


# ------------------------------------------------------------------------ command line


def test_the_command_prints_its_schema_and_writes_the_same(dense, tmp_path, capsys):
    reference, other, data = dense
    output = tmp_path / "r.json"
    arguments = ["compare", str(reference), str(other), "--data", data, "--layers", "-q"]
    assert cli.main([*arguments, "--json", "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert output.read_text() == printed
    report = msgspec.json.decode(printed, type=CompareReport)
    assert report.schema == "edgekit.compare/1"
    assert cli.main([*arguments, "-v"]) == 0
    table = capsys.readouterr().out
    assert "first bad layer" in table
    assert "McNemar" in table


def test_a_dry_run_says_what_it_would_do_and_does_nothing(dense, tmp_path, capsys):
    reference, other, data = dense
    plot = tmp_path / "p.svg"
    arguments = ["compare", str(reference), str(other), "--data", data, "--layers"]
    assert cli.main([*arguments, "--plot", str(plot), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["writes"] == [str(plot)]
    assert not plot.exists()


# ----------------------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    ("change", "message"),
    [({"outputs": 4}, "shape"), ({"inputs": 2}, "has 1 inputs")],
    ids=["other classes", "other inputs"],
)
def test_models_that_do_not_belong_together_are_refused(change, message, data, tmp_path):
    other = cases.float_onnx(tmp_path / "other.onnx", **change)
    with pytest.raises(ModelError, match=message) as caught:
        comparing.compare(other, artifact("tflite", tmp_path), data=data)
    assert "made from" in caught.value.fix


def test_other_shapes_are_one_line_with_exit_code_1(network, dense, data, capsys):
    assert cli.main(["compare", str(network), str(dense[1]), "--data", data, "-q"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "shape" in told


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["m.onnx", "m.tflite"], 2),
        (["m.onnx", "m.tflite", "--data", "d.npz", "--plot", "p.svg"], 2),
        (["m.onnx", "m.tflite", "--data", "d.npz", "--layers", "--plot", "m.onnx"], 2),
        (["m.onnx", "m.tflite", "--data", "d.npz", "--metric", "nonsense"], 2),
        (["gone.onnx", "m.tflite", "--data", "d.npz"], 1),
        (["m.onnx", "gone.xml", "--data", "d.npz"], 1),
        (["m.onnx", "m.tflite", "--data", "gone.npz"], 1),
        (["m.onnx", "noise.tflite", "--data", "d.npz"], 1),
        (["m.onnx", "noise.onnx", "--data", "d.npz"], 1),
        (["m.onnx", "empty.tflite", "--data", "d.npz"], 1),
        (["m.onnx", "d.npz", "--data", "d.npz"], 1),
        (["m.onnx", ".", "--data", "d.npz"], 1),
        (["m.onnx", "m.tflite", "--data", "d.npz", "-o", "d.npz"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_the_right_exit_code(
    arguments, code, dense, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("noise.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(range(256)))
    Path("noise.onnx").write_bytes(bytes(range(256)) * 4)
    Path("empty.tflite").touch()
    before = Path("d.npz").read_bytes()
    assert cli.main(["compare", *arguments, "-q"]) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert " Fix: " in told
    assert Path("d.npz").read_bytes() == before
    assert not Path("p.svg").exists()


def test_labels_beyond_the_classes_are_refused(dense, tmp_path):
    reference, other, _ = dense
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "bad.npz", x_test=x, y_test=np.arange(40) % 7)
    with pytest.raises(DataError, match="labels run from 0 to 6"):
        comparing.compare(reference, other, data=str(tmp_path / "bad.npz"))


def test_another_file_is_not_replaced_without_force(dense, tmp_path):
    reference, other, data = dense
    output = tmp_path / "notes.json"
    output.write_text("mine")
    for mine in ("mine", "", '{"schema": "edgekit.compare/1"}'):
        output.write_text(mine)
        with pytest.raises(OutputError, match="not an unchanged output of edgekit"):
            comparing.compare(reference, other, data=data, output=output)
        assert output.read_text() == mine
    comparing.compare(reference, other, data=data, output=output, force=True)
    assert json.loads(output.read_text())["schema"] == "edgekit.compare/1"


def test_an_earlier_report_is_replaced_until_somebody_changes_it(dense, tmp_path):
    reference, other, data = dense
    output = tmp_path / "r.json"
    report = comparing.compare(reference, other, data=data, output=output)
    sealed = manifest.read(output)
    assert sealed.artifact.format == "compare"
    assert sealed.artifact.sha256 == hashlib.sha256(output.read_bytes()).hexdigest()
    assert sealed.source.sha256 == report.reference.sha256
    comparing.compare(reference, other, data=data, output=output)
    edited = output.read_text().replace("{", "{ ", 1)
    output.write_text(edited)
    with pytest.raises(OutputError, match="--force"):
        comparing.compare(reference, other, data=data, output=output)
    assert output.read_text() == edited


@pytest.mark.parametrize("output", ["m.bin", "m.xml.edgekit.json", "net.onnx", "d.npz"])
def test_no_file_of_what_is_compared_is_overwritten_even_by_force(output, data, tmp_path):
    reference = cases.float_onnx(tmp_path / "net.onnx")
    made = artifact("xml", tmp_path).rename(tmp_path / "m.xml")
    (tmp_path / "None.bin").rename(tmp_path / "m.bin")
    samples = tmp_path / "d.npz"
    samples.write_bytes(Path(data).read_bytes())
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"belongs to what is compared|named twice"):
        comparing.compare(reference, made, data=str(samples), output=tmp_path / output, force=True)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_plot_that_is_called_another_format_is_refused_with_the_right_name() -> None:
    request = comparing.Request("d.npz", layers=True, plot=Path("x.png"))
    with pytest.raises(UsageError, match="drawn as SVG") as caught:
        comparing.check(request)
    assert caught.value.fix == "--plot x.svg"


def test_c_is_no_side_of_a_comparison_and_the_fix_names_bench_and_every_format(tmp_path) -> None:
    (tmp_path / "m.h").write_text("int x;")
    with pytest.raises(ModelError, match="C for a microcontroller") as caught:
        compare_sides.find(tmp_path / "m.h", trust=False)
    assert "--device qemu://cortex-m7" in caught.value.fix
    assert ".xml" in caught.value.fix


def test_a_plot_without_layers_names_the_option() -> None:
    with pytest.raises(UsageError) as caught:
        comparing.compare("a.onnx", "b.onnx", data="d.npz", plot="p.svg")
    assert "--layers" in caught.value.fix
