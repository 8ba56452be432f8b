"""A MobileNet of 0.25 width for Fashion-MNIST: what per-tensor ranges of activations suit badly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

EPOCHS, BATCH = 8, 128
PEAK_LEARNING_RATE = 4e-3
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
"""Filters at full width, and strides, of each depthwise and pointwise pair; the stem has 32."""


def trained(data: Path, cache: Path) -> Path:
    """The float net, trained once on images divided by 255, kept in the cache.

    Args:
        data: The roles that `fashion_mnist.roles` has written.
        cache: A folder outside the repository.
    """
    path = cache / "narrow_float.keras"
    if path.exists():
        return path
    import keras

    keras.utils.set_random_seed(0)
    with np.load(data) as stored:
        x, y = stored["x_train"].astype("float32") / 255, stored["y_train"]
    model = network(keras, 0.25)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    staged = path.with_suffix(".part.keras")
    model.save(staged)
    staged.replace(path)
    return path


def network(keras: Any, width: float) -> Any:
    """Input (n, 28, 28, 1) in [0, 1]; the last activations are ReLU6, as in MobileNet."""
    layers = keras.layers

    def normalized(x: Any) -> Any:
        return layers.ReLU(6.0)(layers.BatchNormalization()(x))

    image = keras.Input((28, 28, 1), name="image")
    x = layers.Conv2D(int(32 * width), 3, padding="same", use_bias=False)(image)
    x = normalized(x)
    for filters, strides in BLOCKS:
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = normalized(x)
        x = normalized(layers.Conv2D(int(filters * width), 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(x))
