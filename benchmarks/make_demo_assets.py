"""Makes the model and the data that `edgekit demo` carries.

Run from the top of the repository: `python benchmarks/make_demo_assets.py`. Writes
`edgekit/demo_digits.npz` (scikit-learn's bundled digits: 1,797 real scans of 8 × 8 pixels, values
0 to 16; E. Alpaydin and C. Kaynak, UCI repository, CC BY 4.0) and `edgekit/demo_digits.keras` (a
small classifier trained on their training part), and prints the accuracy on the test part.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

ASSETS = Path(__file__).resolve().parent.parent / "edgekit"
SPLITS = {"train": slice(0, 1000), "val": slice(1000, 1197), "test": slice(1197, None)}
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def write_data(path: Path) -> dict[str, np.ndarray]:
    """Shuffles once with a fixed seed, splits, and stores the digits as uint8."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = images[order].reshape(-1, 8, 8, 1).astype(np.uint8)
    labels = labels[order].astype(np.uint8)
    arrays = {}
    for role, part in SPLITS.items():
        arrays[f"x_{role}"], arrays[f"y_{role}"] = images[part], labels[part]
    np.savez_compressed(path, **arrays)
    return arrays


def build() -> keras.Model:
    """Three convolutions with BatchNorm, then two dense layers; takes raw values 0 to 16."""
    inputs = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Rescaling(1 / 8, offset=-1)(inputs)
    for width, stride in ((16, 1), (32, 2), (32, 1)):
        x = keras.layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(40, activation="relu")(x)
    x = keras.layers.Dropout(0.3)(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="digit")(x))


def train(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(
        arrays["x_train"].astype("float32"),
        arrays["y_train"],
        validation_data=(arrays["x_val"].astype("float32"), arrays["y_val"]),
        epochs=40,
        batch_size=64,
        verbose=0,
        callbacks=[
            keras.callbacks.ReduceLROnPlateau(patience=4, factor=0.3),
            keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True),
        ],
    )


def save_without_optimizer(model: keras.Model, path: Path) -> None:
    """Saves weights and config only, with fixed dates in the zip, so that it stays small."""
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    plain.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members["metadata.json"]) | {"date_saved": "1980-01-01@00:00:00"}
    members["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content, zipfile.ZIP_DEFLATED)


def main() -> int:
    keras.utils.set_random_seed(0)
    arrays = write_data(ASSETS / "demo_digits.npz")
    model = build()
    train(model, arrays)
    save_without_optimizer(model, ASSETS / "demo_digits.keras")
    saved = keras.saving.load_model(ASSETS / "demo_digits.keras")
    predicted = saved.predict(arrays["x_test"].astype("float32"), verbose=0).argmax(1)
    accuracy = float((predicted == arrays["y_test"]).mean())
    print(f"{saved.count_params()} parameters, test accuracy {accuracy:.4f}")
    for name in ("demo_digits.npz", "demo_digits.keras"):
        print(name, (ASSETS / name).stat().st_size, "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
