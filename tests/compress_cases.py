"""What the tests of compress do with Keras, in a worker of their own."""

from __future__ import annotations

import keras
import numpy as np


class Cases:
    """Plants in models, and opens what was written with nothing but Keras."""

    def plant(self, source: str, output: str) -> None:
        """Kills channel 3 of the demo's second convolution: its normalization never opens."""
        model = keras.saving.load_model(source)
        norm = model.get_layer("batch_normalization_1")
        gamma, beta, mean, variance = norm.get_weights()
        gamma[3], beta[3] = 0.0, -1.0
        norm.set_weights([gamma, beta, mean, variance])
        model.save(output)

    def difference(self, before: str, after: str, data: str) -> float:
        """Largest difference of two models' outputs on test images, relative."""
        with np.load(data) as stored:
            images = stored["x_test"][:64].astype(np.float32)
        old, new = (
            np.asarray(keras.saving.load_model(path)(images, training=False))
            for path in (before, after)
        )
        return float(np.abs(old - new).max() / np.abs(old).max())

    def kinds(self, path: str) -> list[str]:
        """The layers of a model."""
        return [type(layer).__name__ for layer in keras.saving.load_model(path).layers]

    def names(self, path: str) -> list[str]:
        """What the layers of a model are called."""
        return [layer.name for layer in keras.saving.load_model(path).layers]

    def kernels(self, path: str) -> dict[str, list]:
        """The kernels of a model by layer."""
        layers = keras.saving.load_model(path).layers
        return {
            one.name: np.asarray(one.kernel).tolist() for one in layers if hasattr(one, "kernel")
        }

    def top1(self, path: str, data: str, role: str) -> float:
        """Accuracy, by Keras alone."""
        with np.load(data) as stored:
            images, labels = stored[f"x_{role}"].astype(np.float32), stored[f"y_{role}"]
        outputs = np.asarray(keras.saving.load_model(path)(images, training=False))
        return float((outputs.argmax(1) == labels).mean())

    def parameters(self, path: str) -> int:
        """As Keras counts them."""
        return int(keras.saving.load_model(path).count_params())

    def widths(self, path: str) -> dict[str, int]:
        """Output channels of the layers that have a kernel."""
        layers = keras.saving.load_model(path).layers
        return {one.name: int(one.output.shape[-1]) for one in layers if hasattr(one, "kernel")}

    def zeros(self, path: str) -> dict[str, list[int]]:
        """How many weights each kernel has, and how many are zero."""
        layers = keras.saving.load_model(path).layers
        kernels = {one.name: np.asarray(one.kernel) for one in layers if hasattr(one, "kernel")}
        return {name: [one.size, int((one == 0).sum())] for name, one in kernels.items()}

    def levels(self, path: str) -> int:
        """The most values that a kernel has as parts of each output's largest weight, in 8 bits."""
        layers = keras.saving.load_model(path).layers
        kernels = [np.asarray(one.kernel) for one in layers if hasattr(one, "kernel")]
        largest = [np.abs(one).max(tuple(range(one.ndim - 1)), keepdims=True) for one in kernels]
        parts = (
            one / np.where(top == 0, 1, top) for one, top in zip(kernels, largest, strict=True)
        )
        return max(np.unique(np.rint(127 * one)).size for one in parts)

    def student(self, output: str, classes: int) -> None:
        """Saves a small untrained net for the demo's images, under names of its own."""
        keras.utils.set_random_seed(1)
        layers = keras.layers
        image = keras.Input((8, 8, 1), name="pixels")
        x = layers.Conv2D(8, 3, strides=2, activation="relu", name="digit")(image)
        x = layers.Flatten()(layers.Rescaling(0.1)(x))
        keras.Model(image, layers.Dense(classes, activation="softmax")(x)).save(output)
