"""What the trade-off curves are measured on: models, data, recipes, and how each is judged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar10
import fashion_mnist
import interpreters
import numpy as np
import proportions
import small_nets
import toycar

HERE = Path(__file__).resolve().parent
RECIPES = HERE / "recipes"


@dataclass(frozen=True)
class Judged:
    """A figure on the test role; `correct` is per sample, where right and wrong have a meaning."""

    value: float
    ci95: tuple[float, float]
    n: int
    correct: np.ndarray | None = None


@dataclass(frozen=True)
class Point:
    """One artifact of a curve; `recipe` None: converted from the source as it is.

    `options` are those of compress, `conversion` those of convert.
    """

    name: str
    recipe: str | None
    precision: str = "int8"
    seeds: tuple[int, ...] = (0,)
    options: tuple[str, ...] = ()
    conversion: tuple[str, ...] = ()
    trains: bool = False


@dataclass(frozen=True)
class Case:
    """A model and its curve. `loss` is what may be lost, in points (hundredths) of the metric.

    `smaller` and `faster` are what the issue asks for over the float artifact.
    """

    name: str
    metric: str
    model: Path
    data: str
    judge: Callable[[Path], Judged]
    points: tuple[Point, ...]
    loss: float
    smaller: float
    faster: float = 1.0
    options: tuple[str, ...] = ()
    compress_options: tuple[str, ...] = ()


NAMES = ("resnet8", "autoencoder", *small_nets.NETS, "fashion-mnist")
FLOAT, INT8 = Point("float", None, "fp32"), Point("int8 alone", None)


def named(name: str, cache: Path) -> Case:
    """One case; what has to be trained or unpacked for it first is kept in `cache`."""
    data = Path(os.environ["EDGEKIT_DATA"])
    build = {"resnet8": _resnet8, "autoencoder": _autoencoder, "fashion-mnist": _fashion_mnist}
    return build[name](data, cache) if name in build else _small(name, data, cache)


def ours(name: str, precision: str = "int8-weight", **others: Any) -> Point:
    """An artifact of a recipe of ours that trains."""
    path = str(RECIPES / f"{name}.toml")
    return Point(f"{name} {precision}", path, precision, **{"trains": True, **others})


def reconstructed(precision: str, *shares: int) -> tuple[Point, ...]:
    """Artifacts with so many percent of the MACs, chosen and made up for without training."""
    return tuple(
        Point(f"reconstruct{share}-int8", f"reconstruct{share}-int8", precision)
        if share in (75, 50)  # built in
        else ours(f"reconstruct{share}", precision, trains=False)
        for share in shares
    )


def pruned(model: str, *shares: int) -> tuple[Point, ...]:
    """Artifacts with so many percent of the weights zero, and 16 values a layer."""
    return tuple(ours(f"{model}-prune{share}-cluster16", "int8") for share in shares)


def blocks(clusters: int, options: tuple[str, ...]) -> tuple[Point, Point]:
    """80 % of the weights zero in runs of four, stored sparsely and not."""
    name = f"fashion-block80-cluster{clusters}"
    return ours(name, "int8", options=options), zipped(name, options=options)


def zipped(name: str, **others: Any) -> Point:
    """The same in int8 with every zero stored: for images that are compressed as a whole."""
    path = str(RECIPES / f"{name}.toml")
    dense = ("--no-sparse",)
    return Point(f"{name} int8 dense", path, trains=True, conversion=dense, **others)


def _fashion_mnist(data: Path, cache: Path) -> Case:
    spec = fashion_mnist.roles(data / "fashion_mnist" / "fashion_mnist.npz", cache)
    model = fashion_mnist.trained_float(spec, cache)
    augmented = ("--augment", f"{HERE / 'fashion_mnist.py'}:augment")
    return Case(
        "fashion-mnist", "top1", model, str(spec), top1(spec, 1 / 255),
        (
            FLOAT, INT8, Point("int8-weight alone", None, "int8-weight"),
            Point("lossless", "lossless", "fp32"),
            *reconstructed("int8-weight", 75, 50, 35, 25, 16, 10),
            ours("fashion-macs16", seeds=(0, 1, 2)),
            ours("fashion-macs10", seeds=(0, 1, 2)),
            ours("fashion-macs10", "fp32"),
            ours("fashion-macs10", "int8"),
            ours("fashion-macs07"),
            *pruned("fashion", 80, 90, 95),
            ours("fashion-prune88-cluster16", "int8", seeds=(0, 1, 2), options=augmented),
            zipped("fashion-prune88-cluster16", seeds=(0, 1, 2), options=augmented),
            *(zipped(f"fashion-prune{share}-cluster16") for share in (80, 90, 95)),
            *blocks(8, augmented),
            *blocks(12, augmented),
        ),
        loss=0.5, smaller=15, faster=5, options=("--preprocess", "unit"),
    )  # fmt: skip


def _resnet8(data: Path, cache: Path) -> Case:
    folder = data / "mlperf_tiny_ic_resnet8"
    spec = cifar10.roles(folder, cache)
    return Case(
        "resnet8", "top1", folder / "pretrainedResnet.h5", str(spec), top1(spec, 1.0),
        (
            FLOAT, INT8,
            *reconstructed("int8", 75, 50, 35, 25),
            ours("resnet8-80", "int8"),
            ours("resnet8-headline", "int8", seeds=(0, 1, 2)),
            ours("resnet8-45", "int8"),
            ours("resnet8-35", "int8"),
            ours("resnet8-25", "int8"),
            Point("int8-refined", "int8-refined"),
            ours("resnet8-qat", "int8", seeds=(0, 1, 2)),
            ours("resnet8-prune50", "int8", seeds=(0, 1, 2)),
            *pruned("resnet8", 50, 70, 80, 90),
            *(zipped(f"resnet8-prune{share}-cluster16") for share in (50, 70, 80, 90)),
        ),
        loss=3.1, smaller=5,
        compress_options=("--augment", f"{HERE / 'cifar10.py'}:augment"),
    )  # fmt: skip


def _autoencoder(data: Path, _cache: Path) -> Case:
    clips = list(toycar.windows("test") or ())
    x = np.concatenate([clip for clip, _ in clips])
    y = np.concatenate([label for _, label in clips if label is not None])

    def judge(artifact: Path) -> Judged:
        return auc(x, y, interpreters.litert_predict(artifact, x))

    return Case(
        "autoencoder", "AUC", data / "mlperf_tiny_ad_autoencoder" / "ad01.h5",
        f"{HERE / 'toycar.py'}:normal", judge,
        (
            FLOAT, INT8,
            ours("autoencoder-headline", "int8", seeds=(0, 1, 2), trains=False),
            ours("autoencoder-25", "int8", trains=False),
            ours("autoencoder-12", "int8", trains=False),
        ),
        loss=3.0, smaller=8, options=("--metric", "mse"),
    )  # fmt: skip


def _small(name: str, data: Path, cache: Path) -> Case:
    spec = small_nets.roles(data / "mnist_lstm_tflite" / "mnist.npz", cache)
    precision = "int8-dynamic" if name == "lstm" else "int8"
    pupil = ("--student", str(small_nets.student(name, cache)))
    return Case(
        name, "top1", small_nets.trained(name, spec, cache), str(spec), top1(spec, 1 / 255),
        (
            FLOAT, Point(f"{precision} alone", None, precision),
            Point("lossless", "lossless", "fp32"),
            ours("small-channels", precision),
            ours("small-student", precision, options=pupil),
            ours("small-prune80", precision),
            ours("small-qat", precision),
        ),
        loss=1.0, smaller=4, options=("--preprocess", "unit"),
    )  # fmt: skip


def top1(spec: Path, scale: float) -> Callable[[Path], Judged]:
    """Judges artifacts by the test role of an `.npz`, its inputs scaled."""
    with np.load(spec) as stored:
        x, labels = stored["x_test"].astype(np.float32) * np.float32(scale), stored["y_test"]

    def judge(artifact: Path) -> Judged:
        correct = interpreters.litert_predict(artifact, x).argmax(1) == labels
        interval = proportions.wilson(int(correct.sum()), len(correct))
        return Judged(float(correct.mean()), interval, len(correct), correct)

    return judge


def auc(x: np.ndarray, y: np.ndarray, outputs: np.ndarray, draws: int = 1000) -> Judged:
    """Area under the ROC curve over clips, with a percentile bootstrap over clips (seed 0)."""
    scores = np.square(x - outputs).mean(1).reshape(-1, toycar.WINDOWS_PER_CLIP).mean(1)
    anomalous = y.reshape(-1, toycar.WINDOWS_PER_CLIP)[:, 0] == 1
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, len(scores), len(scores)) for _ in range(draws))
    found = [toycar.rank_auc(scores[rows], anomalous[rows]) for rows in drawn]
    low, high = np.quantile(found, [0.025, 0.975])
    return Judged(toycar.rank_auc(scores, anomalous), (float(low), float(high)), len(scores))
