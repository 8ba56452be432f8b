"""Writes the small models that tests use: `python build_models.py DIR`.

A script, because pytest's own process loads no TensorFlow. Beside each model lies NAME.npz with
samples and the outputs that plain Keras gives for them: `x.INPUT` and `y.OUTPUT`.
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

SAMPLES = 5


def tiny_cnn(api):
    """Conv, BatchNorm, ReLU, pooling, Dense: 8 × 8 × 1 to ten classes."""
    layers = api.layers
    return api.Sequential(
        [
            api.Input((8, 8, 1), name="image"),
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(10, activation="softmax", name="classes"),
        ],
        name="tiny_cnn",
    )


def residual(api):
    """Depthwise, residual and transposed convolutions."""
    layers = api.layers
    image = api.Input((8, 8, 4), name="image")
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(image)
    x = layers.Conv2D(4, 1, activation="relu6", name="pointwise")(x)
    x = layers.Add(name="sum")([x, image])
    x = layers.SeparableConv2D(6, 3, strides=2, padding="same", name="separable")(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="up")(x)
    return api.Model(image, x, name="residual")


def several(api):
    """Two inputs, two outputs, a layer that is called twice."""
    layers = api.layers
    left, right = api.Input((4,), name="left"), api.Input((6,), name="right")
    shared = layers.Dense(5, activation="tanh", name="shared")
    x = layers.Concatenate(name="both")([layers.Dense(5, name="narrow")(right), left])
    x = shared(layers.Dense(5, name="wide")(x))
    x = shared(x)
    outputs = [layers.Dense(3, name="kind")(x), layers.Dense(1, name="size")(x)]
    return api.Model([left, right], outputs, name="several")


def nested(api):
    """A model inside a model, called twice."""
    layers = api.layers
    inner = api.Sequential(
        [
            api.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name="inside"),
            layers.BatchNormalization(name="inside_norm"),
        ],
        name="inner",
    )
    first, second = api.Input((6, 6, 2), name="first"), api.Input((6, 6, 2), name="second")
    x = layers.Concatenate(name="pair")([inner(first), inner(second)])
    return api.Model([first, second], x, name="nested")


def sequence(api):
    """Conv1D, a bidirectional LSTM, a GRU."""
    layers = api.layers
    rows = api.Input((10, 6), name="rows")
    x = layers.Conv1D(8, 3, padding="causal", name="conv1d")(rows)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="both_ways")(x)
    x = layers.GRU(4, name="gru")(x)
    return api.Model(
        rows, layers.Dense(3, activation="softmax", name="classes")(x), name="sequence"
    )


def states(api):
    """One layer with three outputs."""
    rows = api.Input((7, 5), name="rows")
    outputs = api.layers.LSTM(4, return_sequences=True, return_state=True, name="rec")(rows)
    return api.Model(rows, outputs, name="states")


def words(api):
    """Whole numbers in: an embedding with a mask."""
    layers = api.layers
    ids = api.Input((9,), dtype="int32", name="ids")
    x = layers.Embedding(30, 6, mask_zero=True, name="embedding")(ids)
    x = layers.Dense(1, activation="sigmoid", name="score")(layers.LSTM(5, name="lstm")(x))
    return api.Model(ids, x, name="words")


def transformer(api):
    """One block of attention."""
    layers = api.layers
    tokens = api.Input((12, 8), name="tokens")
    x = layers.MultiHeadAttention(2, 4, name="attention")(tokens, tokens)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="sum")([x, tokens]))
    x = layers.Add(name="sum2")([x, layers.Dense(8, activation="gelu", name="mix")(x)])
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return api.Model(tokens, layers.Dense(4, name="out")(x), name="transformer")


def named(api):
    """Inputs and outputs in dictionaries, and a name that is no Python word."""
    layers = api.layers
    a, b = api.Input((3,), name="beta-1"), api.Input((3,), name="alpha-2")
    outputs = {"second": layers.Dense(2, name="y-2")(a), "first": layers.Dense(4, name="y-1")(b)}
    return api.Model({"beta-1": a, "alpha-2": b}, outputs, name="named")


ZOO = (tiny_cnn, residual, several, nested, sequence, states, words, transformer, named)


def randomized(model):
    """The model with weights that leave no layer without effect."""
    draw = np.random.default_rng(7)
    for weight in model.weights:
        positive = "variance" in getattr(weight, "path", weight.name)
        value = draw.standard_normal(tuple(weight.shape)) * 0.4
        weight.assign(np.abs(value) + 0.5 if positive else value)
    return model


def samples(model):
    draw = np.random.default_rng(11)
    found = {}
    for tensor in model.inputs:
        shape = (SAMPLES, *(int(size) for size in tensor.shape[1:]))
        name = tensor.name.split(":")[0]
        if "int" in str(tensor.dtype):
            found[name] = draw.integers(0, 30, shape).astype(np.int32)
        else:
            found[name] = draw.standard_normal(shape).astype(np.float32)
    return found


def record(model, path: Path, output_names) -> None:
    """Samples, and what the model answers when it is called as a Python object."""
    arrays = samples(model)
    given = list(arrays.values())
    if path.stem == "named":
        given = dict(arrays)
    answer = model(given if len(arrays) > 1 else given[0], training=False)
    flat = tf.nest.flatten(answer)
    stored = {f"x.{name}": value for name, value in arrays.items()}
    stored |= {f"y.{name}": np.asarray(v) for name, v in zip(output_names, flat, strict=True)}
    np.savez(path, **stored)


OUTPUTS = {
    "tiny_cnn": ["classes"],
    "residual": ["up"],
    "several": ["kind", "size"],
    "nested": ["pair"],
    "sequence": ["classes"],
    "states": ["rec", "rec_1", "rec_2"],
    "words": ["score"],
    "transformer": ["out"],
    "named": ["y-1", "y-2"],
}


def write_zoo(directory: Path) -> None:
    for generation, api in (("keras3", keras), ("keras2", tf_keras)):
        for build in ZOO:
            model = randomized(build(api))
            name = build.__name__
            home = directory / generation
            home.mkdir(exist_ok=True)
            record(model, home / f"{name}.npz", OUTPUTS[name])
            model.save(home / f"{name}.keras")
            if name in ("tiny_cnn", "several", "nested"):
                model.save(home / f"{name}.h5")
            if api is keras and name in ("tiny_cnn", "sequence"):
                model.export(home / f"{name}_saved", verbose=False)
            if api is tf_keras and name == "tiny_cnn":
                model.save(home / f"{name}_saved", save_format="tf")


def write_refused(directory: Path) -> None:
    """Models that load, and that one stage or another has to refuse by name."""
    home = directory / "refused"
    home.mkdir()
    image = keras.Input((4, 4), name="m")
    keras.Model(image, keras.ops.inv(keras.layers.Dense(4, name="before")(image))).save(
        home / "inverse.keras"
    )
    fixed = keras.Input(batch_shape=(4, 5), name="fixed")
    keras.Model(fixed, keras.layers.Dense(2, name="out")(fixed)).save(home / "batch4.keras")
    model = tiny_cnn(keras)
    model.quantize("int8")
    model.save(home / "quantized.keras")
    keras.config.set_dtype_policy("mixed_float16")
    tiny_cnn(keras).save(home / "mixed.keras")
    keras.config.set_dtype_policy("float32")
    layers = tf_keras.layers
    x = tf_keras.Input((6, 6, 2))
    old = {
        "local": layers.LocallyConnected2D(2, 3, name="local")(x),
        "hard": layers.Conv2D(2, 3, activation="hard_sigmoid", name="hard")(x),
        "bessel": tf.math.bessel_i0(x),
    }
    for name, output in old.items():
        tf_keras.Model(x, output).save(home / f"{name}.h5")


def write_replayable(directory: Path) -> None:
    """tf_keras models of layers that need more than their config passed on."""
    home = directory / "replayable"
    home.mkdir()
    layers = tf_keras.layers
    x = tf_keras.Input((6, 6, 2), name="x")
    rows = tf_keras.Input((5, 3), name="x")
    adapted = layers.Normalization(name="adapted")
    adapted.adapt(np.random.default_rng(0).standard_normal((50, 6, 6, 2)) * 3 + 1)
    inner = tf_keras.Sequential([layers.Dense(4), layers.BatchNormalization()])
    y = tf.reshape(tf.nn.relu(x * 2 - 0.5), (-1, 72))
    y = tf.concat([y[:, 3:9], tf.reduce_mean(y, axis=1, keepdims=True)], axis=-1)
    graphs = {
        "tf_functions": (x, y),
        "normalization": (x, adapted(x)),
        "activations": (
            x,
            layers.ThresholdedReLU(0.3)(layers.PReLU()(layers.ELU()(layers.LeakyReLU(0.1)(x)))),
        ),
        "layer_as_activation": (x, layers.Conv2D(3, 3, activation=layers.LeakyReLU(0.1))(x)),
        "masked": (rows, layers.LSTM(4)(layers.Masking()(rows))),
        "cells": (rows, layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])(rows)),
        "backward": (
            rows,
            layers.Bidirectional(layers.LSTM(4), backward_layer=layers.LSTM(3, go_backwards=True))(
                rows
            ),
        ),
        "per_step": (rows, layers.TimeDistributed(inner)(rows)),
        "slash": (x, layers.Conv2D(2, 3, name="block/conv")(x)),
    }
    for name, (given, made) in graphs.items():
        model = tf_keras.Model(given, made)
        if name != "normalization":
            randomized(model)
        model.save(home / f"{name}.h5")
        arrays = samples(model)
        np.savez(home / f"{name}.npz", x=arrays["x"], y=np.asarray(model(arrays["x"])))


class Reaching(tf.Module):
    """Signatures whose graphs reach beyond tensors."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.target = str(directory / "written")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def write(self, x):
        tf.io.write_file(self.target, "x")
        return {"y": x * 2}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def python(self, x):
        return {"y": tf.numpy_function(lambda value: value * 2, [x], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def save(self, x):
        tf.raw_ops.SaveV2(
            prefix=self.target, tensor_names=["a"], shape_and_slices=[""], tensors=[x]
        )
        return {"y": x * 2}


class Doubling(tf.Module):
    """A signature that only computes."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def double(self, x):
        return {"y": x * 2}


def write_saved(directory: Path) -> None:
    """SavedModels: three that reach out, one of TensorFlow 1, one without serving_default."""
    home = directory / "saved"
    for name in ("write", "python", "save"):
        module = Reaching(directory)
        tf.saved_model.save(module, str(home / name), signatures=getattr(module, name))
    module = Doubling()
    tf.saved_model.save(
        module, str(home / "two"), signatures={"a": module.double, "b": module.double}
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [None, 3], name="x")
        y = tf.matmul(x, tf.compat.v1.get_variable("w", initializer=tf.ones([3, 2])))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(home / "tf1"), {"x": x}, {"y": y})


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_zoo(target)
    write_refused(target)
    write_replayable(target)
    write_saved(target)
