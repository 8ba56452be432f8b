"""The float `.onnx` that Keras models are exported to: names, values, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from edgekit import registry
from edgekit.errors import ConversionError
from edgekit.types import ModelInfo
from edgekit.workers import Worker

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)

ZOO = (
    "tiny_cnn", "residual", "several", "nested", "sequence", "states", "words", "transformer",
    "named",
)  # fmt: skip


def exported(worker, model, path):
    info = msgspec.convert(worker.call("open", path=str(model)), type=ModelInfo)
    worker.call("export_onnx", path=str(path), batch=1)
    return info


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    given = {entry.name: entry.type for entry in session.get_inputs()}
    feed = {name: x[name].astype(np.int32 if "int32" in kind else np.float32)
            for name, kind in given.items()}  # fmt: skip
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("name", ZOO)
def test_onnx_keeps_names_and_values(models, keras_source, recorded, tmp_path, name):
    """CNN, LSTM, GRU and a transformer with exact GELU among them: Erfc is no ONNX operator."""
    model = models / "keras3" / f"{name}.keras"
    x, y = recorded(model)
    info = exported(keras_source, model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    found = run(tmp_path / "m.onnx", x)
    assert list(found) == [spec.name for spec in info.outputs]
    for output, expected in y.items():
        np.testing.assert_allclose(found[output], expected, atol=1e-4)


def test_recurrent_layers_become_operators_and_not_loops(models, keras_source, tmp_path):
    exported(keras_source, models / "keras3" / "states.keras", tmp_path / "m.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert "LSTM" in kinds
    assert "Loop" not in kinds


@pytest.mark.slow
def test_equal_models_give_equal_bytes_in_processes_of_their_own(models, tmp_path):
    for path in (tmp_path / "one.onnx", tmp_path / "two.onnx"):
        with Worker("edgekit.keras_source:Source", "the Keras source") as worker:
            exported(worker, models / "keras3" / "transformer.keras", path)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_an_operation_that_onnx_lacks_is_named_with_its_layer(keras_source, tmp_path):
    script = """
import keras, sys
x = keras.Input((8,), name="x")
keras.Model(x, keras.layers.Dense(2, name="tail")(keras.ops.erfinv(x))).save(sys.argv[1])
"""
    path = str(tmp_path / "m.keras")
    subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True)
    keras_source.call("open", path=path)
    with pytest.raises(ConversionError, match=r"needs Erfinv, which ONNX has no operator for"):
        keras_source.call("export_onnx", path=str(tmp_path / "m.onnx"), batch=1)
    assert not (tmp_path / "m.onnx").exists()
