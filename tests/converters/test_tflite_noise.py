"""Where quantization noise arises, which is no matter of how many samples go at once."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgekit import chunks
from edgekit.types import ModelInfo
from edgekit.workers import Worker

pytest.importorskip("litert_quantizer")


def ranked(keras_source, model, place, batch):
    """Every layer and its SQNR in dB, of int8 by min-max on the same 16 samples."""
    place.mkdir()
    info = msgspec.convert(keras_source.call("open", path=str(model)), type=ModelInfo)
    keras_source.call("export_tflite", path=str(place / "float.tflite"), batch=batch)
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype(np.float32)
    chunks.write(place / "samples", [{"image": x}])
    samples = str(place / "samples")
    sides = {"inputs": info.inputs, "outputs": info.outputs}
    with Worker("edgekit.converters.tflite:Converter", "the converter") as converter:
        converter.call(
            "open", hub=str(place / "float.tflite"), batch=batch,
            **{side: [msgspec.to_builtins(one) for one in specs] for side, specs in sides.items()},
        )  # fmt: skip
        converter.call(
            "convert", out=str(place / "m.tflite"), precision="int8", method="minmax",
            samples=samples, seed=0, float_layers=[], input_type="float32", output_type="float32",
        )  # fmt: skip
        found = converter.call(
            "rank_layers", samples=samples, artifact=str(place / "m.tflite"), limit=99
        )
    return {one["layer"]: one["sqnr_db"] for one in found}


def test_layers_are_ranked_whatever_the_batch(keras_source, tiny_cnn_keras, tmp_path):
    one = ranked(keras_source, tiny_cnn_keras, tmp_path / "one", 1)
    four = ranked(keras_source, tiny_cnn_keras, tmp_path / "four", 4)
    assert len(one) >= 2
    assert list(four.values()) == pytest.approx(list(one.values()), abs=0.1)
