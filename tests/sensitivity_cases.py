"""Models with a layer that bears much and one that bears little; what Keras makes of them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

L = keras.layers
FEATURES = 16


class Cases:
    """Plants models and data, and changes kernels by hand."""

    def plant(self, directory: str) -> None:
        """Writes `dense.keras` and `dense.npz`: see `_redundant` and `_spread`."""
        keras.utils.set_random_seed(3)
        x = keras.Input((FEATURES,), name="x")
        y = L.Dense(FEATURES, use_bias=False, name="redundant")(x)
        y = L.Dense(FEATURES, activation="relu", use_bias=False, name="spread")(y)
        model = keras.Model(x, L.Dense(3, name="head")(y))
        draw = np.random.default_rng(0)
        model.get_layer("redundant").set_weights([_redundant(draw)])
        model.get_layer("spread").set_weights([_spread(draw)])
        self._write(model, Path(directory) / "dense", draw, (FEATURES,))

    def plant_channels(self, directory: str) -> None:
        """Writes `conv.keras` and `conv.npz`: four of eight channels of "redundant" are faint."""
        keras.utils.set_random_seed(3)
        image = keras.Input((6, 6, 1), name="x")
        y = L.Conv2D(8, 3, activation="relu", name="redundant")(image)
        y = L.Conv2D(8, 3, activation="relu", name="spread")(y)
        y = L.GlobalAveragePooling2D(name="mean")(y)
        model = keras.Model(image, L.Dense(3, name="head")(y))
        kernel, bias = model.get_layer("redundant").get_weights()
        kernel[..., ::2] *= 1e-3
        model.get_layer("redundant").set_weights([kernel, bias])
        self._write(model, Path(directory) / "conv", np.random.default_rng(0), (6, 6, 1))

    def bare(self, path: str) -> None:
        """Writes a model without a kernel."""
        x = keras.Input((4,), name="x")
        keras.Model(x, L.Rescaling(2.0, name="twice")(x)).save(path)

    def fragile(self, directory: str) -> None:
        """Writes `fragile.keras` and `fragile.npz`: it divides by what a kernel makes."""
        x = keras.Input((4,), name="x")
        model = keras.Model(x, (x + 5.0) / L.Dense(4, use_bias=False, name="below")(x))
        model.get_layer("below").set_weights([np.diag([1.0, 2.0, 3.0, 4.0])])
        self._write(model, Path(directory) / "fragile", np.random.default_rng(0), (4,))

    def by_hand(self, stem: str, layer: str, change: str) -> dict[str, float]:
        """SQNR in dB and accuracy of a model whose layer is changed by plain loops."""
        model = keras.saving.load_model(f"{stem}.keras")
        with np.load(f"{stem}.npz") as stored:
            x, labels = stored["x_val"], stored["y_val"]
        before = np.asarray(model(x), np.float64)
        kernel, *rest = model.get_layer(layer).get_weights()
        rows, columns = kernel.shape
        if change.startswith("prune"):
            count = int(kernel.size * int(change[5:]) / 100)
            places = [(abs(kernel[i, j]), i, j) for i in range(rows) for j in range(columns)]
            for _, i, j in sorted(places)[:count]:
                kernel[i, j] = 0
        else:
            levels = {"int8": 127, "int4": 7}[change]
            for j in range(columns):
                scale = max(abs(float(value)) for value in kernel[:, j]) / levels
                for i in range(rows):
                    kernel[i, j] = round(float(kernel[i, j]) / scale) * scale
        model.get_layer(layer).set_weights([kernel, *rest])
        after = np.asarray(model(x), np.float64)
        noise = ((before - after) ** 2).sum()
        right = [after.argmax(1) == labels, before.argmax(1) == labels]
        return {
            "sqnr_db": float(10 * np.log10((before**2).sum() / noise)),
            "accuracy": float(right[0].mean()),
            "lost": int((right[1] & ~right[0]).sum()),
            "won": int((right[0] & ~right[1]).sum()),
        }

    def _write(self, model, stem, draw, shape):
        model.save(stem.with_suffix(".keras"))
        x = {role: draw.normal(0, 1, (size, *shape)).astype("float32")
             for role, size in (("val", 300), ("calib", 40), ("test", 30))}  # fmt: skip
        labelled = {f"x_{role}": values for role, values in x.items()}
        for role, values in x.items():
            labelled[f"y_{role}"] = np.asarray(model(values)).argmax(1)
        labelled["y_val"][:30] = (labelled["y_val"][:30] + 1) % 3  # the model errs on a tenth
        np.savez(stem.with_suffix(".npz"), **labelled)
        np.savez(f"{stem}-bare.npz", **{f"x_{role}": values for role, values in x.items()})


def _redundant(draw):
    """A permutation, and next to nothing beside it: nine tenths of it may go."""
    kernel = draw.normal(0, 1e-3, (FEATURES, FEATURES))
    return (kernel + np.eye(FEATURES)[::-1]).astype("float32")


def _spread(draw):
    """An orthogonal matrix of nearly equal weights (Hadamard's): none of it may go."""
    kernel = np.ones((1, 1))
    while len(kernel) < FEATURES:
        kernel = np.block([[kernel, kernel], [kernel, -kernel]])
    jitter = 1 + 0.05 * draw.normal(0, 1, kernel.shape)
    return (kernel * jitter / np.sqrt(FEATURES)).astype("float32")
