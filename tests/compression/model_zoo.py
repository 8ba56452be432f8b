"""Models of many kinds that have nothing to remove, for a worker: this loads TensorFlow."""

from __future__ import annotations

import keras
import numpy as np

L = keras.layers


def lstm():
    x = rows = keras.Input((9, 6), name="rows")
    x, *state = L.LSTM(5, return_sequences=True, return_state=True, name="encode")(x)
    x = L.LSTM(5, name="decode")(x, initial_state=state)
    return keras.Model(rows, L.Dense(2, name="out")(x), name="rnn")


def bidirectional():
    return keras.Sequential([
        L.Input((9, 6), name="rows"),
        L.Masking(),
        L.Bidirectional(L.GRU(4, return_sequences=True)),
        L.TimeDistributed(L.Dense(3, activation="relu")),
        L.GlobalAveragePooling1D(),
        L.Dense(2, name="out"),
    ])  # fmt: skip


def transformer():
    words = keras.Input((8,), dtype="int32", name="words")
    x = L.Embedding(20, 12, mask_zero=True, name="embed")(words)
    attended = L.MultiHeadAttention(2, 6, name="attend")(x, x, use_causal_mask=True)
    x = L.LayerNormalization(name="norm")(L.Add(name="sum")([x, attended]))
    y = L.Dense(24, activation="gelu", name="wide")(x)
    x = L.Add(name="sum2")([x, L.Dense(12, name="narrow")(y)])
    return keras.Model(words, L.Dense(3, name="out")(x[:, 0]), name="transformer")


def dictionaries():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    x = L.Concatenate(name="join")([left * np.array([1.0, 2, 3, 4], "float32"), 2.0 - right])
    outputs = {"sum": L.Dense(2, name="sum")(x), "gate": keras.ops.sigmoid(x)}
    return keras.Model({"left": left, "right": right}, outputs, name="dictionaries")


def siamese():
    inside = keras.Input((4,), name="inside")
    y = L.BatchNormalization(name="norm")(L.Dense(5, activation="relu", name="dense")(inside))
    body = keras.Model(inside, y, name="body")
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    return keras.Model([one, two], L.Dot(1, name="out")([body(one), body(two)]), name="siamese")


def frozen_body():
    body = keras.Sequential([L.Input((4,)), L.Dense(5), L.BatchNormalization()], name="body")
    body.trainable = False
    x = keras.Input((4,), name="x")
    return keras.Model(x, L.Dense(2, name="head")(body(x, training=False)), name="transfer")


def body_at_the_end():
    inside = keras.Input((4,), name="inside")
    body = keras.Model(inside, L.Dense(2, name="dense")(inside), name="scores")
    x = keras.Input((4,), name="x")
    return keras.Model(x, body(L.Dense(4, name="dense")(x)), name="outer")


def adapted():
    normalize = L.Normalization(name="normalize")
    normalize.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)).astype("float32"))
    return keras.Sequential([L.Input((4,), name="x"), normalize, L.Dense(2, name="out")])


def with_lambda():
    x = keras.Input((4,), name="x")
    y = L.Lambda(lambda value: value * 2.0, name="twice")(x)
    return keras.Model(x, L.Dense(2, name="out")(y), name="with_lambda")


def half_precision():
    x = keras.Input((8, 8, 3), batch_size=3, name="image")
    y = L.Conv2D(4, 3, activation="relu", name="conv", dtype="mixed_float16")(x)
    y = L.GlobalAveragePooling2D(name="mean")(y)
    return keras.Model(x, L.Dense(2, name="out", dtype="float32")(y), name="half_precision")


def grouped():
    x = image = keras.Input((8, 8, 4), name="image")
    x = L.Conv2D(8, 3, groups=2, activation="relu", name="groups")(x)
    x = L.GroupNormalization(4, name="norm")(x)
    x = L.Conv2D(4, 1, activation=lambda y: y * y, name="own")(x)
    return keras.Model(image, L.GlobalMaxPooling2D(name="out")(x), name="grouped")


ZOO = {
    builder.__name__: builder
    for builder in (
        lstm, bidirectional, transformer, dictionaries, siamese, frozen_body, body_at_the_end,
        adapted, with_lambda, half_precision, grouped,
    )
}  # fmt: skip
