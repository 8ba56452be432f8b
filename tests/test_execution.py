"""Execution as conversions use it: inside a worker process, arrays through files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DataError, ModelError
from edgekit.workers import Worker

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parent / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)


@pytest.fixture(scope="module")
def worker():
    with Worker("edgekit.execution:Execution", "running the artifact") as found:
        yield found


def test_an_artifact_is_opened_and_predicts_batch_by_batch(worker, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    opened = worker.call("open", runtime="litert", path=str(artifact), threads=1, options={})
    assert opened["inputs"] == [
        {"name": "in", "shape": [1, 4], "dtype": "float32", "scale": None, "zero_point": None}
    ]
    assert opened["facts"]["delegate"]["nodes"] == 1
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    chunks.write(tmp_path / "samples", [{"in": x[:3]}, {"in": x[3:]}])
    worker.call("predict", samples=str(tmp_path / "samples"), outputs=str(tmp_path / "outputs"))
    batches = list(chunks.read(tmp_path / "outputs"))
    assert [len(batch["out"]) for batch in batches] == [3, 2]
    found = np.concatenate([batch["out"] for batch in batches])
    np.testing.assert_allclose(found, tiny.dense(x), rtol=1e-6, atol=1e-6)


def test_opening_another_artifact_replaces_the_first(worker, tmp_path):
    first = tiny.dense_tflite(tmp_path / "a.tflite")
    second = tiny.identity_int8_tflite(tmp_path / "b.tflite", 2, 0.5, 0)
    worker.call("open", runtime="litert", path=str(first))
    worker.call("open", runtime="litert", path=str(second))
    chunks.write(tmp_path / "samples", [{"in": np.array([[1.0, -2.5]], np.float32)}])
    worker.call("predict", samples=str(tmp_path / "samples"), outputs=str(tmp_path / "outputs"))
    np.testing.assert_array_equal(chunks.read_all(tmp_path / "outputs")["out"], [[1.0, -2.5]])


def test_a_file_that_cannot_be_loaded_is_one_line(worker, tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="LiteRT cannot load"):
        worker.call("open", runtime="litert", path=str(tmp_path / "m.tflite"))


def test_samples_that_do_not_fit_are_a_data_error(worker, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    worker.call("open", runtime="litert", path=str(artifact))
    chunks.write(tmp_path / "samples", [{"in": np.ones((1, 7), np.float32)}])
    with pytest.raises(DataError, match=r"these have \[7\]"):
        worker.call("predict", samples=str(tmp_path / "samples"), outputs=str(tmp_path / "out"))
