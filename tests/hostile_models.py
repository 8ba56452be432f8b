"""Writes Keras models, harmless ones and ones that carry code: `python hostile_models.py DIR`.

A script, because it loads TensorFlow and both Kerases. The code in a model writes the file
`DIR/RAN-NAME`. At the end each of them is loaded as an unsuspecting user would, and `DIR/ran.txt`
names those whose code ran: what edgekit refuses has to be dangerous in truth.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

CLASSES = 3
FEATURES = 4


def write(directory: Path) -> None:
    """Every model that the tests use, by file name."""
    _plain(tf_keras).save(directory / "legacy.h5")
    _plain(keras).save(directory / "plain.keras")
    _plain(keras).save(directory / "plain.h5")
    _plain(keras).export(directory / "saved", verbose=False)
    _reading_a_file(directory, "reads")
    _with_lambda(keras, directory, "lambda.keras")
    _with_lambda(tf_keras, directory, "lambda.h5")
    _nested(keras, directory, "nested.keras")
    _nested(tf_keras, directory, "nested.h5")
    _wrapped(directory, "wrapped.keras")
    _with_custom_class(directory, "custom.keras")


def fire(directory: Path) -> list[str]:
    """Loads each model that carries code, and says whose code ran."""
    keras.config.enable_unsafe_deserialization()
    for name in ("lambda.keras", "nested.keras", "wrapped.keras"):
        keras.saving.load_model(directory / name)(np.zeros((1, FEATURES), np.float32))
    for name in ("lambda.h5", "nested.h5"):
        tf_keras.models.load_model(directory / name, safe_mode=True)
    ran = sorted(directory.glob("RAN-*"))
    for marker in ran:
        marker.unlink()
    return [marker.name.removeprefix("RAN-") for marker in ran]


def _plain(api):
    return api.Sequential(
        [api.Input((FEATURES,), name="features"), api.layers.Dense(CLASSES, name="scores")],
        name="plain",
    )


def _payload(directory: Path, name: str):
    """A function that has a side effect and returns what it got, as a Lambda's code would."""
    marker = repr(str(directory / f"RAN-{name}"))
    return eval(f"lambda x: (open({marker}, 'w').close(), x)[1]")  # noqa: S307 that is the point


def _with_lambda(api, directory: Path, name: str) -> None:
    layer = api.layers.Lambda(_payload(directory, name), name="payload", output_shape=(FEATURES,))
    _save(api, [layer], directory, name)


def _reading_a_file(directory: Path, name: str) -> None:
    module = tf.Module()
    module.serve = tf.function(
        lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
        input_signature=[tf.TensorSpec([None, FEATURES])],
    )
    tf.saved_model.save(module, str(directory / name), signatures=module.serve)


def _nested(api, directory: Path, name: str) -> None:
    layer = api.layers.Lambda(_payload(directory, name), name="payload", output_shape=(FEATURES,))
    inner = api.Sequential([api.Input((FEATURES,)), layer], name="inner")
    _save(api, [api.Sequential([api.Input((FEATURES,)), inner], name="middle")], directory, name)


def _wrapped(directory: Path, name: str) -> None:
    layer = keras.layers.Lambda(_payload(directory, name), name="payload", output_shape=(2,))
    layers = [
        keras.layers.Reshape((2, 2)),
        keras.layers.TimeDistributed(layer),
        keras.layers.Flatten(),
    ]
    _save(keras, layers, directory, name)


@keras.saving.register_keras_serializable(package="mine")
class Doubler(keras.layers.Layer):
    """Stands for a class that only the model's maker has."""

    def call(self, x):
        """Twice the input."""
        return 2 * x


def _with_custom_class(directory: Path, name: str) -> None:
    _save(keras, [Doubler(name="twice")], directory, name)


def _save(api, layers, directory: Path, name: str) -> None:
    model = api.Sequential([api.Input((FEATURES,)), *layers, api.layers.Dense(CLASSES)])
    model.save(directory / name)
    (directory / f"RAN-{name}").unlink(missing_ok=True)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write(target)
    (target / "ran.txt").write_text(" ".join(fire(target)))
