import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit import chunks
from edgekit.converters import activation_ranges as ranges
from edgekit.errors import ConversionError, DataError, OutputError
from edgekit.workers import Worker

FLOAT = TensorProto.FLOAT
RANDOM = np.random.default_rng(0)


def sqnr_db(reference, found):
    noise = np.square(reference.astype(np.float64) - found).sum()
    return 10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30))


def weights(*shape, spread=0.3):
    return np.random.default_rng(sum(shape)).normal(0, spread, shape).astype(np.float32)


def save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def spec(name, *shape, dtype="float32"):
    return {"name": name, "shape": list(shape), "dtype": dtype}


class Case:
    """A model file with its inputs and outputs, samples, and the reference runtime's outputs."""

    def __init__(self, hub, inputs, outputs, samples, directory):
        self.hub, self.inputs, self.outputs, self.samples = hub, inputs, outputs, samples
        self.directory = directory
        chunks.write(directory, [samples])

    def reference(self):
        session = onnxruntime.InferenceSession(str(self.hub), providers=["CPUExecutionProvider"])
        names = [entry["name"] for entry in self.outputs]
        return dict(zip(names, session.run(names, self.samples), strict=True))


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    """Conv, depthwise conv, residual addition, dense, softmax: [n, 3, 12, 12] → [n, 5]."""
    folder = tmp_path_factory.mktemp("cnn")
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"]),
        helper.make_node("Add", ["c3", "r1"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w4", "b4"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["class"]),
    ]
    constants = {
        "w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(8, 1, 3, 3), "b2": weights(8),
        "w3": weights(8, 8, 1, 1), "b3": weights(8), "w4": weights(8, 5), "b4": weights(5),
    }  # fmt: skip
    hub = save(
        folder / "cnn.onnx",
        nodes,
        [("image", FLOAT, ["n", 3, 12, 12])],
        [("class", FLOAT, ["n", 5])],
        constants,
    )
    samples = {"image": RANDOM.normal(0, 1, (24, 3, 12, 12)).astype(np.float32)}
    inputs, outputs = [spec("image", None, 3, 12, 12)], [spec("class", None, 5)]
    return Case(hub, inputs, outputs, samples, folder / "samples")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Two dense layers: [n, 64] → [n, 32]."""
    folder = tmp_path_factory.mktemp("dense")
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    constants = {
        "w1": weights(64, 64), "b1": weights(64), "w2": weights(64, 32), "b2": weights(32),
    }  # fmt: skip
    hub = save(
        folder / "dense.onnx",
        nodes,
        [("x", FLOAT, ["n", 64])],
        [("y", FLOAT, ["n", 32])],
        constants,
    )
    samples = {"x": RANDOM.normal(0, 1, (32, 64)).astype(np.float32)}
    return Case(hub, [spec("x", None, 64)], [spec("y", None, 32)], samples, folder / "samples")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two inputs and two outputs of one shape, which only names tell apart."""
    folder = tmp_path_factory.mktemp("pair")
    nodes = [
        helper.make_node("Add", ["left", "right"], ["plus"]),
        helper.make_node("Sub", ["left", "right"], ["minus"]),
    ]
    hub = save(
        folder / "pair.onnx",
        nodes,
        [("left", FLOAT, ["n", 4]), ("right", FLOAT, ["n", 4])],
        [("plus", FLOAT, ["n", 4]), ("minus", FLOAT, ["n", 4])],
        {},
    )
    samples = {name: RANDOM.normal(0, 1, (6, 4)).astype(np.float32) for name in ("right", "left")}
    inputs = [spec("right", None, 4), spec("left", None, 4)]
    outputs = [spec("minus", None, 4), spec("plus", None, 4)]
    return Case(hub, inputs, outputs, samples, folder / "samples")


@pytest.fixture(scope="module")
def workers():
    with (
        Worker("edgekit.converters.openvino:Converter", "the converter") as converter,
        Worker("edgekit.execution:Execution", "the artifact") as execution,
    ):
        yield converter, execution


class Bench:
    """Converts cases and runs what comes out."""

    def __init__(self, workers, directory):
        self.converter, self.execution = workers
        self.directory = directory
        self.made = 0

    def open(self, case, batch=1):
        return self.converter.call(
            "open", hub=str(case.hub), batch=batch, inputs=case.inputs, outputs=case.outputs
        )

    def convert(self, case, precision, method=None, io="float32", **extra):
        self.made += 1
        folder = self.directory / str(self.made)
        folder.mkdir()
        arguments = {
            "samples": str(case.directory), "seed": 0, "float_layers": [], "input_type": io,
            "output_type": io, **extra,
        }  # fmt: skip
        return self.converter.call(
            "convert", out=str(folder / "m.xml"), precision=precision, method=method, **arguments
        )

    def run(self, made, samples):
        self.facts = self.execution.call(
            "open", runtime="openvino", path=made["files"][0], options=made["runtime_options"],
            inputs=made["inputs"], outputs=made["outputs"],
        )["facts"]  # fmt: skip
        given, taken = self.directory / f"given{self.made}", self.directory / f"taken{self.made}"
        chunks.write(given, [samples])
        self.execution.call("predict", samples=str(given), outputs=str(taken))
        return chunks.read_all(taken)


@pytest.fixture
def bench(workers, tmp_path):
    return Bench(workers, tmp_path)


def stored(made, element_type):
    """Constants of one element type in an artifact, by name, read without OpenVINO."""
    content = Path(made["files"][1]).read_bytes()
    found = {}
    for layer in ET.parse(made["files"][0]).getroot().iter("layer"):  # noqa: S314 made here
        data = layer.find("data")
        if layer.get("type") != "Const" or data.get("element_type") != element_type:
            continue
        shape = [int(size) for size in data.get("shape").split(",") if size.strip()]
        start, size = int(data.get("offset")), int(data.get("size"))
        kind = {"i8": np.int8, "u8": np.uint8, "f32": np.float32}[element_type]
        found[layer.get("name")] = np.frombuffer(content[start : start + size], kind).reshape(shape)
    return found


# ------------------------------------------------------------------------------- float artifacts


def test_fp32_agrees_with_onnxruntime_under_the_same_names(bench, cnn):
    opened = bench.open(cnn)
    assert [(one["name"], one["shape"]) for one in opened["inputs"]] == [("image", [1, 3, 12, 12])]
    assert [(one["name"], one["shape"]) for one in opened["outputs"]] == [("class", [1, 5])]
    made = bench.convert(cnn, "fp32")
    assert [Path(path).name for path in made["files"]] == ["m.xml", "m.bin"]
    assert made["runtime_options"] == {"INFERENCE_PRECISION_HINT": "f32"}
    assert np.abs(bench.run(made, cnn.samples)["class"] - cnn.reference()["class"]).max() < 1e-5


def test_fp16_stores_half_the_bytes(bench, cnn):
    bench.open(cnn)
    single, half = bench.convert(cnn, "fp32"), bench.convert(cnn, "fp16")
    sizes = [Path(made["files"][1]).stat().st_size for made in (single, half)]
    assert sizes[1] < 0.6 * sizes[0]
    assert np.abs(bench.run(half, cnn.samples)["class"] - cnn.reference()["class"]).max() < 1e-2


@pytest.mark.parametrize("batch", [None, 5])
def test_batch_is_the_one_asked_for(bench, cnn, batch):
    opened = bench.open(cnn, batch)
    assert opened["inputs"][0]["shape"] == [batch, 3, 12, 12]
    assert opened["outputs"][0]["shape"] == [batch, 5]
    for precision in ("fp32", "int8"):
        made = bench.convert(cnn, precision)
        assert made["inputs"][0]["shape"][0] == batch
        found = bench.run(made, cnn.samples)["class"]
        assert sqnr_db(cnn.reference()["class"], found) > 25


def test_inputs_and_outputs_keep_the_sources_order_and_meaning(bench, pair):
    opened = bench.open(pair)
    assert [one["name"] for one in opened["inputs"]] == ["right", "left"]
    assert [one["name"] for one in opened["outputs"]] == ["minus", "plus"]
    found = bench.run(bench.convert(pair, "fp32"), pair.samples)
    left, right = pair.samples["left"], pair.samples["right"]
    assert np.allclose(found["minus"], left - right)
    assert np.allclose(found["plus"], left + right)


def test_names_that_cannot_be_matched_are_refused(bench, pair):
    unknown = Case(
        pair.hub, [spec("a", None, 4), spec("b", None, 4)], pair.outputs, pair.samples,
        pair.directory,
    )  # fmt: skip
    with pytest.raises(ConversionError, match="which is which of a, b cannot be told"):
        bench.open(unknown)


def test_a_missing_input_is_named(bench, cnn):
    more = Case(
        cnn.hub, [*cnn.inputs, spec("extra", None, 2)], cnn.outputs, cnn.samples, cnn.directory
    )
    with pytest.raises(ConversionError, match=r"1 inputs, the source has 2 \(image, extra\)"):
        bench.open(more)


def test_a_broken_file_is_one_line(bench, cnn, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(cnn.hub.read_bytes()[:200])
    with pytest.raises(ConversionError, match="OpenVINO cannot read the model") as raised:
        bench.open(Case(broken, cnn.inputs, cnn.outputs, cnn.samples, tmp_path / "s"))
    assert "\n" not in str(raised.value)


# -------------------------------------------------------------------------------------- static int8


@pytest.mark.parametrize("method", ranges.METHODS)
def test_int8_stays_close_with_every_method(bench, cnn, method):
    bench.open(cnn)
    made = bench.convert(cnn, "int8", method)
    assert made["quantized_share"] == 1.0
    assert made["warnings"] == []
    assert sqnr_db(cnn.reference()["class"], bench.run(made, cnn.samples)["class"]) > 25


def test_int8_weights_are_a_quarter_of_the_size(bench, dense):
    bench.open(dense)
    sizes = [
        Path(bench.convert(dense, precision)["files"][1]).stat().st_size
        for precision in ("fp32", "int8")
    ]
    assert sizes[1] < 0.35 * sizes[0]


@pytest.mark.parametrize(("io", "lowest"), [("int8", -128), ("uint8", 0)])
def test_integer_inputs_and_outputs_mean_what_their_scale_says(bench, cnn, io, lowest):
    bench.open(cnn)
    made = bench.convert(cnn, "int8", "minmax", io)
    given, taken = made["inputs"][0], made["outputs"][0]
    assert (given["dtype"], taken["dtype"]) == (io, io)
    values = cnn.samples["image"]
    assert given["scale"] == pytest.approx((values.max() - values.min()) / 255, rel=0.01)
    real_low = given["scale"] * (lowest - given["zero_point"])
    assert real_low == pytest.approx(values.min(), abs=given["scale"])
    assert (taken["scale"], taken["zero_point"]) == (1 / 256, lowest)  # softmax
    # The execution quantizes and dequantizes by these figures alone: the file has none.
    assert sqnr_db(cnn.reference()["class"], bench.run(made, cnn.samples)["class"]) > 25


def test_outputs_without_known_bounds_take_their_range_from_the_samples(bench, dense):
    bench.open(dense)
    made = bench.convert(dense, "int8", "minmax", "int8")
    outputs = dense.reference()["y"]
    expected = (outputs.max() - outputs.min()) / 255
    assert made["outputs"][0]["scale"] == pytest.approx(expected, rel=0.01)
    assert sqnr_db(outputs, bench.run(made, dense.samples)["y"]) > 25


def test_integer_inputs_without_a_scale_stay_integers(bench, tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "axis"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w"], ["y"]),
    ]
    constants = {"table": weights(50, 16), "axis": np.array([1]), "w": weights(16, 4)}
    hub = save(
        tmp_path / "ids.onnx", nodes, [("ids", TensorProto.INT32, ["n", 6])],
        [("y", FLOAT, ["n", 4])], constants,
    )  # fmt: skip
    samples = {"ids": RANDOM.integers(0, 50, (20, 6)).astype(np.int32)}
    case = Case(
        hub, [spec("ids", None, 6, dtype="int32")], [spec("y", None, 4)], samples, tmp_path / "s"
    )
    bench.open(case)
    made = bench.convert(case, "int8", io="int8")
    assert (made["inputs"][0]["dtype"], made["inputs"][0]["scale"]) == ("int32", None)
    assert made["outputs"][0]["dtype"] == "int8"
    assert sqnr_db(case.reference()["y"], bench.run(made, samples)["y"]) > 20


def test_int8_weights_overflow_no_16_bit_sum(bench, dense, cnn):
    for case in (dense, cnn):
        bench.open(case)
        for name, grid in stored(bench.convert(case, "int8"), "i8").items():
            lined = np.moveaxis(grid, 1, 0).astype(int)
            if len(lined) < 2 or grid.ndim > 4:  # depthwise: no input channels to sum
                continue
            lined = np.concatenate([lined, np.zeros_like(lined[:1])]) if len(lined) % 2 else lined
            first, second = lined[0::2], lined[1::2]
            extreme = 255 * np.maximum(
                first.clip(0) + second.clip(0), (-first).clip(0) + (-second).clip(0)
            )
            assert extreme.max() < 2**15, name


def test_large_activations_and_weights_do_not_saturate(bench, tmp_path):
    """On CPUs without VNNI, kernels with full-range weights give about half of the sum here."""
    constants = {"w": np.full((64, 8), 0.5, np.float32)}
    hub = save(
        tmp_path / "full.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", FLOAT, ["n", 64])],
        [("y", FLOAT, ["n", 8])],
        constants,
    )
    samples = {"x": RANDOM.uniform(200, 255, (16, 64)).astype(np.float32)}
    case = Case(hub, [spec("x", None, 64)], [spec("y", None, 8)], samples, tmp_path / "s")
    bench.open(case)
    found = bench.run(bench.convert(case, "int8"), samples)["y"]
    assert np.abs(found / (samples["x"].sum(1, keepdims=True) / 2) - 1).max() < 0.01


def test_biases_take_up_the_mean_error_of_rounded_weights(bench, tmp_path):
    """All activations are 1, so that the rounding of the weights is a constant error."""
    grid = np.full((64, 8), 0.4, np.float32)
    grid[0] = 127.0  # the scale is 1 or more: 0.4 rounds to 0, a loss of 0.4 · 63
    hub = save(
        tmp_path / "bias.onnx",
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        [("x", FLOAT, ["n", 64])],
        [("y", FLOAT, ["n", 8])],
        {"w": grid, "b": np.ones(8, np.float32)},
    )
    samples = {"x": np.ones((8, 64), np.float32)}
    case = Case(hub, [spec("x", None, 64)], [spec("y", None, 8)], samples, tmp_path / "s")
    bench.open(case)
    found = bench.run(bench.convert(case, "int8"), samples)["y"]
    assert np.abs(found - (127 + 0.4 * 63 + 1)).max() < 0.1


def test_attention_converts_to_int8(bench, tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("MatMul", ["x", "wv"], ["v"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["mixed"]),
        helper.make_node("Add", ["mixed", "x"], ["y"]),
    ]
    constants = {name: weights(16, 16) for name in ("wq", "wk", "wv")}
    hub = save(
        tmp_path / "attention.onnx", nodes, [("x", FLOAT, ["n", 6, 16])],
        [("y", FLOAT, ["n", 6, 16])], constants,
    )  # fmt: skip
    samples = {"x": RANDOM.normal(0, 1, (16, 6, 16)).astype(np.float32)}
    case = Case(hub, [spec("x", None, 6, 16)], [spec("y", None, 6, 16)], samples, tmp_path / "s")
    bench.open(case)
    made = bench.convert(case, "int8")
    assert made["quantized_share"] == 1.0
    assert sqnr_db(case.reference()["y"], bench.run(made, samples)["y"]) > 30


@pytest.mark.parametrize("precision", ["int8", "int8-weight"])
def test_recurrent_weights_become_int8(bench, tmp_path, precision):
    hidden = 16
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["xt", "w", "r", "b"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("MatMul", ["state", "d"], ["y"]),
    ]
    constants = {
        "w": weights(1, 4 * hidden, 8), "r": weights(1, 4 * hidden, hidden),
        "b": weights(1, 8 * hidden), "d": weights(hidden, 3), "axis": np.array([0]),
    }  # fmt: skip
    hub = save(
        tmp_path / "lstm.onnx", nodes, [("x", FLOAT, ["n", 10, 8])], [("y", FLOAT, ["n", 3])],
        constants,
    )  # fmt: skip
    samples = {"x": RANDOM.normal(0, 1, (16, 10, 8)).astype(np.float32)}
    case = Case(hub, [spec("x", None, 10, 8)], [spec("y", None, 3)], samples, tmp_path / "s")
    bench.open(case)
    made = bench.convert(case, precision)
    assert made["quantized_share"] == 1.0
    assert sqnr_db(case.reference()["y"], bench.run(made, samples)["y"]) > 25


# ------------------------------------------------------------------------ single layers, tensors


def test_layers_kept_in_float_have_float_weights(bench, dense):
    bench.open(dense)
    every = bench.convert(dense, "int8")
    ranked = bench.converter.call(
        "rank_layers", samples=str(dense.directory), artifact=every["files"][0], limit=1
    )
    assert len(ranked) == 1
    kept = bench.convert(dense, "int8", float_layers=[ranked[0]["layer"]])
    assert len(stored(kept, "i8")) == len(stored(every, "i8")) - 1
    assert 0.3 < kept["quantized_share"] < 0.7
    reference = dense.reference()["y"]
    quantized, half = (bench.run(made, dense.samples)["y"] for made in (every, kept))
    assert sqnr_db(reference, half) > sqnr_db(reference, quantized)


def test_the_layer_that_does_the_damage_is_ranked_first(bench, tmp_path):
    """The first layer's input has a lone huge value, whose weight is nearly zero."""
    first = weights(16, 16)
    first[0] = 1e-5
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["g"]),
        helper.make_node("Relu", ["g"], ["s"]),
        helper.make_node("MatMul", ["s", "w3"], ["y"]),
    ]
    hub = save(
        tmp_path / "ranked.onnx", nodes, [("x", FLOAT, ["n", 16])], [("y", FLOAT, ["n", 16])],
        {"w1": first, "w2": weights(16, 16), "w3": weights(16, 16)},
    )  # fmt: skip
    values = RANDOM.normal(0, 1, (32, 16)).astype(np.float32)
    values[:, 0] = 300
    case = Case(hub, [spec("x", None, 16)], [spec("y", None, 16)], {"x": values}, tmp_path / "s")
    bench.open(case)
    made = bench.convert(case, "int8")
    arguments = {"samples": str(case.directory), "artifact": made["files"][0]}
    ranked = bench.converter.call("rank_layers", limit=9, **arguments)
    assert len(ranked) == 3
    assert ranked[0]["layer"] == "h"
    assert [one["sqnr_db"] for one in ranked] == sorted(one["sqnr_db"] for one in ranked)
    assert ranked[1]["sqnr_db"] - ranked[0]["sqnr_db"] > 10
    assert len(bench.converter.call("rank_layers", limit=2, **arguments)) == 2


def test_single_tensors_take_another_method(bench, cnn):
    bench.open(cnn)
    tensors = bench.converter.call("tensors", samples=str(cnn.directory))
    assert "image" in tensors
    plain, clipped = (
        bench.convert(cnn, "int8", "minmax", "int8", overrides=overrides)
        for overrides in ({}, {"image": "percentile"})
    )
    assert clipped["inputs"][0]["scale"] < plain["inputs"][0]["scale"]


def test_an_unknown_float_layer_is_named(bench, dense):
    bench.open(dense)
    with pytest.raises(ConversionError, match="no layer 'nowhere' to keep in float"):
        bench.convert(dense, "int8", float_layers=["nowhere"])


# ------------------------------------------------------------------------------------ weight-only


def test_int4_weights_of_dense_layers_are_stored_in_four_bits(bench, dense):
    bench.open(dense)
    made = bench.convert(dense, "int4-weight")
    assert made["quantized_share"] == 1.0
    assert Path(made["files"][1]).stat().st_size < (64 * 64 + 64 * 32) * 0.75 + 4 * 96 + 512
    assert made["runtime_options"]["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    assert sqnr_db(dense.reference()["y"], bench.run(made, dense.samples)["y"]) > 12


def test_int4_that_falls_back_to_int8_is_refused_with_the_share(bench, cnn):
    bench.open(cnn)
    with pytest.raises(ConversionError, match=r"only \d+% of the weights.*int8-weight"):
        bench.convert(cnn, "int4-weight")


def test_int8_weight_keeps_activations_in_float(bench, cnn):
    bench.open(cnn)
    made = bench.convert(cnn, "int8-weight")
    assert made["quantized_share"] == 1.0
    assert "FakeQuantize" not in Path(made["files"][0]).read_text()
    assert sqnr_db(cnn.reference()["class"], bench.run(made, cnn.samples)["class"]) > 30


# ------------------------------------------------------------------------- repeatability, refusals


def test_two_conversions_give_the_same_bytes(bench, cnn, dense, tmp_path):
    requests = [
        ("fp32", "float32"),
        ("fp16", "float32"),
        ("int8", "int8"),
        ("int8-weight", "float32"),
    ]

    def digests(converter):
        found = []
        for precision, io in requests:
            made = converter.convert(cnn, precision, io=io)
            found += [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in made["files"]]
        return found

    bench.open(dense)  # so that generated names have counted up
    bench.convert(dense, "int8")
    bench.open(cnn)
    with Worker("edgekit.converters.openvino:Converter", "another converter") as fresh:
        (tmp_path / "fresh").mkdir()
        other = Bench((fresh, None), tmp_path / "fresh")
        other.open(cnn)
        assert digests(bench) == digests(other)


@pytest.mark.parametrize("precision", ["int8-dynamic", "int16x8"])
def test_precisions_that_openvino_lacks_are_refused_with_those_it_has(bench, cnn, precision):
    bench.open(cnn)
    with pytest.raises(ConversionError, match="fp32, fp16, int8, int8-weight, int4-weight"):
        bench.convert(cnn, precision)


@pytest.mark.parametrize(("precision", "io"), [("fp16", "int8"), ("int8", "int16")])
def test_io_types_that_cannot_be_are_refused(bench, cnn, precision, io):
    bench.open(cnn)
    with pytest.raises(ConversionError, match="--input-type"):
        bench.convert(cnn, precision, io=io)


def test_a_quantized_source_is_refused(bench, tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = {"q": np.arange(64, dtype=np.int8).reshape(8, 8), "scale": np.float32(0.1)}
    constants = {name: np.asarray(value) for name, value in constants.items()}
    hub = save(
        tmp_path / "q.onnx", nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 8])], constants
    )
    case = Case(
        hub, [spec("x", None, 8)], [spec("y", None, 8)], {"x": np.ones((2, 8), np.float32)},
        tmp_path / "s",
    )  # fmt: skip
    with pytest.raises(ConversionError, match="quantized already"):
        bench.open(case)


def test_a_full_disk_is_one_line(bench, cnn):
    bench.open(cnn)
    folder = bench.directory / "1"
    folder.mkdir()
    (folder / "m.bin").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="OpenVINO cannot write"):
        bench.converter.call(
            "convert", out=str(folder / "m.xml"), precision="fp32", method=None, samples=None,
            seed=0, float_layers=[], input_type="float32", output_type="float32",
        )  # fmt: skip


def test_methods_are_those_of_static_int8(bench, cnn):
    assert bench.converter.call("methods", precision="int8") == list(ranges.METHODS)
    assert bench.converter.call("methods", precision="int8-weight") == []


def test_samples_with_nan_are_refused(bench, cnn, tmp_path):
    values = cnn.samples["image"].copy()
    values[3, 0, 0, 0] = np.nan
    bad = Case(cnn.hub, cnn.inputs, cnn.outputs, {"image": values}, tmp_path / "s")
    bench.open(bad)
    with pytest.raises(DataError, match="NaN or infinity at 'image'"):
        bench.convert(bad, "int8")


def test_samples_for_another_input_are_refused(bench, cnn, tmp_path):
    bad = Case(cnn.hub, cnn.inputs, cnn.outputs, {"photo": cnn.samples["image"]}, tmp_path / "s")
    bench.open(bad)
    with pytest.raises(DataError, match="no array for input 'image', only for photo"):
        bench.convert(bad, "int8")


# ------------------------------------------------------------------------------- the kernel check


@pytest.fixture(scope="module")
def probe():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with Worker("openvino_probe:Probe", "the probe") as worker:
            yield worker


def test_a_sound_artifact_ships_as_asked(probe):
    settled = probe.call("settle", faults=[None])
    assert settled == {"written": ["[1,4]"], "shape": [1, 4], "warnings": []}


def test_wrong_kernels_with_a_static_batch_free_the_batch_and_say_so(probe):
    settled = probe.call("settle", faults=["its outputs change from run to run", None])
    assert settled["written"] == ["[1,4]", "[?,4]"]
    assert settled["shape"] == [None, 4]
    assert "its outputs change from run to run" in settled["warnings"][0]


def test_kernels_that_stay_wrong_are_refused(probe):
    with pytest.raises(ConversionError, match="runs the int8 model wrongly on this CPU: still"):
        probe.call("settle", faults=["first", "still"])


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ([1.01, 2.0, 3.0], [1.01, 2.0, 3.0], None),
        ([1.01, 2.0, 3.0], [1.01, 2.0, 3.1], "its outputs change from run to run"),
        ([3.0, -2.0, 0.0], [3.0, -2.0, 0.0], "its kernels reach"),
    ],
)
def test_the_check_knows_garbage_from_rounding(probe, first, second, found):
    said = probe.call(
        "judge", expected=[1.0, 2.0, 3.0], simulated=[1.0, 2.01, 3.0], first=first, second=second
    )
    assert said is None if found is None else said.startswith(found)


def test_layer_names_depend_on_the_graph_alone(probe):
    first, second = probe.call("names")
    assert first == second == ["x", "Constant_0", "Add_0", "Relu_0", "Relu_1", "y"]


# ------------------------------------------------------------------------------------- the ranges


def collected(samples):
    statistics = ranges.TensorStatistics()
    for sample in samples:
        statistics.add_extremes(float(sample.min()), float(sample.max()))
    for sample in samples:
        statistics.add_values(sample)
    return statistics


@pytest.fixture(scope="module")
def spread():
    random = np.random.default_rng(0)
    return [random.normal(0, 1 + k / 4, (20, 60)).astype(np.float32) for k in range(8)]


def test_minmax_covers_every_value(spread):
    everything = np.concatenate(spread)
    assert ranges.choose(collected(spread), "minmax") == (everything.min(), everything.max())


def test_moving_average_is_the_mean_of_the_samples_extremes(spread):
    low, high = ranges.choose(collected(spread), "moving-average")
    assert low == pytest.approx(np.mean([one.min() for one in spread]))
    assert high == pytest.approx(np.mean([one.max() for one in spread]))


def test_percentile_agrees_with_numpy(spread):
    everything = np.concatenate(spread)
    width = float(everything.max() - everything.min()) / ranges.BINS
    expected = np.quantile(everything, [1e-4, 1 - 1e-4], method="inverted_cdf")
    found = ranges.choose(collected(spread), "percentile")
    assert found == pytest.approx(tuple(map(float, expected)), abs=1.01 * width)


def test_mse_beats_minmax_on_values_with_an_outlier():
    values = np.random.default_rng(1).normal(0, 1, 200_000).astype(np.float32)
    values[0] = 40.0

    def error(limits):
        scale, zero_point = ranges.affine(limits)
        grid = np.clip(np.rint(values / scale) + zero_point, 0, 255)
        return np.square(values - scale * (grid - zero_point)).sum()

    statistics = collected([values])
    best = error(ranges.choose(statistics, "mse"))
    assert best < 0.8 * error(ranges.choose(statistics, "minmax"))
    tried = (error((-high * 5 / 40, high)) for high in np.linspace(5, 40, 36))
    assert best < 1.05 * min(tried)


@pytest.mark.parametrize("limits", [(0.0, 5.0), (-3.0, 0.0), (-1.0, 3.0), (2.0, 7.0), (-9.0, -4.0)])
def test_the_grid_holds_zero_and_the_range(limits):
    scale, zero_point = ranges.affine(limits)
    assert 0 <= zero_point <= 255
    low, high = -zero_point * scale, (255 - zero_point) * scale
    assert low <= min(limits[0], 0) + scale / 2
    assert high >= max(limits[1], 0) - scale / 2
    assert high - low <= (max(limits[1], 0) - min(limits[0], 0)) * 1.01


def test_a_constant_zero_has_a_grid():
    scale, zero_point = ranges.affine((0.0, 0.0))
    assert scale > 0
    assert zero_point == 0
