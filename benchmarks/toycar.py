"""Data and metric of MLPerf Tiny's anomaly detector, for `--data` and `--metric`.

`edgekit convert ad01.h5 --data benchmarks/toycar.py:windows --metric benchmarks/toycar.py:auc …`
`edgekit compress ad01.h5 --data benchmarks/toycar.py:normal --metric mse …`

A clip's score is the mean reconstruction error over its windows (five consecutive frames of 128
log-mel bins); the metric is the area under the ROC curve over the clips of the test set. Source:
MLCommons Tiny, benchmark/training/anomaly_detection.

The 64 normal clips that are not in the test set have three parts without a clip in common: 16
calibrate, eight choose, 40 train.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FRAMES = 5
WINDOWS_PER_CLIP = 196
TILT_DB, TILT_KNOTS, NOISE_DB = 4.0, 6, 3.0
PARTS = 8
"""Of eight clips in a row two calibrate, one chooses and five train."""


def windows(role: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]] | None:
    """One clip at a time: its 196 windows of 640 values, each labelled like the clip."""
    key = "x_test" if role == "test" else "x_calib_normal"
    return _clips(role, key) if role in {"train", "val", "calib", "test"} else None


def normal(role: str) -> Iterator[tuple[np.ndarray, None]] | None:
    """As `windows`, without labels: what an autoencoder is trained and chosen by."""
    clips = windows(role)
    return None if clips is None else ((clip, None) for clip, _ in clips)


def perturb(x: np.ndarray, y: np.ndarray | None, seed: int) -> np.ndarray:
    """Tilts the spectrum of each window and adds noise: an `--augment` for distillation.

    The clips that train are of one machine, the ones that test of four: the student is to answer
    like its teacher around the clips too. Float [n, 640], in dB.
    """
    del y
    rng = np.random.default_rng(seed)
    knots = rng.normal(0, TILT_DB, (len(x), TILT_KNOTS))
    at = np.linspace(0, TILT_KNOTS - 1, x.shape[1] // FRAMES)
    low = np.minimum(at.astype(int), TILT_KNOTS - 2)
    tilt = knots[:, low] * (1 - (at - low)) + knots[:, low + 1] * (at - low)
    noise = rng.normal(0, 1, x.shape) * rng.uniform(0, NOISE_DB, (len(x), 1))
    return (x + np.tile(tilt, FRAMES) + noise).astype(np.float32)


def _clips(role: str, key: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    path = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ad_autoencoder" / "toycar_ad01.npz"
    with np.load(path) as stored:
        clips = stored[key]
        labels = stored["y_test"] if role == "test" else np.zeros(len(clips), np.int64)
    part = np.arange(len(clips)) % PARTS
    mine = {"calib": part % 4 == 0, "val": part == 1, "train": (part % 4 != 0) & (part != 1)}
    chosen = mine.get(role, part >= 0)
    for clip, label in zip(clips[chosen], labels[chosen], strict=True):
        framed = np.stack([clip[k : k + FRAMES].ravel() for k in range(WINDOWS_PER_CLIP)])
        yield framed.astype(np.float32), np.full(len(framed), label)


def auc(x: np.ndarray, y: np.ndarray, outputs: np.ndarray) -> float:
    """Area under the ROC curve over clips, by ranks (Mann-Whitney), ties counted half."""
    error = np.square(x - outputs).mean(axis=1)
    scores = error.reshape(-1, WINDOWS_PER_CLIP).mean(axis=1)
    return rank_auc(scores, y.reshape(-1, WINDOWS_PER_CLIP)[:, 0] == 1)


def rank_auc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """The probability that an anomalous clip scores above a normal one."""
    positive, negative = scores[anomalous], scores[~anomalous]
    higher = (positive[:, None] > negative[None, :]).mean()
    return float(higher + 0.5 * (positive[:, None] == negative[None, :]).mean())


auc.group_size = WINDOWS_PER_CLIP  # type: ignore[attr-defined]
auc.resamples = 50  # type: ignore[attr-defined]
