"""SavedModels whose graphs reach beyond tensors are refused; the saver they all carry is not."""

from __future__ import annotations

import shutil

import pytest

from edgekit import graph_safety, loading
from edgekit.errors import ModelError


@pytest.mark.parametrize(
    ("name", "operator"),
    [("write", "WriteFile"), ("python", "PyFunc"), ("save", "SaveV2 outside the saver")],
)
def test_an_operator_that_reaches_out_is_named(models, name, operator):
    with pytest.raises(ModelError, match=operator):
        loading.identify(models / "saved" / name)
    assert loading.identify(models / "saved" / name, trust=True).format == "savedmodel"
    assert not (models / "written").exists()


@pytest.mark.parametrize(
    "name", ["saved/tf1", "saved/two", "keras3/sequence_saved", "keras2/tiny_cnn_saved"]
)
def test_ordinary_savedmodels_pass_with_their_savers(models, name):
    content = (models / name / "saved_model.pb").read_bytes()
    assert b"SaveV2" in content
    graph_safety.check_saved_model(memoryview(content), models / name, trust=False)


def test_a_damaged_graph_is_refused_even_with_trust(models, tmp_path):
    shutil.copytree(models / "saved" / "two", tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\x12\xff\xff")
    with pytest.raises(ModelError, match="damaged"):
        loading.identify(tmp_path / "m", trust=True)


def node(name: str, op: str, *inputs: str) -> bytes:
    return field(1, name) + field(2, op) + b"".join(field(3, entry) for entry in inputs)


def field(number: int, content: str | bytes) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2]) + length(len(data)) + data


def length(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def saved_model(*nodes: bytes, output: str) -> memoryview:
    graph = b"".join(field(1, entry) for entry in nodes)
    tensor = field(1, output + ":0")
    signature = field(1, "serving_default") + field(2, field(2, field(1, "y") + field(2, tensor)))
    return memoryview(field(2, field(2, graph) + field(5, signature)))


def test_a_checkpoint_operator_passes_beside_the_signature_and_not_under_it(tmp_path):
    nodes = [node("x", "Placeholder"), node("save/SaveV2", "SaveV2"), node("y", "Relu", "x:0")]
    beside = saved_model(*nodes, output="y")
    graph_safety.check_saved_model(beside, tmp_path, trust=False)
    under = saved_model(*nodes[:2], node("y", "Relu", "x:0", "^save/SaveV2"), output="y")
    with pytest.raises(ModelError, match="SaveV2 outside the saver"):
        graph_safety.check_saved_model(under, tmp_path, trust=False)


def test_keras_metadata_is_found_where_tf_keras_leaves_it(models):
    for name, stored in (("keras2/tiny_cnn_saved", True), ("keras3/tiny_cnn_saved", False)):
        content = memoryview((models / name / "saved_model.pb").read_bytes())
        configs = graph_safety.stored_keras_configs(models / name, content)
        assert bool(configs) is stored


def test_a_savedmodel_with_a_lambda_is_used_by_its_signature_alone(models, keras_source, tmp_path):
    # A Lambda of Keras metadata would be revived, and its code run, if the layers were loaded.
    shutil.copytree(models / "keras2" / "tiny_cnn_saved", tmp_path / "m")
    metadata = tmp_path / "m" / "keras_metadata.pb"
    content = metadata.read_bytes()
    assert b'"class_name": "ReLU", ' in content
    metadata.write_bytes(content.replace(b'"class_name": "ReLU", ', b'"class_name":"Lambda",'))
    info = keras_source.call("open", path=str(tmp_path / "m"))
    assert info["generation"] is None
    assert "executes code stored in the file" in info["notes"][0]
