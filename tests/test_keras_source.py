"""Keras models of both generations: what they are, and that they answer as plain Keras does."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DataError, ModelError
from edgekit.types import ModelInfo

ZOO = (
    "tiny_cnn", "residual", "several", "nested", "sequence", "states", "words", "transformer",
    "named",
)  # fmt: skip


def opened(worker, path, **options) -> ModelInfo:
    return msgspec.convert(worker.call("open", path=str(path), **options), type=ModelInfo)


def predict(worker, directory, batches):
    chunks.write(directory / "in", batches)
    worker.call("predict", samples=str(directory / "in"), outputs=str(directory / "out"))
    return chunks.read_all(directory / "out")


@pytest.mark.parametrize("generation", ["keras3", "keras2"])
@pytest.mark.parametrize("name", ZOO)
def test_a_model_answers_as_it_does_in_plain_keras(
    models, keras_source, recorded, tmp_path, generation, name
):
    path = models / generation / f"{name}.keras"
    x, y = recorded(path)
    info = opened(keras_source, path)
    assert info.generation == generation
    assert {spec.name for spec in info.inputs} == set(x)
    assert [spec.name for spec in info.outputs] == list(y)
    found = predict(keras_source, tmp_path, [x])
    for output, expected in y.items():
        np.testing.assert_allclose(found[output], expected, atol=2e-6)


@pytest.mark.parametrize("generation", ["keras3", "keras2"])
@pytest.mark.parametrize("name", ["tiny_cnn", "several", "nested"])
def test_an_h5_file_of_either_generation_answers_like_its_keras_file(
    models, keras_source, recorded, tmp_path, generation, name
):
    path = models / generation / f"{name}.h5"
    x, y = recorded(path)
    info = opened(keras_source, path)
    assert (info.format, info.generation) == ("h5", generation)
    for output, found in predict(keras_source, tmp_path, [x]).items():
        np.testing.assert_allclose(found, y[output], atol=2e-6)


def test_a_replayed_model_says_how_far_it_is_from_its_source(keras_source, tiny_cnn_h5_legacy):
    notes = opened(keras_source, tiny_cnn_h5_legacy).notes
    assert notes[0].startswith("replayed from tf_keras: largest difference")


def test_a_savedmodel_without_keras_layers_answers_by_its_signature(
    models, keras_source, recorded, tmp_path, tiny_cnn_savedmodel
):
    x, y = recorded(models / "keras3" / "tiny_cnn.keras")
    info = opened(keras_source, tiny_cnn_savedmodel)
    assert (info.format, info.generation) == ("savedmodel", None)
    assert "signature" in info.notes[0]
    (given,), (made,) = info.inputs, info.outputs
    found = predict(keras_source, tmp_path, [{given.name: x["image"]}])
    np.testing.assert_allclose(found[made.name], y["classes"], atol=2e-6)
    kinds = {layer.kind for layer in info.layers}
    assert {"Conv2D", "MatMul"} <= kinds


def test_a_savedmodel_with_keras_metadata_is_replayed(models, keras_source, recorded, tmp_path):
    x, y = recorded(models / "keras2" / "tiny_cnn.keras")
    info = opened(keras_source, models / "keras2" / "tiny_cnn_saved")
    assert (info.format, info.generation) == ("savedmodel", "keras2")
    assert [layer.kind for layer in info.layers][:2] == ["Conv2D", "BatchNormalization"]
    found = predict(keras_source, tmp_path, [x])
    np.testing.assert_allclose(found["classes"], y["classes"], atol=2e-6)


def test_a_savedmodel_of_tensorflow_1_answers(models, keras_source, tmp_path):
    info = opened(keras_source, models / "saved" / "tf1")
    assert [spec.name for spec in info.inputs] == ["x"]
    found = predict(keras_source, tmp_path, [{"x": np.array([[1, 2, 3]], np.float32)}])
    np.testing.assert_allclose(found["y"], [[6, 6]])  # weights are ones


def test_a_savedmodel_with_other_signatures_names_them(models, keras_source):
    with pytest.raises(ModelError, match=r"\['a', 'b'\], and not serving_default"):
        keras_source.call("open", path=str(models / "saved" / "two"))


def test_samples_in_uneven_batches_come_back_in_order(
    models, keras_source, recorded, tmp_path, tiny_cnn_keras
):
    x, y = recorded(tiny_cnn_keras)
    many = np.concatenate([x["image"]] * 30)  # 150: more than one call takes
    opened(keras_source, tiny_cnn_keras)
    found = predict(keras_source, tmp_path, [{"image": many[:97]}, {"image": many[97:]}])
    np.testing.assert_allclose(found["classes"], np.concatenate([y["classes"]] * 30), atol=2e-6)


def test_a_model_with_a_fixed_batch_takes_any_number_of_samples(models, keras_source, tmp_path):
    opened(keras_source, models / "refused" / "batch4.keras")
    x = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    found = predict(keras_source, tmp_path, [{"fixed": x}])["out"]
    again = predict(keras_source, tmp_path / "again", [{"fixed": x[4:]}])["out"]
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found[4:], again)


def test_samples_of_the_wrong_shape_name_the_input(keras_source, tiny_cnn_keras, tmp_path):
    opened(keras_source, tiny_cnn_keras)
    with pytest.raises(DataError, match="image"):
        predict(keras_source, tmp_path, [{"image": np.zeros((2, 9, 8, 1), np.float32)}])


def test_a_model_of_reduced_precision_is_computed_in_float32_and_says_so(models, keras_source):
    info = opened(keras_source, models / "refused" / "mixed.keras")
    assert info.notes == ("trained in mixed_float16; computed in float32",)
    assert info.outputs[0].dtype == "float32"


def test_layers_of_nested_models_are_listed_with_their_path(models, keras_source):
    info = opened(keras_source, models / "keras3" / "nested.keras")
    inside = [layer for layer in info.layers if layer.name == "inner/inside"]
    assert [layer.parameters for layer in inside] == [3 * 3 * 2 * 3 + 3, 0]  # called twice
    assert [layer.macs for layer in inside] == [4 * 4 * 3 * 3 * 2 * 3] * 2
    assert info.parameters == 57 + 4 * 3


def test_a_layer_that_keras_does_not_know_is_one_line(models, keras_source, tmp_path):
    path = tmp_path / "unknown.h5"
    source = (models / "keras2" / "several.h5").read_bytes()
    assert source.count(b'"Concatenate"') == 1
    path.write_bytes(source.replace(b'"Concatenate"', b'"Concatenote"'))
    with pytest.raises(ModelError) as caught:
        keras_source.call("open", path=str(path))
    assert "Concatenote" in caught.value.message
    assert len(str(caught.value)) < 600
