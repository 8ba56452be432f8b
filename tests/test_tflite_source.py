"""`.tflite` files as models: interface, precision, values; and the reader behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekit import chunks, flatbuffer, inspection, loading, tflite_file, tflite_source
from edgekit.errors import ModelError


def test_a_tflite_model_answers_as_its_interpreter_does(
    tiny_cnn_tflite, tiny_cnn_keras, recorded, tmp_path
):
    x, y = recorded(tiny_cnn_keras)
    chunks.write(tmp_path / "in", [x])
    with loading.opened(loading.identify(tiny_cnn_tflite)) as (worker, info):
        worker.call("predict", samples=str(tmp_path / "in"), outputs=str(tmp_path / "out"))
    assert [spec.name for spec in info.inputs + info.outputs] == ["image", "classes"]
    assert (info.precision, info.format) == ("fp32", "tflite")
    np.testing.assert_allclose(
        chunks.read_all(tmp_path / "out")["classes"], y["classes"], atol=1e-5
    )


def test_opening_a_tflite_loads_no_tensorflow(tiny_cnn_tflite):
    code = (
        "import sys; from edgekit.tflite_source import Source; Source().open(sys.argv[1]);"
        "print(any(name in sys.modules for name in ('tensorflow', 'keras', 'tf_keras')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_cnn_tflite], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_layers_carry_shapes_versions_and_parameters(tiny_cnn_tflite):
    layers = inspection.inspect(tiny_cnn_tflite).layers
    assert [layer.kind for layer in layers][:2] == ["CONV_2D", "MAX_POOL_2D"]
    assert layers[0].output_shape == (1, 8, 8, 6)
    assert layers[0].parameters == 3 * 3 * 6 + 6  # batch norm is folded
    assert all(layer.version for layer in layers)


PRECISIONS = {
    "dynamic_wi8_afp32": "int8-dynamic",
    "weight_only_wi8_afp32": "int8-weight",
    "weight_only_wi4_afp32": "int4-weight",
}


@pytest.mark.parametrize("recipe", PRECISIONS)
def test_the_precision_of_a_quantized_file_is_told_by_its_weights(
    tiny_cnn_tflite, tmp_path, recipe
):
    pytest.importorskip("litert_quantizer")
    code = (
        "import sys; from litert_quantizer import quantizer, recipe\n"
        "q = quantizer.Quantizer(sys.argv[1])\n"
        f"q.load_quantization_recipe(recipe.{recipe}())\n"
        "open(sys.argv[2], 'wb').write(q.quantize().quantized_model)"
    )
    path = tmp_path / "q.tflite"
    subprocess.run(
        [sys.executable, "-c", code, tiny_cnn_tflite, path], check=True, capture_output=True
    )
    assert tflite_source.precision(tflite_file.read(path).main) == PRECISIONS[recipe]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlperf_tiny_ic_resnet8/pretrainedResnet.tflite", "fp32"),
        ("mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite", "int8"),
        ("mnist_lstm_tflite/trained_lstm_int8.tflite", "int8"),
        ("mnist_lstm_tflite/coral_keras_lstm_mnist_ptq.tflite", "int8"),
    ],
)
def test_the_precision_of_published_files(edgekit_data, name, expected):
    assert tflite_source.precision(tflite_file.read(edgekit_data / name).main) == expected


def test_the_reader_sees_what_the_interpreter_sees(tiny_cnn_tflite):
    interpreter = Interpreter(model_path=str(tiny_cnn_tflite))
    model = tflite_file.read(tiny_cnn_tflite)
    # The interpreter adds scratch tensors of its own behind those of the file.
    details = interpreter.get_tensor_details()[: len(model.main.tensors)]
    assert [entry["name"] for entry in details] == [tensor.name for tensor in model.main.tensors]
    for entry, tensor in zip(details, model.main.tensors, strict=True):
        assert tuple(entry["shape"]) == tensor.shape
        if tensor.constant and tensor.dtype == "float32":
            values = interpreter.get_tensor(entry["index"])
            np.testing.assert_array_equal(values.ravel(), tensor.data.view("<f4"))
    (signature,) = model.signatures
    assert (set(signature.inputs), set(signature.outputs)) == ({"image"}, {"classes"})


def test_no_truncation_gets_past_the_reader(tiny_cnn_tflite, tmp_path):
    content = tiny_cnn_tflite.read_bytes()
    draw = np.random.default_rng(1)
    for _ in range(200):
        (tmp_path / "m").write_bytes(content[: draw.integers(1, len(content))])
        with pytest.raises(flatbuffer.Malformed):
            tflite_file.read(tmp_path / "m")


OFFSETS = (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80")


def test_overwritten_offsets_end_in_malformed_and_nothing_else(tiny_cnn_tflite, tmp_path):
    content = tiny_cnn_tflite.read_bytes()
    draw = np.random.default_rng(2)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        at = draw.integers(len(damaged) - 4)
        damaged[at : at + 4] = OFFSETS[draw.integers(len(OFFSETS))]
        (tmp_path / "m").write_bytes(damaged)
        try:
            tflite_file.read(tmp_path / "m")
        except flatbuffer.Malformed:
            refused += 1
    assert refused > 20


def test_a_file_that_points_at_one_table_a_million_times_is_stopped():
    # A root table whose only field is a vector of 2000 offsets, all to the same table.
    count = 2000
    vector = b"".join((4 * (count - index)).to_bytes(4, "little") for index in range(count))
    head = (12).to_bytes(4, "little") + b"TFL3" + b"\x06\x00\x08\x00\x04\x00\x00\x00"
    root = (8).to_bytes(4, "little") + (4).to_bytes(4, "little")
    shared = (len(head) + len(root) + 4 + len(vector) - 8).to_bytes(4, "little") + bytes(4)
    content = head[:8] + b"\x06\x00\x08\x00\x04\x00" + bytes(2) + root
    content = (
        (16).to_bytes(4, "little") + content[4:] + count.to_bytes(4, "little") + vector + shared
    )
    reader = flatbuffer.Reader(content, max_visits=1000)
    with pytest.raises(flatbuffer.Malformed, match="more tables than any model has"):
        list(reader.root().children(0))


def test_a_model_that_needs_tensorflow_operators_names_them(tiny_cnn_tflite, tmp_path):
    import flatbuffers  # noqa: PLC0415
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415

    model = schema.ModelT.InitFromPackedBuf(tiny_cnn_tflite.read_bytes(), 0)
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    for custom, message in ((b"FlexErfc", "FlexErfc"), (b"MyConv", "MyConv")):
        code.customCode = custom
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        (tmp_path / "m.tflite").write_bytes(builder.Output())
        with pytest.raises(ModelError, match=message):
            inspection.inspect(tmp_path / "m.tflite")
