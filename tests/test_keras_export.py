"""What is exported for the converters: names, values, batch, and what is refused by name."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekit import chunks, tflite_file
from edgekit.errors import ConversionError
from edgekit.types import ModelInfo
from edgekit.workers import Worker

ZOO = (
    "tiny_cnn", "residual", "several", "nested", "sequence", "states", "words", "transformer",
    "named",
)  # fmt: skip


def exported(worker, model, path, batch=1):
    info = msgspec.convert(worker.call("open", path=str(model)), type=ModelInfo)
    worker.call("export_tflite", path=str(path), batch=batch)
    return info


def run(path, x):
    """One sample after the other, by signature, without edgekit."""
    runner = Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    count = len(next(iter(x.values())))
    answers = [
        runner(**{name: values[index : index + 1] for name, values in x.items()})
        for index in range(count)
    ]
    return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}


@pytest.mark.parametrize("generation", ["keras3", "keras2"])
@pytest.mark.parametrize("name", ZOO)
def test_tflite_keeps_names_and_values(models, keras_source, recorded, tmp_path, generation, name):
    model = models / generation / f"{name}.keras"
    x, y = recorded(model)
    info = exported(keras_source, model, tmp_path / "m.tflite")
    found = run(tmp_path / "m.tflite", x)
    assert set(found) == {spec.name for spec in info.outputs} == set(y)
    for output, expected in y.items():
        np.testing.assert_allclose(found[output], expected, atol=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_a_savedmodel_keeps_names_and_values(models, keras_source, recorded, tmp_path, name):
    model = models / "keras3" / f"{name}.keras"
    x, y = recorded(model)
    keras_source.call("open", path=str(model))
    keras_source.call("export_savedmodel", path=str(tmp_path / "saved"), batch=None)
    info = msgspec.convert(keras_source.call("open", path=str(tmp_path / "saved")), type=ModelInfo)
    assert {spec.name for spec in info.inputs} == set(x)
    assert {spec.name for spec in info.outputs} == set(y)
    chunks.write(tmp_path / "in", [x])
    keras_source.call("predict", samples=str(tmp_path / "in"), outputs=str(tmp_path / "out"))
    found = chunks.read_all(tmp_path / "out")
    for output, expected in y.items():
        np.testing.assert_allclose(found[output], expected, atol=2e-6)


def test_tensors_are_named_like_the_signature(tiny_cnn_tflite):
    graph = tflite_file.read(tiny_cnn_tflite).main
    assert [graph.tensors[index].name for index in graph.inputs] == ["image"]
    assert [graph.tensors[index].name for index in graph.outputs] == ["classes"]


def test_the_batch_is_one_and_fixed_unless_asked(keras_source, tiny_cnn_keras, tmp_path):
    shapes = {}
    for batch in (1, 3, None):
        exported(keras_source, tiny_cnn_keras, tmp_path / "m.tflite", batch)
        graph = tflite_file.read(tmp_path / "m.tflite").main
        shapes[batch] = graph.tensors[graph.inputs[0]].shape
    assert shapes == {1: (1, 8, 8, 1), 3: (3, 8, 8, 1), None: (None, 8, 8, 1)}


def test_batch_norm_is_folded_and_no_weight_is_lost(tiny_cnn_tflite):
    names = [operator.name for operator in tflite_file.read(tiny_cnn_tflite).main.operators]
    assert names == ["CONV_2D", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    weights = 4 * (3 * 3 * 6 + 6 + 4 * 4 * 6 * 10 + 10)
    assert weights < tiny_cnn_tflite.stat().st_size < weights + 3000


def test_a_recurrent_savedmodel_traced_with_an_open_batch_converts_at_batch_1(
    models, keras_source, recorded, tmp_path
):
    x, y = recorded(models / "keras3" / "sequence.keras")
    info = exported(keras_source, models / "keras3" / "sequence_saved", tmp_path / "m.tflite")
    found = run(tmp_path / "m.tflite", {info.inputs[0].name: x["rows"]})
    np.testing.assert_allclose(found[info.outputs[0].name], y["classes"], atol=1e-5)


def test_a_recurrent_layer_with_a_dynamic_batch_is_named(models, keras_source, tmp_path):
    with pytest.raises(ConversionError, match="is recurrent") as caught:
        exported(keras_source, models / "keras3" / "states.keras", tmp_path / "m.tflite", None)
    assert "'rec'" in caught.value.message
    assert "--batch 1" in caught.value.fix


def test_an_operation_that_tflite_lacks_is_named(models, keras_source, tmp_path):
    with pytest.raises(ConversionError, match="MatrixInverse") as caught:
        exported(keras_source, models / "refused" / "inverse.keras", tmp_path / "m.tflite")
    assert not (tmp_path / "m.tflite").exists()
    assert len(str(caught.value)) < 300


def test_another_batch_than_the_models_own_is_refused(models, keras_source, tmp_path):
    model = models / "refused" / "batch4.keras"
    with pytest.raises(ConversionError, match=r"fixed batch of 4; asked was 1") as caught:
        exported(keras_source, model, tmp_path / "m.tflite")
    assert "--batch 4" in caught.value.fix
    exported(keras_source, model, tmp_path / "m.tflite", 4)


def test_a_model_that_keras_quantized_is_refused_by_layer(models, keras_source, tmp_path):
    with pytest.raises(ConversionError, match=r"layer 'classes' was quantized by Keras \(int8\)"):
        exported(keras_source, models / "refused" / "quantized.keras", tmp_path / "m.tflite")


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(models, tmp_path):
    digests = set()
    for attempt in ("a", "b"):
        with Worker("edgekit.keras_source:Source", "exporting") as worker:
            exported(worker, models / "keras3" / "residual.keras", tmp_path / attempt)
            worker.call("export_savedmodel", path=str(tmp_path / f"{attempt}_saved"), batch=1)
        digests.add(
            tuple(
                hashlib.sha256(path.read_bytes()).hexdigest()
                for path in (tmp_path / attempt, tmp_path / f"{attempt}_saved" / "saved_model.pb")
            )
        )
    assert len(digests) == 1
