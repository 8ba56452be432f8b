"""Compare with Keras models and SavedModels as reference; each opens TensorFlow twice."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit import comparing

pytestmark = pytest.mark.slow


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(2)
    x = random.normal(size=(60, 8, 8, 1)).astype(np.float32)
    y = random.integers(0, 10, 60)
    np.savez(tmp_path / "d.npz", x_calib=x[:20], y_calib=y[:20], x_test=x[20:], y_test=y[20:])
    return str(tmp_path / "d.npz")


@pytest.mark.parametrize("form", ["keras", "savedmodel"])
def test_folded_batch_norm_and_fused_relu_are_found_by_name(form, images, tiny_cnn_tflite, request):
    reference = request.getfixturevalue(f"tiny_cnn_{form}")
    found = comparing.compare(reference, tiny_cnn_tflite, data=images, layers=True)
    by_kind = {layer.kind: layer for layer in found.layers.layers}
    assert by_kind["CONV_2D"].reference.endswith("/Relu")
    assert by_kind["FULLY_CONNECTED"].reference.endswith("/BiasAdd")
    assert by_kind["SOFTMAX"].matched_by == "output"
    assert all(layer.sqnr_db > 80 for layer in found.layers.layers)
    assert found.layers.unmatched == ()
    assert found.outputs[0].max_abs < 1e-5
    assert found.accuracy.drop == 0.0


def test_a_legacy_model_equals_itself_layer_by_layer(images, tiny_cnn_h5_legacy):
    found = comparing.compare(tiny_cnn_h5_legacy, tiny_cnn_h5_legacy, data=images, layers=True)
    assert found.reference.format == "h5"
    assert found.outputs[0].max_abs == 0.0
    assert {layer.sqnr_db for layer in found.layers.layers} == {200.0}
    assert found.layers.first_bad is None
