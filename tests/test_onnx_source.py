"""`.onnx` files as models, and what is refused of them before onnx sees them."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import chunks, inspection, loading
from edgekit.errors import ModelError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

DRAW = np.random.default_rng(0)
KERNEL = DRAW.standard_normal((4, 3, 3, 3)).astype(np.float32)
WEIGHTS = DRAW.standard_normal((4 * 6 * 6, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def convolution(tmp_path_factory):
    """Conv (no padding), Relu, Flatten, Gemm; the batch is called n."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["x", "kernel"], ["c"], name="conv"),
            node("Relu", ["c"], ["r"], name="relu"),
            node("Flatten", ["r"], ["f"], name="flat"),
            node("Gemm", ["f", "weights"], ["y"], name="out"),
        ],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 5])],
        [
            onnx.numpy_helper.from_array(KERNEL, "kernel"),
            onnx.numpy_helper.from_array(WEIGHTS, "weights"),
        ],
    )
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def expected(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    convolved = np.einsum("nchwij,ocij->nohw", windows, KERNEL)
    return np.maximum(convolved, 0).reshape(len(x), -1) @ WEIGHTS


def test_an_onnx_model_answers_as_numpy_does(convolution, tmp_path):
    x = DRAW.standard_normal((3, 3, 8, 8)).astype(np.float32)
    chunks.write(tmp_path / "in", [{"x": x}])
    with loading.opened(loading.identify(convolution)) as (worker, info):
        worker.call("predict", samples=str(tmp_path / "in"), outputs=str(tmp_path / "out"))
    assert [spec.name for spec in info.inputs + info.outputs] == ["x", "y"]
    found = chunks.read_all(tmp_path / "out")["y"]
    np.testing.assert_allclose(found, expected(x), rtol=1e-4, atol=1e-4)


def test_layers_parameters_and_macs_follow_the_formula(convolution):
    info = inspection.inspect(convolution)
    assert [layer.kind for layer in info.layers] == ["Conv", "Relu", "Flatten", "Gemm"]
    assert info.parameters == KERNEL.size + WEIGHTS.size
    assert info.macs == 6 * 6 * KERNEL.size + WEIGHTS.size
    assert (info.precision, info.inputs[0].shape) == ("fp32", (None, 3, 8, 8))


def test_weights_outside_the_directory_are_refused(convolution, tmp_path):
    model = onnx.load(convolution)
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert loading.identify(tmp_path / "m.onnx").format == "onnx"
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"weights in 'w.bin' are missing"):
        loading.identify(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    for location in ("../../etc/passwd", "/etc/passwd"):
        for entry in model.graph.initializer[0].external_data:
            if entry.key == "location":
                entry.value = location
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="outside the model's directory"):
            loading.identify(tmp_path / "m.onnx")


def test_a_graph_that_does_not_hold_together_is_one_line(convolution, tmp_path):
    model = onnx.load(convolution)
    model.graph.node[1].input[0] = "nothing"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="is not valid ONNX") as caught:
        inspection.inspect(tmp_path / "m.onnx")
    assert len(str(caught.value)) < 500
