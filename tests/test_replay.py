"""tf_keras models rebuilt in Keras 3: equal, or refused with the layer's name."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import ModelError
from edgekit.types import ModelInfo

REPLAYABLE = (
    "tf_functions", "normalization", "activations", "layer_as_activation", "masked", "cells",
    "backward", "per_step", "slash",
)  # fmt: skip


@pytest.mark.parametrize("name", REPLAYABLE)
def test_layers_that_need_more_than_their_config_are_replayed(models, keras_source, tmp_path, name):
    path = models / "replayable" / f"{name}.h5"
    info = msgspec.convert(keras_source.call("open", path=str(path)), type=ModelInfo)
    assert info.generation == "keras2"
    with np.load(path.with_suffix(".npz")) as stored:
        chunks.write(tmp_path / "in", [{"x": stored["x"]}])
        expected = stored["y"]
    keras_source.call("predict", samples=str(tmp_path / "in"), outputs=str(tmp_path / "out"))
    found = chunks.read_all(tmp_path / "out")[info.outputs[0].name]
    np.testing.assert_allclose(found, expected, atol=3e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("local", r"layer 'local' \(LocallyConnected2D\) has no equal in Keras 3"),
        ("hard", r"layer 'hard' \(Conv2D\) uses hard_sigmoid, which is max"),
        ("bessel", r"layer 'tf.math.bessel_i0' \(TFOpLambda\) calls tf.math.bessel_i0"),
    ],
)
def test_what_cannot_be_replayed_is_named_with_a_way_out(models, keras_source, name, message):
    with pytest.raises(ModelError, match=message) as caught:
        keras_source.call("open", path=str(models / "refused" / f"{name}.h5"))
    assert "SavedModel" in caught.value.fix


LEAKS = """
import json, os
import edgekit.keras_source, keras, tensorflow, tf_keras
print(json.dumps([
    "TF_USE_LEGACY_KERAS" in os.environ, keras.__version__, tensorflow.keras.__version__,
    tf_keras.__version__,
]))
"""

CHANGED = """
import json, sys
import keras, tf_keras
from edgekit import replay
from edgekit.errors import ModelError
layers = tf_keras.layers
x = tf_keras.Input((4,))
model = tf_keras.Model(x, layers.Dense(3, activation="softmax")(layers.Dense(5)(x)))
copy_weights = replay._Replay._copy_weights
def forget_one(self, legacy):
    copy_weights(self, legacy)
    first = next(layer for layer in self._layers.values() if layer.weights)
    first.set_weights([weight * 1.001 for weight in first.get_weights()])
replay._Replay._copy_weights = forget_one
try:
    replay.replay(model)
    print("accepted")
except ModelError as error:
    print(error)
"""


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.usefixtures("models")
def test_the_old_keras_does_not_leak_into_the_new(models):
    switch, ours, tensorflows, old = json.loads(python(LEAKS))
    assert not switch
    assert ours == tensorflows
    assert ours.startswith("3.")
    assert old.startswith("2.")


@pytest.mark.usefixtures("models")
def test_a_weight_that_is_a_thousandth_off_is_noticed(models):
    assert "differs by" in python(CHANGED)
