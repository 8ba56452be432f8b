"""Data and metric of MLPerf Tiny's anomaly detector, for `--data` and `--metric`.

`edgekit convert ad01.h5 --data benchmarks/toycar.py:windows --metric benchmarks/toycar.py:auc …`

A clip's score is the mean reconstruction error over its windows (five consecutive frames of 128
log-mel bins); the metric is the area under the ROC curve over the clips of the test set. Source:
MLCommons Tiny, benchmark/training/anomaly_detection.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FRAMES = 5
WINDOWS_PER_CLIP = 196


def windows(role: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]] | None:
    """One clip at a time: its 196 windows of 640 values, each labelled like the clip."""
    key = {"calib": "x_calib_normal", "val": "x_calib_normal", "test": "x_test"}.get(role)
    return None if key is None else _clips(role, key)


def _clips(role: str, key: str) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    path = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ad_autoencoder" / "toycar_ad01.npz"
    with np.load(path) as stored:
        clips = stored[key]
        labels = stored["y_test"] if role == "test" else np.zeros(len(clips), np.int64)
    half = {"calib": slice(0, None, 2), "val": slice(1, None, 2)}.get(role, slice(None))
    for clip, label in zip(clips[half], labels[half], strict=True):
        framed = np.stack([clip[k : k + FRAMES].ravel() for k in range(WINDOWS_PER_CLIP)])
        yield framed.astype(np.float32), np.full(len(framed), label)


def auc(x: np.ndarray, y: np.ndarray, outputs: np.ndarray) -> float:
    """Area under the ROC curve over clips, by ranks (Mann-Whitney), ties counted half."""
    error = np.square(x - outputs).mean(axis=1)
    scores = error.reshape(-1, WINDOWS_PER_CLIP).mean(axis=1)
    anomalous = y.reshape(-1, WINDOWS_PER_CLIP)[:, 0] == 1
    positive, negative = scores[anomalous], scores[~anomalous]
    higher = (positive[:, None] > negative[None, :]).mean()
    return float(higher + 0.5 * (positive[:, None] == negative[None, :]).mean())


auc.group_size = WINDOWS_PER_CLIP  # type: ignore[attr-defined]
auc.resamples = 50  # type: ignore[attr-defined]
