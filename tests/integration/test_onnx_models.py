"""Real networks as ONNX: values, int8 in both dialects, and the linter."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import edgekit
from edgekit import registry

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
if registry.missing(registry.EXPORTERS["onnx"]):  # importing tf2onnx would load TensorFlow here
    pytest.skip("tf2onnx is not installed", allow_module_level=True)

from edgekit.converters import tensorrt_lint  # noqa: E402

pytestmark = pytest.mark.slow

BUILD = """
import keras, sys
keras.utils.set_random_seed(0)
model = getattr(keras.applications, sys.argv[1])(
    weights=None, input_shape=(96, 96, 3), classifier_activation=None
)
model.save(sys.argv[2])
"""


@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0"])
def test_keras_applications_keep_their_logits(name, tmp_path):
    model = tmp_path / "m.keras"
    subprocess.run([sys.executable, "-c", BUILD, name, str(model)], check=True, capture_output=True)
    made = edgekit.convert(model, target="host-onnxruntime", output=tmp_path / "m.onnx")
    assert made.parity.max_rel < 1e-4  # relative: an untrained network's logits are tiny
    assert tensorrt_lint.lint(onnx.load(tmp_path / "m.onnx"), batch_varies=False) == []


@pytest.mark.parametrize("target", ["host-onnxruntime", "nvidia-t4"])
def test_resnet8_keeps_its_accuracy_in_int8(edgekit_data, target, tmp_path):
    folder = edgekit_data / "mlperf_tiny_ic_resnet8"
    spec = folder / "cifar10_lossless_subset.npz"
    out = tmp_path / "m.onnx"
    made = edgekit.convert(
        folder / "pretrainedResnet.h5", target=target, precision="int8", data=str(spec), output=out
    )
    with np.load(spec) as stored:
        x, y = stored["x_test"].astype(np.float32), stored["y_test"].reshape(-1)
    settings = onnxruntime.SessionOptions()
    for key, value in made.runtime_options.items():
        settings.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(str(out), settings, ["CPUExecutionProvider"])
    found = [session.run(None, {"input_1": row[None]})[0].argmax() for row in x]
    assert (np.array(found) == y).mean() >= 0.881 - 0.005
    if target == "nvidia-t4":
        assert tensorrt_lint.lint(onnx.load(out), batch_varies=False) == []
