"""The float CNN and the data that the trade-off curve on Fashion-MNIST starts from.

Six 3x3 convolutions of 32 to 128 channels, 289,066 parameters, trained with flips and
one-pixel shifts for twelve epochs under a cosine schedule: about half an hour on two
cores. Both files are kept in the cache, and an interrupted training goes on where it
stopped. The last 5,000 training images never train: they are the role ``val``.
"""

from pathlib import Path

import numpy as np
from augmentation import flipped_and_shifted

N_VAL = 5_000
EPOCHS = 12
BATCH = 128
PEAK_LEARNING_RATE = 2e-3
WIDTHS = (32, 64, 128)


def roles(source: Path, cache: Path) -> Path:
    """Write the roles as one ``.npz`` of raw uint8 images, shape (n, 28, 28, 1).

    Args:
        source: The downloaded ``fashion_mnist.npz``.
        cache: A folder outside the repository.
    """
    path = cache / "fashion_mnist_roles.npz"
    if path.exists():
        return path
    with np.load(source) as data:
        images, labels = data["x_train"][..., None], data["y_train"]
        arrays = {
            "x_train": images[:-N_VAL],
            "y_train": labels[:-N_VAL],
            "x_val": images[-N_VAL:],
            "y_val": labels[-N_VAL:],
            "x_test": data["x_test"][..., None],
            "y_test": data["y_test"],
        }
    staged = path.with_suffix(".part.npz")
    np.savez(staged, **arrays)
    staged.replace(path)
    return path


def augment(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Flip half of the images, and shift each by at most one pixel; float or uint8, NHWC."""
    del y
    return flipped_and_shifted(x, seed, 1, "constant")


def trained_float(data: Path, cache: Path) -> Path:
    """Train the float CNN once, on images divided by 255, and keep it in the cache."""
    path = cache / "fashion_mnist_float.keras"
    if path.exists():
        return path
    import keras

    keras.utils.set_random_seed(0)
    with np.load(data) as stored:
        x_train, y_train = stored["x_train"], stored["y_train"]
        x_val, y_val = stored["x_val"].astype("float32") / 255, stored["y_val"]

    class Batches(keras.utils.PyDataset):
        """Shuffled and augmented anew in every epoch, from the epoch's own seed."""

        def __init__(self) -> None:
            super().__init__()
            self.epoch = 0
            self.shuffle()

        def __len__(self) -> int:
            return len(x_train) // BATCH

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = self.order[index * BATCH : (index + 1) * BATCH]
            x = augment(x_train[rows], y_train[rows], self.epoch * len(self) + index)
            return x.astype("float32") / 255, y_train[rows]

        def shuffle(self) -> None:
            self.order = np.random.default_rng(self.epoch).permutation(len(x_train))

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self.shuffle()

    batches = Batches()
    model = network(keras)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        (EPOCHS - 1) * len(batches),
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=len(batches),
    )
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=0.02),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    resume = keras.callbacks.BackupAndRestore(cache / "fashion_mnist_float_backup")
    model.fit(batches, epochs=EPOCHS, validation_data=(x_val, y_val), callbacks=[resume], verbose=2)
    staged = cache / "fashion_mnist_float.part.keras"
    model.save(staged)
    staged.replace(path)
    return path


def network(keras):
    """Build the CNN: input (n, 28, 28, 1) in [0, 1], output ten probabilities."""
    layers = keras.layers
    image = x = keras.Input((28, 28, 1), name="image")
    for stage, width in enumerate(WIDTHS):
        if stage:
            x = layers.MaxPooling2D()(x)
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(x))
