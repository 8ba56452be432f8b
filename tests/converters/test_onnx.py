"""`.onnx` for ONNX Runtime: names, batch, types and values, against the file that it came from."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks, registry
from edgekit.errors import ConversionError
from edgekit.workers import Worker

onnx = pytest.importorskip("onnx")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs = _beside("onnx_graphs")


def spec(name, *shape):
    return {"name": name, "shape": list(shape), "dtype": "float32"}


CNN = ([spec("image", None, 4, 12, 12)], [spec("class", None, 5)])
DENSE = ([spec("x", None, 64)], [spec("y", None, 32)])


class Bench:
    """Converts files with one worker."""

    def __init__(self, worker, directory):
        self.worker, self.directory, self.made = worker, directory, 0

    def open(self, hub, sides, batch=1):
        return self.worker.call(
            "open", hub=str(hub), batch=batch, inputs=sides[0], outputs=sides[1]
        )

    def convert(self, precision, samples=None, method=None, io="float32", **extra):
        self.made += 1
        folder = self.directory / str(self.made)
        folder.mkdir()
        if samples:
            chunks.write(folder / "samples", [samples])
        options = {"float_layers": [], "input_type": io, "output_type": io, **extra}
        return self.worker.call(
            "convert", out=str(folder / "m.onnx"), precision=precision, method=method, seed=0,
            samples=str(folder / "samples"), **options,
        )  # fmt: skip


@pytest.fixture(scope="module")
def worker():
    with Worker("edgekit.converters.onnx:Converter", "the converter") as converter:
        yield converter


@pytest.fixture
def bench(worker, tmp_path):
    return Bench(worker, tmp_path)


@pytest.fixture
def cnn(bench, tmp_path):
    """The file, its samples and its outputs; open in the worker with batch 1."""
    path = graphs.cnn(tmp_path / "cnn.onnx")
    bench.open(path, CNN)
    x = graphs.samples("image", 24, 4, 12, 12)
    return path, x, graphs.run(path, x)["class"]


@pytest.fixture
def dense(bench, tmp_path):
    path = graphs.dense(tmp_path / "dense.onnx")
    bench.open(path, DENSE)
    x = graphs.samples("x", 32, 64)
    return path, x, graphs.run(path, x)["y"]


def shapes(path):
    model = onnx.load(path)
    return {
        value.name: [size.dim_value or size.dim_param for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


# ------------------------------------------------------------------------------ float artifacts


def test_fp32_has_the_sources_names_one_sample_and_its_values(bench, cnn):
    _, x, expected = cnn
    (path,) = bench.convert("fp32")["files"]
    assert shapes(path) == {"image": [1, 4, 12, 12], "class": [1, 5]}
    assert np.abs(graphs.run(path, x)["class"] - expected).max() < 1e-6
    assert "Identity" not in operators(path)
    onnx.checker.check_model(path, full_check=True)


def test_a_dynamic_batch_is_called_batch(bench, tmp_path):
    bench.open(graphs.cnn(tmp_path / "cnn.onnx"), CNN, batch=None)
    (path,) = bench.convert("fp32")["files"]
    assert shapes(path) == {"image": ["batch", 4, 12, 12], "class": ["batch", 5]}


def test_a_fixed_batch_stays_and_another_is_refused(bench, tmp_path):
    path = graphs.cnn(tmp_path / "cnn.onnx", batch=2)
    sides = ([spec("image", 2, 4, 12, 12)], [spec("class", 2, 5)])
    assert bench.open(path, sides, batch=2)["inputs"][0]["shape"] == [2, 4, 12, 12]
    with pytest.raises(ConversionError, match="fixed batch of 2; asked was 1") as caught:
        bench.open(path, sides)
    assert "--batch 2" in caught.value.fix


def test_fp16_halves_the_file_and_has_the_types_that_were_asked_for(bench, cnn):
    _, x, expected = cnn
    size = Path(bench.convert("fp32")["files"][0]).stat().st_size
    made = bench.convert("fp16")
    (path,) = made["files"]
    assert {one["dtype"] for one in (*made["inputs"], *made["outputs"])} == {"float32"}
    assert Path(path).stat().st_size < 0.75 * size
    assert np.abs(graphs.run(path, x)["class"] - expected).max() < 5e-3
    made = bench.convert("fp16", input_type="float16")
    assert made["inputs"][0]["dtype"] == "float16"
    half = {name: array.astype(np.float16) for name, array in x.items()}
    assert np.abs(graphs.run(made["files"][0], half)["class"] - expected).max() < 5e-3


def test_equal_requests_give_equal_bytes(bench, cnn):
    _, x, _ = cnn
    for precision in ("fp32", "fp16", "int8"):
        made = [bench.convert(precision, x)["files"][0] for _ in range(2)]
        first, second = (hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in made)
        assert first == second, precision


def test_an_old_opset_is_brought_up(bench, tmp_path):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    value = graphs.FLOAT
    path = graphs.save(
        tmp_path / "old.onnx", [node], [("x", value, ["n", 3])], [("y", value, ["n", 3])], {}, 9
    )
    bench.open(path, ([spec("x", None, 3)], [spec("y", None, 3)]))
    (made,) = bench.convert("fp32")["files"]
    assert onnx.load(made).opset_import[0].version == 18


# ------------------------------------------------------------------------------------ integers


def test_int8_runs_in_integer_kernels_throughout(bench, cnn, tmp_path):
    _, x, expected = cnn
    made = bench.convert("int8", x)
    (path,) = made["files"]
    assert made["quantized_share"] == 1
    assert graphs.sqnr_db(expected, graphs.run(path, x)["class"]) > 25
    kinds = graphs.kernels(path, tmp_path / "optimized.onnx")
    assert kinds.count("QLinearConv") == 3
    assert not {"Conv", "Gemm", "Add", "MatMul"} & set(kinds)


def test_int8_computes_what_the_file_says_on_this_cpu(bench, dense):
    """Kernels that add two products in 16 bits overflow with weights of full range."""
    _, x, expected = dense
    (path,) = bench.convert("int8", x)["files"]
    kernels, file = (graphs.run(path, x, simulated=mode)["y"] for mode in (False, True))
    assert graphs.sqnr_db(expected, kernels) > graphs.sqnr_db(expected, file) - 2
    assert graphs.sqnr_db(expected, kernels) > 30


def test_a_convolution_of_one_channel_computes_what_the_file_says_on_this_cpu(bench, tmp_path):
    path = graphs.gray(tmp_path / "gray.onnx")
    bench.open(path, ([spec("image", None, 1, 12, 12)], [spec("y", None, 8, 12, 12)]))
    x = {"image": np.random.default_rng(0).uniform(0, 1, (32, 1, 12, 12)).astype(np.float32)}
    expected = graphs.run(path, x)["y"]
    (made,) = bench.convert("int8", x)["files"]
    kernels, file = (graphs.run(made, x, simulated=mode)["y"] for mode in (False, True))
    assert graphs.sqnr_db(expected, kernels) > graphs.sqnr_db(expected, file) - 1
    assert graphs.sqnr_db(expected, kernels) > 35


def test_a_warning_of_overflow_says_what_the_artifact_gives(bench, dense):
    _, x, expected = dense
    made = bench.convert("int8", x)
    told = [text for text in made["warnings"] if "overflow" in text]
    if not told:
        pytest.skip("this CPU's int8 kernels add in 32 bits")
    before, _, after, file = map(float, re.findall(r"\d+\.\d", told[0]))
    kernels = graphs.sqnr_db(expected, graphs.run(made["files"][0], x)["y"])
    said = graphs.sqnr_db(expected, graphs.run(made["files"][0], x, simulated=True)["y"])
    assert (after, file) == (pytest.approx(kernels, abs=0.1), pytest.approx(said, abs=0.1))
    assert before < after - 2


@pytest.mark.parametrize(("kind", "lowest"), [("int8", -128), ("uint8", 0)])
def test_integer_inputs_and_outputs_have_a_scale_and_a_zero_point(bench, cnn, kind, lowest):
    _, x, expected = cnn
    made = bench.convert("int8", x, io=kind)
    given, taken = made["inputs"][0], made["outputs"][0]
    assert (given["dtype"], taken["dtype"]) == (kind, kind)
    assert (taken["scale"], taken["zero_point"]) == (1 / 256, lowest)  # softmax
    limits = np.iinfo(kind)
    grid = np.rint(x["image"] / given["scale"]) + given["zero_point"]
    stored = {"image": np.clip(grid, limits.min, limits.max).astype(kind)}
    found = graphs.run(made["files"][0], stored)["class"]
    assert found.dtype == kind
    real = (found.astype(np.float32) - taken["zero_point"]) * taken["scale"]
    assert graphs.sqnr_db(expected, real) > 20


def test_a_sigmoid_gives_more_than_the_calibration_samples_showed(bench, tmp_path):
    node = onnx.helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["logits"], name="dense"),
        node("Sigmoid", ["logits"], ["y"], name="sigmoid"),
    ]
    sides = [("x", graphs.FLOAT, ["n", 8])], [("y", graphs.FLOAT, ["n", 4])]
    path = graphs.save(tmp_path / "s.onnx", nodes, *sides, {"w": np.eye(8, 4, dtype=np.float32)})
    bench.open(path, ([spec("x", None, 8)], [spec("y", None, 4)]))
    x = np.random.default_rng(0).uniform(-4, 4, (64, 8)).astype(np.float32)
    low = {"x": x.copy()}
    low["x"][:, :4] = np.minimum(x[:, :4], 0)  # the four that count give 0.5 at most
    made = bench.convert("int8", low, io="int8")
    taken = made["outputs"][0]
    assert (taken["scale"], taken["zero_point"]) == (1 / 256, -128)
    scales = {
        entry.name: onnx.numpy_helper.to_array(entry)
        for entry in onnx.load(made["files"][0]).graph.initializer
    }
    assert scales["y_scale"] == np.float32(1 / 256)
    assert scales["y_zero_point"] == 0


def test_the_layers_around_an_outlier_are_named_and_stay_in_float(bench, tmp_path):
    path = graphs.dense(tmp_path / "dense.onnx", outlier=300)
    bench.open(path, DENSE)
    x = graphs.samples("x", 32, 64)
    expected = graphs.run(path, x)["y"]
    made = bench.convert("int8", x)
    samples = str(Path(made["files"][0]).parent / "samples")
    ranked = bench.worker.call("rank_layers", samples=samples, artifact=made["files"][0], limit=3)
    assert {one["layer"] for one in ranked[:2]} == {"one", "two"}
    assert ranked[1]["sqnr_db"] < ranked[2]["sqnr_db"] - 10
    kept = bench.convert("int8", x, float_layers=["one", "two"])
    before, after = (graphs.run(one["files"][0], x)["y"] for one in (made, kept))
    assert graphs.sqnr_db(expected, before) < 15
    assert graphs.sqnr_db(expected, after) > 30


def test_int8_dynamic_reaches_dense_layers(bench, dense, tmp_path):
    _, x, expected = dense
    (path,) = bench.convert("int8-dynamic")["files"]
    assert graphs.sqnr_db(expected, graphs.run(path, x)["y"]) > 30
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= set(operators(path))


def test_int8_dynamic_is_refused_where_convolutions_hold_the_weights(bench, cnn):
    with pytest.raises(ConversionError, match=r"int8-dynamic would reach only \d+% of this model"):
        bench.convert("int8-dynamic")


@pytest.mark.parametrize(
    ("precision", "options", "told"),
    [
        ("int4-weight", {}, "ONNX Runtime has no int4-weight"),
        ("fp32", {"io": "int8"}, "cannot have --input-type int8"),
        ("int8", {"io": "float16"}, "cannot have --input-type float16"),
        ("fp32", {"float_layers": ["nobody"]}, "no layer 'nobody' to keep in float"),
    ],
)
def test_what_is_not_possible_is_refused(bench, cnn, precision, options, told):
    with pytest.raises(ConversionError, match=told):
        bench.convert(precision, cnn[1], **options)


def test_a_quantized_source_is_refused(bench, cnn):
    (path,) = bench.convert("int8", cnn[1])["files"]
    with pytest.raises(ConversionError, match="is quantized already"):
        bench.open(path, ([spec("image", 1, 4, 12, 12)], [spec("class", 1, 5)]))
