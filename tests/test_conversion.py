"""The convert stage on the embedded model: a real trained network and real digits."""

import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import edgekit
from edgekit import manifest
from edgekit.errors import ConversionError, GateError, OutputError, UsageError

ASSETS = resources.files("edgekit")
DATA = str(ASSETS / "demo_digits.npz")


@pytest.fixture(scope="session")
def digits_float(tmp_path_factory):
    """The embedded Keras model as float .tflite; one TensorFlow start for all tests here."""
    output = tmp_path_factory.mktemp("digits") / "digits.tflite"
    edgekit.convert(ASSETS / "demo_digits.keras", precision="fp32", data=DATA, output=output)
    return output


def top1(model: Path) -> float:
    """Accuracy on the test digits by a loop over the interpreter, without edgekit."""
    return float((predict(model).argmax(1) == np.load(DATA)["y_test"]).mean())


def predict(model: Path) -> np.ndarray:
    code = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
i = Interpreter(sys.argv[1]); i.allocate_tensors()
a, o = i.get_input_details()[0], i.get_output_details()[0]
out = []
for x in np.load(sys.argv[2])["x_test"].astype("float32"):
    s, z = a["quantization"]
    ends = (-128, 127) if a["dtype"] == np.int8 else (0, 255)
    v = np.clip(np.rint(x / s) + z, *ends) if s else x
    i.set_tensor(a["index"], v[None].astype(a["dtype"])); i.invoke()
    y = i.get_tensor(o["index"])[0].astype("float32"); s, z = o["quantization"]
    out.append((y - z) * s if s else y)
np.save(sys.argv[3], np.stack(out))
"""
    found = model.with_suffix(".npy")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(model), DATA, str(found)],
        check=True,
        capture_output=True,
    )
    return np.load(found)


def convert(source, output, precision, **options):
    return edgekit.convert(source, precision=precision, output=output, data=DATA, **options)


def test_keras_model_becomes_a_float_artifact_with_its_names_and_a_manifest(digits_float):
    written = manifest.read(digits_float)
    assert [spec.name for spec in written.inputs] == ["image"]
    assert [spec.name for spec in written.outputs] == ["digit"]
    assert written.inputs[0].shape == (1, 8, 8, 1)
    assert written.parity.real_data
    assert written.parity.max_rel < 1e-5
    assert top1(digits_float) >= 0.98


@pytest.mark.parametrize(
    ("precision", "smaller_than", "least_top1"),
    [
        ("fp16", 0.60, 0.98),
        ("int8", 0.40, 0.98),
        ("int8-dynamic", 0.40, 0.98),
        ("int8-weight", 0.40, 0.98),
        ("int4-weight", 0.30, 0.95),
        ("int16x8", 0.45, 0.98),
    ],
)
def test_every_precision_is_smaller_and_still_reads_digits(
    digits_float, tmp_path, precision, smaller_than, least_top1
):
    output = tmp_path / "digits.tflite"
    written = convert(digits_float, output, precision)
    assert written.artifact.size_bytes == output.stat().st_size
    assert output.stat().st_size < smaller_than * digits_float.stat().st_size
    assert top1(output) >= least_top1


def test_calibration_tries_every_method_and_takes_one_within_half_a_decibel_of_the_best(
    digits_float, tmp_path
):
    written = convert(digits_float, tmp_path / "d.tflite", "int8")
    figures = {c.method: c.sqnr_db for c in written.calibration.candidates}
    assert {"minmax", "percentile", "mse", "moving-average"} <= set(figures)
    assert figures[written.calibration.chosen] >= max(figures.values()) - 0.5
    assert written.parity.sqnr_db == pytest.approx(figures[written.calibration.chosen])


def test_constants_are_aligned_and_equal_vectors_are_stored_once(digits_float, tmp_path):
    output = tmp_path / "digits.tflite"
    convert(digits_float, output, "int8")
    packed = schema.Model.GetRootAs(output.read_bytes(), 0)
    buffers = [packed.Buffers(number) for number in range(packed.BuffersLength())]
    places = [one._tab.Vector(one._tab.Offset(4)) for one in buffers if one.DataLength()]
    assert {place % 16 for place in places} == {0}  # schema.fbs: data:[ubyte] (force_align: 16)
    graph = packed.Subgraphs(0)
    zero_points = {}
    for number in range(graph.TensorsLength()):
        found = graph.Tensors(number).Quantization()
        if found and found.ZeroPointLength() > 1:
            assert not found.ZeroPointAsNumpy().any()
            place = found._tab.Vector(found._tab.Offset(10))  # zero_point is field 3
            zero_points.setdefault(found.ZeroPointLength(), set()).add(place)
    assert len(zero_points) > 1
    assert all(len(shared) == 1 for shared in zero_points.values())


def test_packing_changes_no_output(digits_float, tmp_path):
    output = tmp_path / "digits.tflite"
    convert(digits_float, output, "int8")
    builder = flatbuffers.Builder(1 << 16)
    model = schema.ModelT.InitFromPackedBuf(output.read_bytes(), 0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(builder.Output())
    assert output.stat().st_size < plain.stat().st_size
    np.testing.assert_array_equal(predict(output), predict(plain))


@pytest.mark.parametrize(("kind", "zero_point"), [("int8", -128), ("uint8", 0)])
def test_integer_io_is_real_and_its_scale_stands_in_the_manifest(
    digits_float, tmp_path, kind, zero_point
):
    output = tmp_path / "d.tflite"
    written = convert(digits_float, output, "int8", input_type=kind, output_type=kind)
    (entry,), (result,) = written.inputs, written.outputs
    assert (entry.dtype, result.dtype) == (kind, kind)
    assert entry.scale == pytest.approx(16 / 255)  # digits are 0 to 16
    assert entry.zero_point == zero_point
    assert result.scale == pytest.approx(1 / 256)  # the TFLite specification fixes softmax's scale
    assert top1(output) >= 0.98


def test_manifest_names_the_model_and_the_chain_of_parents(digits_float, tmp_path):
    written = convert(digits_float, tmp_path / "d.tflite", "fp16")
    assert written.model_name == "demo_digits"
    keras = ASSETS / "demo_digits.keras"
    sha256 = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (digits_float, keras)]
    assert [written.source.sha256, *(parent.sha256 for parent in written.parents)] == sha256


def test_unchanged_request_is_not_run_again(digits_float, tmp_path):
    output = tmp_path / "d.tflite"
    first = convert(digits_float, output, "int8-dynamic")
    before = output.stat().st_mtime_ns
    again = convert(digits_float, output, "int8-dynamic")
    assert again == first
    assert output.stat().st_mtime_ns == before


def test_same_inputs_and_seed_give_the_same_bytes(digits_float, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        convert(digits_float, tmp_path / name / "d.tflite", "int8", seed=3)
    a, b = ((tmp_path / name / "d.tflite") for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()
    manifests = [json.loads(manifest.path_for(path).read_bytes()) for path in (a, b)]
    for found in manifests:
        del found["timing"], found["environment"]
    assert manifests[0] == manifests[1]


def test_foreign_file_in_the_way_is_kept(digits_float, tmp_path):
    output = tmp_path / "d.tflite"
    output.write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        convert(digits_float, output, "fp16")
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_edited_artifact_is_not_replaced_without_force(digits_float, tmp_path):
    output = tmp_path / "d.tflite"
    convert(digits_float, output, "fp16")
    output.write_bytes(output.read_bytes() + b"x")
    with pytest.raises(OutputError, match="not an unchanged output"):
        convert(digits_float, output, "int8-dynamic")
    convert(digits_float, output, "int8-dynamic", force=True)
    assert manifest.read(output).artifact.precision == "int8-dynamic"


def test_static_int8_without_data_names_the_flag(digits_float, tmp_path):
    with pytest.raises(UsageError, match="--data"):
        edgekit.convert(digits_float, precision="int8", output=tmp_path / "d.tflite")


def test_quantized_source_is_not_quantized_twice(digits_float, tmp_path):
    convert(digits_float, tmp_path / "a.tflite", "int8")
    with pytest.raises(ConversionError, match="quantized already"):
        convert(tmp_path / "a.tflite", tmp_path / "b.tflite", "int8")
    assert not (tmp_path / "b.tflite").exists()


def test_integer_io_of_a_float_precision_is_refused(digits_float, tmp_path):
    with pytest.raises(UsageError, match="no integer activations"):
        convert(digits_float, tmp_path / "d.tflite", "fp16", input_type="int8")
    assert list(tmp_path.iterdir()) == []


def test_wrong_suffix_says_which_one_to_type(digits_float, tmp_path):
    with pytest.raises(UsageError, match=r"d\.tflite"):
        convert(digits_float, tmp_path / "d.bin", "fp16")


def test_drop_within_the_limit_is_measured_on_test_and_recorded(digits_float, tmp_path):
    output = tmp_path / "d.tflite"
    written = convert(digits_float, output, "int8", max_drop=0.02)
    assert written.ladder[-1].outcome == "holds"
    assert written.accuracy.n == 600
    assert written.accuracy.value == pytest.approx(top1(output))
    assert written.source_accuracy.value == pytest.approx(top1(digits_float))


@pytest.fixture(scope="session")
def fragile_float(tmp_path_factory, digits_float):
    """The digit model with one channel of a dense layer made huge, its successor tiny.

    The network computes the same, but one activation range is stretched, so that int8 loses the
    other channels: what wide channels do to real models.
    """
    from edgekit.converters import tflite_graph  # noqa: PLC0415

    model = tflite_graph.read(digits_float.read_bytes())
    graph = model.subgraphs[0]
    dense = [op for op in graph.operators if tflite_graph.op_name(model, op) == "FULLY_CONNECTED"]
    assert len(dense) == 2

    def values(index):
        buffer = model.buffers[graph.tensors[index].buffer]
        return (
            np.frombuffer(bytes(buffer.data), np.float32).reshape(graph.tensors[index].shape).copy()
        )

    def put(index, array):
        buffer = model.buffers[graph.tensors[index].buffer]
        buffer.data = np.frombuffer(array.astype(np.float32).tobytes(), np.uint8)

    weights, bias, following = (
        values(dense[0].inputs[1]), values(dense[0].inputs[2]), values(dense[1].inputs[1]),
    )  # fmt: skip
    busiest = int(np.abs(weights).sum(1).argmax())
    weights[busiest] *= 3000
    bias[busiest] *= 3000
    following[:, busiest] /= 3000
    put(dense[0].inputs[1], weights)
    put(dense[0].inputs[2], bias)
    put(dense[1].inputs[1], following)
    output = tmp_path_factory.mktemp("fragile") / "fragile.tflite"
    output.write_bytes(tflite_graph.write(model))
    np.testing.assert_allclose(predict(output), predict(digits_float), atol=1e-4)
    return output


def test_ladder_climbs_until_the_drop_holds(fragile_float, tmp_path):
    output = tmp_path / "d.tflite"
    written = convert(fragile_float, output, "int8", max_drop=0.01)
    assert written.ladder[0].outcome == "drops too much"
    assert "skipped" in written.ladder[1].outcome
    assert written.ladder[-1].outcome == "holds"
    assert written.float_layers or written.artifact.precision == "int16x8"
    assert top1(output) >= top1(fragile_float) - 0.01


def test_gate_that_cannot_hold_still_writes_and_says_the_numbers(fragile_float, tmp_path):
    output = tmp_path / "d.tflite"
    for _ in range(2):  # the second time nothing is run, and the gate is as broken as before
        with pytest.raises(GateError, match="a drop of"):
            convert(fragile_float, output, "int4-weight", max_drop=0.0)
        assert manifest.matches(output, manifest.read(output))


def test_the_model_itself_is_never_the_output(digits_float, tmp_path):
    source = tmp_path / "d.tflite"
    source.write_bytes(digits_float.read_bytes())
    with pytest.raises(UsageError, match="the model itself"):
        convert(source, source, "fp16", force=True)
    assert source.read_bytes() == digits_float.read_bytes()


def test_an_edited_metric_is_a_changed_input(digits_float, tmp_path):
    metric = tmp_path / "metric.py"
    output = tmp_path / "d.tflite"
    for value in (0.25, 0.5):
        metric.write_text(f"def constant(x, y, outputs):\n    return {value}\n")
        written = convert(
            digits_float, output, "int8-dynamic", metric=f"{metric}:constant", max_drop=0.0
        )
        assert written.accuracy.value == value


@pytest.mark.parametrize(
    "wrong", [{"input_type": "int99"}, {"max_drop": 5.0}, {"precision": "int7"}]
)
def test_python_callers_are_held_to_the_command_lines_choices(digits_float, tmp_path, wrong):
    options = {"precision": "int8", **wrong}
    with pytest.raises(UsageError):
        edgekit.convert(digits_float, data=DATA, output=tmp_path / "d.tflite", **options)


@pytest.mark.parametrize("option", ["metric", "preprocess"])
def test_options_about_data_need_data(digits_float, tmp_path, option):
    value = {"metric": "top1", "preprocess": "unit"}[option]
    with pytest.raises(UsageError, match="--data"):
        edgekit.convert(
            digits_float, precision="fp16", output=tmp_path / "d.tflite", **{option: value}
        )
