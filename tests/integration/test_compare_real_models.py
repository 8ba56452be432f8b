"""Compare on MLPerf Tiny's ResNet-8 and its own int8 artifact; needs EDGEKIT_DATA."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit import comparing

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def resnet8(edgekit_data):
    """The directory with the model, its artifacts and CIFAR-10 samples."""
    return edgekit_data / "mlperf_tiny_ic_resnet8"


def with_clipped_range(content, ending, share):
    """A .tflite whose activation keeps only a share of its range."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    named = [
        one
        for one in model.subgraphs[0].tensors
        if one.name.decode().partition(";")[0].endswith(ending)
    ]
    (tensor,) = (one for one in named if model.buffers[one.buffer].data is None)  # no constant
    tensor.quantization.scale = np.asarray(tensor.quantization.scale, np.float32) * share
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_resnet8_and_its_published_int8_artifact_are_what_is_known_of_them(resnet8):
    found = comparing.compare(
        resnet8 / "pretrainedResnet.h5",
        resnet8 / "pretrainedResnet_quant.tflite",
        data=str(resnet8 / "cifar10_lossless_subset.npz"),
        layers=True,
    )
    change = found.accuracy
    assert change.reference.value == pytest.approx(0.881, abs=1e-9)  # the recorded upstream values
    assert change.artifact.value == pytest.approx(0.878, abs=1e-9)
    paired = change.paired
    assert paired.only_source_right - paired.only_result_right == 3
    assert sum(one.n for one in change.classes) == 1000
    assert sum(one.lost for one in change.classes) == paired.only_source_right
    assert found.outputs[0].step == pytest.approx(1 / 256)
    layers = {layer.name: layer for layer in found.layers.layers}
    convolutions = [layer for layer in layers.values() if layer.kind == "CONV_2D"]
    assert len(convolutions) == 9
    assert found.layers.first_bad is None
    assert found.layers.unmatched == ()
    assert min(layer.sqnr_db for layer in layers.values()) > 20


def test_a_clipped_range_in_the_published_artifact_is_found_behind_the_float_keras_model(
    resnet8, tmp_path
):
    ruined = tmp_path / "ruined.tflite"
    content = (resnet8 / "pretrainedResnet_quant.tflite").read_bytes()
    ruined.write_bytes(with_clipped_range(content, "activation_3/Relu", 0.1))
    found = comparing.compare(
        resnet8 / "pretrainedResnet.h5",
        ruined,
        data=str(resnet8 / "cifar10_lossless_subset.npz"),
        layers=True,
    )
    assert found.layers.first_bad is not None
    assert found.layers.first_bad.endswith("activation_3/Relu")
    bad = next(layer for layer in found.layers.layers if layer.bad)
    assert bad.causes[0].kind == "range-clipped"
    assert found.accuracy.drop > 0.05
    assert found.accuracy.drop_ci95[0] > 0
