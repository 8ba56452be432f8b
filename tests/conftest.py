"""Small real models for every test: built once per session, in a process that has TensorFlow.

`models` is the directory that `build_models.py` fills; the fixtures below name what others use.
pytest's own process imports no framework but LiteRT.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import registry
from edgekit.errors import ConversionError
from edgekit.workers import Worker

DATA = os.environ.get("EDGEKIT_DATA")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that load ONNX Runtime themselves


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Every model of `build_models.py`: keras3/, keras2/, refused/, replayable/, saved/."""
    if registry.missing(registry.SOURCES["keras"]):
        pytest.skip("TensorFlow is not installed")
    directory = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("build_models.py")
    done = subprocess.run(
        [sys.executable, script, directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return directory


class KerasSource:
    """One process with TensorFlow for many tests; another one after a crash, which fails one."""

    def __init__(self):
        self._start()

    def _start(self):
        self._worker = Worker("edgekit.keras_source:Source", "the Keras source")

    def call(self, method, /, **arguments):
        try:
            return self._worker.call(method, **arguments)
        except ConversionError as error:
            if "crashed" in error.message:
                self.close()
                self._start()
            raise

    def close(self):
        self._worker.close()


@pytest.fixture(scope="session")
def keras_source(models):
    """What opens Keras models, as `edgekit.keras_source.Source`, for all tests that need it."""
    with contextlib.closing(KerasSource()) as source:
        yield source


@pytest.fixture(scope="session")
def tiny_cnn_keras(models):
    """A Keras 3 model, 8 × 8 × 1 (`image`) to ten classes (`classes`)."""
    return models / "keras3" / "tiny_cnn.keras"


@pytest.fixture(scope="session")
def tiny_cnn_h5_legacy(models):
    """The same layers, saved by tf_keras."""
    return models / "keras2" / "tiny_cnn.h5"


@pytest.fixture(scope="session")
def tiny_cnn_savedmodel(models):
    """The Keras 3 model as a SavedModel without Keras metadata."""
    return models / "keras3" / "tiny_cnn_saved"


@pytest.fixture(scope="session")
def tiny_cnn_tflite(tiny_cnn_keras, keras_source, tmp_path_factory):
    """The Keras 3 model as float TFLite, batch 1."""
    path = tmp_path_factory.mktemp("tiny") / "tiny_cnn.tflite"
    keras_source.call("open", path=str(tiny_cnn_keras))
    keras_source.call("export_tflite", path=str(path), batch=1)
    return path


@pytest.fixture(scope="session")
def recorded():
    """Samples and the answers of plain Keras: `recorded(model)` → (x by input, y by output)."""

    def read(model: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        with np.load(model.with_suffix(".npz")) as stored:
            return tuple(
                {name[2:]: stored[name] for name in stored.files if name.startswith(side)}
                for side in ("x.", "y.")
            )

    return read


@pytest.fixture(scope="session")
def edgekit_data():
    """The directory with real models and data sets."""
    if DATA is None:
        pytest.skip("EDGEKIT_DATA is not set: it names the directory with real models")
    return Path(DATA)


@pytest.fixture(scope="module")
def keras_alone():
    """Keras in a worker of its own, without edgekit: see `compress_cases`."""
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("compress_cases:Cases", "the tests' Keras") as worker:
            yield worker
