"""Quantization-aware training end to end: compress, convert, and what int8 really computes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import edgekit
from edgekit import manifest
from edgekit.workers import Worker

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker():
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        with Worker("quantizing_cases:Cases", "quantizing") as found:
            yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory, worker):
    """A trained net with its data; compressed by `qat-int8` and converted."""
    directory = tmp_path_factory.mktemp("qat")
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 450)
    x = random.normal(0, 0.8, (450, 8, 8, 1)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        image[2 * label : 2 * label + 3] += 0.8
    np.savez(
        directory / "data.npz",
        x_train=x[:250], y_train=y[:250], x_val=x[250:350], y_val=y[250:350],
        x_test=x[350:], y_test=y[350:],
    )  # fmt: skip
    data = str(directory / "data.npz")
    worker.call("write", model="residual", path=str(directory / "m.keras"), data=data)
    compress(directory, "qat.keras")
    edgekit.convert(directory / "qat.keras", data=data, output=directory / "qat.tflite")
    return directory


def compress(directory, name):
    return edgekit.compress(
        directory / "m.keras",
        recipe="qat-int8",
        data=str(directory / "data.npz"),
        epochs=2,
        output=directory / name,
    )


def run(path, x):
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    answers = []
    for row in range(len(x)):
        interpreter.set_tensor(given["index"], x[row : row + 1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(made["index"])[0])
    return np.array(answers), interpreter


def test_the_artifact_answers_as_the_twin_that_was_trained(place, worker):
    with np.load(place / "data.npz") as stored:
        x, y = stored["x_test"], stored["y_test"]
    found, _ = run(place / "qat.tflite", x)
    twin = np.array(
        worker.call("answers", path=str(place / "qat.keras"), data=str(place / "data.npz"))
    )
    off = np.abs(found - twin) * 256
    assert (off <= 2.01).mean() > 0.97
    assert off.mean() < 0.5
    recorded = manifest.read(place / "qat.keras").accuracy
    assert (twin.argmax(1) == y).mean() == pytest.approx(recorded.value)
    assert abs((found.argmax(1) == y).mean() - recorded.value) <= 0.01


def test_the_artifact_is_int8_throughout_and_its_ranges_are_the_trained_ones(place):
    _, interpreter = run(place / "qat.tflite", np.zeros((1, 8, 8, 1), np.float32))
    floats = [one["name"] for one in interpreter.get_tensor_details() if one["dtype"] == np.float32]
    assert floats == ["image", "classes"]
    made = manifest.read(place / "qat.tflite")
    assert made.calibration.chosen == "trained"
    assert not made.warnings


def test_litert_derives_the_integers_that_were_trained(place, worker):
    _, interpreter = run(place / "qat.tflite", np.zeros((1, 8, 8, 1), np.float32))
    stored = {
        tuple(one["shape"]): interpreter.get_tensor(one["index"])
        for one in interpreter.get_tensor_details()
        if one["dtype"] == np.int8 and len(one["quantization_parameters"]["scales"]) > 1
    }
    kernels = worker.call("kernels", path=str(place / "qat.keras"))
    wide = np.array(kernels["wide"])  # [inputs, outputs], in TFLite the other way round
    integers = stored[wide.T.shape].astype(np.float64)
    scale = np.abs(wide).max(axis=0) / 127
    assert np.abs(wide.T / scale[:, None] - integers).max() < 1e-3


def test_the_manifest_records_the_ranges(place):
    found = manifest.read(place / "qat.keras").quantization
    assert (found.scheme, found.mode, found.precision) == ("litert", "qat", "int8")
    assert found.float_layers == {}
    assert all(low <= 0 <= high or low < high for low, high in found.ranges.values())


def test_the_same_command_gives_the_same_bytes(place):
    again = compress(place, "again.keras")
    assert (place / "again.keras").read_bytes() == (place / "qat.keras").read_bytes()
    assert again.quantization == manifest.read(place / "qat.keras").quantization


def test_a_loss_that_becomes_nan_leaves_weights_and_ranges_as_they_were(worker, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(40) % 3)
    worker.call("write", model="dense", path=str(tmp_path / "m.keras"),
                data=str(tmp_path / "data.npz"))  # fmt: skip
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf\n"
        "steps = tf.Variable(0, trainable=False)\n"
        "def nan_at_3(y, outputs):\n"
        "    good = tf.reduce_mean(tf.square(outputs))\n"
        "    return tf.where(steps.assign_add(1) == 3, float('nan'), 1.0) * good\n"
    )
    found = worker.call(
        "breaks_off", path=str(tmp_path / "m.keras"), data=str(tmp_path / "data.npz"),
        directory=str(tmp_path / "spool"), loss=f"{tmp_path / 'mine.py'}:nan_at_3",
    )  # fmt: skip
    assert found == {"failed_at": 3, "moved": True, "weights": True, "ranges": True}


def test_ranges_of_a_file_that_changed_since_are_not_used(place, worker):
    changed = place / "changed.keras"
    shutil.copy(place / "qat.keras.edgekit.json", f"{changed}.edgekit.json")
    recorded = json.loads(Path(f"{changed}.edgekit.json").read_text())
    recorded["artifact"]["files"][0]["path"] = "changed.keras"
    Path(f"{changed}.edgekit.json").write_text(json.dumps(recorded))
    worker.call("differs", path=str(place / "qat.keras"), output=str(changed))
    made = edgekit.convert(
        changed, precision="int8", data=str(place / "data.npz"), output=place / "changed.tflite"
    )
    assert made.calibration.chosen != "trained"
    assert any("changed.keras was changed since" in warning for warning in made.warnings)


@pytest.mark.parametrize(("target", "suffix"), [("host-openvino", "xml"), ("nvidia-t4", "onnx")])
def test_other_formats_find_the_trained_ranges_too(place, target, suffix):
    made = edgekit.convert(
        place / "qat.keras",
        target=target,
        data=str(place / "data.npz"),
        max_drop=0.02,
        output=place / f"{target}.{suffix}",
    )
    assert made.calibration.chosen == "trained"
    assert not any("of 9 trained ranges" in warning for warning in made.warnings)
