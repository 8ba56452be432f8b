"""Three tiny nets on MNIST's rows: an LSTM, a transformer, a 1-D convolution.

Each is trained in seconds, once, and kept in the cache; the students are smaller and untrained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

N_TRAIN, N_VAL = 20_000, 2_000
EPOCHS, BATCH = 4, 128


def roles(source: Path, cache: Path) -> Path:
    """Write the roles as one `.npz` of raw uint8 images, shape (n, 28, 28).

    Args:
        source: The downloaded `mnist.npz`.
        cache: A folder outside the repository.
    """
    path = cache / "mnist_roles.npz"
    if path.exists():
        return path
    with np.load(source) as stored:
        x, y = stored["x_train"], stored["y_train"]
        arrays = {
            "x_train": x[:N_TRAIN],
            "y_train": y[:N_TRAIN],
            "x_val": x[N_TRAIN : N_TRAIN + N_VAL],
            "y_val": y[N_TRAIN : N_TRAIN + N_VAL],
            "x_test": stored["x_test"],
            "y_test": stored["y_test"],
        }
    staged = path.with_suffix(".part.npz")
    np.savez(staged, **arrays)
    staged.replace(path)
    return path


def trained(name: str, data: Path, cache: Path) -> Path:
    """The float net `name` (a key of NETS), trained on images divided by 255."""
    path = cache / f"{name}_float.keras"
    if path.exists():
        return path
    import keras

    keras.utils.set_random_seed(0)
    model = NETS[name](keras, 1.0)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    with np.load(data) as stored:
        x, y = stored["x_train"].astype("float32") / 255, stored["y_train"]
    model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    _save(model, path)
    return path


def student(name: str, cache: Path) -> Path:
    """The same net at half the width, untrained."""
    path = cache / f"{name}_student.keras"
    if not path.exists():
        import keras

        keras.utils.set_random_seed(1)
        _save(NETS[name](keras, 0.5), path)
    return path


def lstm(keras: Any, width: float) -> Any:
    """Input (n, 28, 28): the rows as time steps."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28), name="rows"),
            layers.LSTM(int(32 * width)),
            layers.Dense(10, activation="softmax", name="classes"),
        ]
    )


def transformer(keras: Any, width: float) -> Any:
    """One encoder block of two heads over the rows; Flatten keeps their order."""
    layers, size = keras.layers, int(32 * width)
    rows = keras.Input((28, 28), name="rows")
    x = layers.Dense(size)(rows)
    x = layers.LayerNormalization()(x)
    attended = layers.MultiHeadAttention(2, size // 2)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    wide = layers.Dense(2 * size, activation="relu")(x)
    x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(size)(wide)]))
    x = layers.Dense(size, activation="relu")(layers.Flatten()(x))
    return keras.Model(rows, layers.Dense(10, activation="softmax", name="classes")(x))


def conv1d(keras: Any, width: float) -> Any:
    """Three 1-D convolutions over the rows."""
    layers = keras.layers
    rows = x = keras.Input((28, 28), name="rows")
    for filters, strides in ((32, 1), (64, 2), (64, 2)):
        x = layers.Conv1D(int(filters * width), 5, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(int(64 * width), activation="relu")(layers.Flatten()(x))
    return keras.Model(rows, layers.Dense(10, activation="softmax", name="classes")(x))


NETS = {"lstm": lstm, "transformer": transformer, "conv1d": conv1d}


def _save(model: Any, path: Path) -> None:
    staged = path.with_suffix(".part.keras")
    model.save(staged)
    staged.replace(path)
