"""The roles that ResNet-8 (MLPerf Tiny) is compressed with, out of the few images there are.

Of the 4,000 lossless training images the last 1,000 are `val`; the others train, four times each
beside 25,000 JPEG images, since the model is judged on lossless ones and answers differently on
JPEG (77 against 93 % on training images). JPEG copies of a `val` image do not train.
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
from augmentation import flipped_and_shifted

N_VAL = 1_000
LOSSLESS_REPEATS = 4
SAME_RMS = 20.0
"""Two images within this root mean square difference, of 255, are one: of those all have the same
label, of the next nearest pairs not even three in four."""
SHIFT = 3


def roles(folder: Path, cache: Path) -> Path:
    """Write the roles as one `.npz` of raw uint8 images, shape (n, 32, 32, 3).

    Args:
        folder: With the downloaded `cifar10_lossless_subset.npz` and `cifar10_jpeg_train_25k.npz`.
        cache: A folder outside the repository.
    """
    path = cache / "cifar10_roles.npz"
    if path.exists():
        return path
    with np.load(folder / "cifar10_lossless_subset.npz") as stored:
        lossless = {key: stored[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    images, labels = _jpeg(folder / "cifar10_jpeg_train_25k.npz")
    x_val = lossless["x_train"][-N_VAL:]
    fresh = ~_copies(images, x_val)
    copies = [LOSSLESS_REPEATS, *[1] * 3]
    arrays = {
        "x_train": np.concatenate([np.tile(lossless["x_train"][:-N_VAL], copies), images[fresh]]),
        "y_train": np.concatenate(
            [np.tile(lossless["y_train"][:-N_VAL], LOSSLESS_REPEATS), labels[fresh]]
        ),
        "x_val": x_val,
        "y_val": lossless["y_train"][-N_VAL:],
        "x_calib": lossless["x_train"][:-N_VAL],
        "x_test": lossless["x_test"],
        "y_test": lossless["y_test"],
    }
    staged = path.with_suffix(".part.npz")
    np.savez(staged, **arrays)
    staged.replace(path)
    return path


def augment(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Flip half of the images, and shift each by at most three pixels; NHWC, edges repeated."""
    del y
    return flipped_and_shifted(x, seed, SHIFT, "edge")


def _jpeg(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    with np.load(path) as stored:
        content, offsets, labels = stored["jpeg"].tobytes(), stored["offsets"], stored["y"]
    images = [
        np.asarray(Image.open(io.BytesIO(content[start:end])).convert("RGB"))
        for start, end in itertools.pairwise(offsets)
    ]
    return np.stack(images), labels


def _copies(images: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Which images show what a held one shows, by the distance of their pixels."""
    flat, other = (a.reshape(len(a), -1).astype(np.float32) for a in (images, held))
    squares = (flat**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * flat @ other.T
    return np.asarray(squares.min(1) < SAME_RMS**2 * flat.shape[1])
