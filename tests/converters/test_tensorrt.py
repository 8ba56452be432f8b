"""The `.onnx` for TensorRT, and the linter: good files pass, known bad ones are told why."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks, registry
from edgekit.errors import ConversionError
from edgekit.workers import Worker

onnx = pytest.importorskip("onnx")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from edgekit.converters import tensorrt_lint  # noqa: E402


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs = _beside("onnx_graphs")


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """A small residual network in TensorRT's int8: its file, samples, and the float outputs."""
    folder = tmp_path_factory.mktemp("int8")
    hub = graphs.cnn(folder / "cnn.onnx")
    x = graphs.samples("image", 24, 4, 12, 12)
    chunks.write(folder / "samples", [x])
    sides = {"inputs": [("image", [None, 4, 12, 12])], "outputs": [("class", [None, 5])]}
    specs = {
        side: [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in entries]
        for side, entries in sides.items()
    }
    with Worker("edgekit.converters.tensorrt:Converter", "the converter") as worker:
        worker.call("open", hub=str(hub), batch=1, **specs)
        made = worker.call(
            "convert", out=str(folder / "m.onnx"), precision="int8", method="minmax",
            samples=str(folder / "samples"), seed=0, float_layers=[], input_type="float32",
            output_type="float32",
        )  # fmt: skip
        with pytest.raises(ConversionError, match="cannot have --input-type int8"):
            worker.call(
                "convert", out=str(folder / "i.onnx"), precision="int8", method="minmax",
                samples=str(folder / "samples"), seed=0, float_layers=[], input_type="int8",
                output_type="float32",
            )  # fmt: skip
    return Path(made["files"][0]), x, graphs.run(hub, x)["class"]


def constants(model):
    return {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}


def problems(model, **options):
    return [one.problem for one in tensorrt_lint.lint(model, **options)]


# -------------------------------------------------------------------------------- what is made


def test_int8_passes_the_linter_and_computes_what_the_model_does(int8):
    path, x, expected = int8
    assert problems(onnx.load(path), batch_varies=False) == []
    assert graphs.sqnr_db(expected, graphs.run(path, x, simulated=True)["class"]) > 25


def test_zero_points_are_0_and_biases_float(int8):
    model = onnx.load(int8[0])
    values = constants(model)
    pairs = [node for node in model.graph.node if node.op_type.endswith("eLinear")]
    assert pairs
    assert not any(values[node.input[2]].any() for node in pairs)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert values[node.input[2]].dtype == np.float32


def test_inputs_of_layers_and_the_residual_branch_are_quantized_and_outputs_are_not(int8):
    model = onnx.load(int8[0])
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            kinds = [producers[name].op_type for name in node.input[:2]]
            assert kinds == ["DequantizeLinear"] * 2, node.name
    residual = next(node for node in model.graph.node if node.op_type == "Add")
    kinds = sorted(producers[name].op_type for name in residual.input)
    assert kinds == ["Conv", "DequantizeLinear"]
    quantized = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantized) == len(set(quantized))


def test_weights_have_a_scale_per_output_channel(int8):
    model = onnx.load(int8[0])
    values = constants(model)
    axes = {"w1": (0, 8), "w2": (0, 8), "w3": (0, 8), "w4": (1, 5)}
    for name, (axis, channels) in axes.items():
        node = next(one for one in model.graph.node if one.output[0] == f"{name}_float")
        found = {entry.name: entry.i for entry in node.attribute}
        assert (found["axis"], values[node.input[1]].shape) == (axis, (channels,))


# ---------------------------------------------------------------------------------- the linter


def pair_model(scale=0.1, zero_point=0, kind=np.int8, shape=(1, 4)):
    """x → Q → DQ → y."""
    operands = ["scale"] if zero_point is None else ["scale", "zero"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *operands], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", *operands], ["y"], name="dequantize"),
    ]
    values = {"scale": np.array(scale, np.float32)}
    if zero_point is not None:
        values["zero"] = np.full(np.shape(scale), zero_point, kind)
    return model_of(nodes, values, shape)


def model_of(nodes, values=None, shape=(1, 4), kind=graphs.FLOAT, opset=18):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", kind, list(shape))],
        [onnx.numpy_helper.from_array(array, name) for name, array in (values or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_a_symmetric_pair_passes():
    assert problems(pair_model()) == []


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (pair_model(zero_point=3), "has a zero point that is not 0 (3)"),
        (pair_model(kind=np.uint8), "uses the unsigned type UINT8"),
        (pair_model(zero_point=None), "uses the unsigned type UINT8"),
        (pair_model(scale=0.0), "has a scale that is not above 0"),
        (pair_model(scale=[0.1, 0.1, 0.1, 0.1]), "an activation is quantized per channel"),
        (model_of([helper.make_node("Erfc", ["x"], ["y"])]), "Erfc is no operator of ONNX"),
        (
            model_of([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]),
            "no operators of the domain com.microsoft (Gelu)",
        ),
        (model_of([helper.make_node("Det", ["x"], ["y"])]), "TensorRT has no Det"),
        (
            model_of([helper.make_node("Relu", ["x"], ["y"])], shape=(1, "length")),
            "axis 1 of input 'x' may vary",
        ),
        (
            model_of([helper.make_node("Abs", ["x"], ["y"])], kind=onnx.TensorProto.INT16),
            "TensorRT has no type INT16",
        ),
        (
            model_of(
                [helper.make_node("Add", ["x", "half"], ["y"])], {"half": np.ones(4, np.float16)}
            ),
            "not valid ONNX",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_tensorrt_refuses_is_told(model, told):
    assert any(told in problem for problem in problems(model)), problems(model)


def test_a_batch_that_varies_needs_a_profile():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], shape=("n", 4))
    assert problems(model) == []
    assert "axis 0 of input 'x' may vary" in problems(model, batch_varies=False)[0]


def test_onnxruntimes_default_int8_is_refused_for_its_zero_points_and_its_biases(tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    x = graphs.samples("image", 8, 4, 12, 12)["image"]

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rows = iter(x)

        def get_next(self):
            row = next(self.rows, None)
            return None if row is None else {"image": row[None]}

    hub, out = graphs.cnn(tmp_path / "cnn.onnx"), tmp_path / "q.onnx"
    quantization.quantize_static(str(hub), str(out), Reader(), per_channel=True)
    found = problems(onnx.load(out))
    assert any("zero point that is not 0" in problem for problem in found)
    assert any("int32 input, as quantized biases have" in problem for problem in found)


def test_quantization_aware_training_as_tfmot_exports_it_is_refused():
    """Ranges of ReLU activations, [0, 6] on signed 8 bits: the zero point is −128."""
    found = problems(pair_model(scale=6 / 255, zero_point=-128))
    assert found == [
        "QuantizeLinear has a zero point that is not 0 (-128)",
        "DequantizeLinear has a zero point that is not 0 (-128)",
    ]
