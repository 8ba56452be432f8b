"""Accuracy of what `edgekit convert` makes of real models, judged by bare interpreters.

Needs EDGEKIT_DATA. The artifacts come from the command line, the accuracies from loops written
without edgekit (interpreters.py), so that a fault in edgekit's own evaluation would show.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import interpreters
import numpy as np
import processes
import proportions
import toycar

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
PREDICT = {"host": interpreters.litert_predict, "host-openvino": interpreters.openvino_predict}
SUFFIX = {"host": ".tflite", "host-openvino": ".xml"}


def measure(directory: Path) -> dict[str, Any]:
    """Converts and judges every model; rows say what was lost."""
    data = Path(os.environ["EDGEKIT_DATA"])
    rows = [*resnet8(data, directory), *autoencoder(data, directory)]
    rows += [*wake_word(data, directory), *lstm(data, directory)]
    return {"rows": rows}


def _convert(model: Path, target: str, output: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "edgekit", "convert", str(model), "--target", target]
    processes.run([*command, *options, "--force", "-o", str(output)], environment=QUIET)
    return output


def resnet8(data: Path, directory: Path) -> list[dict[str, Any]]:
    folder = data / "mlperf_tiny_ic_resnet8"
    spec = folder / "cifar10_lossless_subset.npz"
    with np.load(spec) as stored:
        images, labels = stored["x_test"].astype(np.float32), stored["y_test"]
    rows = []
    for target, predict in PREDICT.items():
        model = folder / "pretrainedResnet.h5"
        plain = _convert(model, target, directory / f"resnet8-fp32{SUFFIX[target]}")
        reference = predict(plain, images).argmax(1) == labels
        io_types = ["--input-type", "int8", "--output-type", "int8"] if target == "host" else []
        drops, sizes, p_values = [], [], []
        for seed in range(3):
            output = directory / f"resnet8-int8-{seed}{SUFFIX[target]}"
            options = ["--precision", "int8", "--data", str(spec), "--seed", str(seed), *io_types]
            correct = predict(_convert(model, target, output, *options), images).argmax(1) == labels
            drops.append(float(reference.mean() - correct.mean()))
            p_values.append(proportions.mcnemar(reference, correct))
            sizes.append(_size_bytes(output))
        rows.append(
            {
                "model": "ResNet-8", "target": target, "metric": "top1, x_test, n = 1000",
                "float": float(reference.mean()), "int8_drops": drops,
                "int8_mean_drop": float(np.mean(drops)), "mcnemar_p": p_values,
                "size_bytes": max(sizes),
            }
        )  # fmt: skip
    return rows


def autoencoder(data: Path, directory: Path) -> list[dict[str, Any]]:
    model = data / "mlperf_tiny_ad_autoencoder" / "ad01.h5"
    clips = list(toycar.windows("test") or ())
    x = np.concatenate([clip for clip, _ in clips])
    y = np.concatenate([label for _, label in clips if label is not None])
    spec = f"{Path(toycar.__file__)}:windows"
    return [
        _judged("autoencoder", "AUC, 248 clips", model, target, directory, spec,
                lambda outputs: toycar.auc(x, y, outputs), x)
        for target in PREDICT
    ]  # fmt: skip


def wake_word(data: Path, directory: Path) -> list[dict[str, Any]]:
    folder = data / "mlperf_tiny_sww_conv1d"
    with np.load(folder / "calibration_samples.npz") as stored:
        specs, labels = stored["specs"].astype(np.float32), stored["labels"].astype(int)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:5] for c in range(3)])
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    spec = directory / "wake_word.npz"
    np.savez(
        spec, x_calib=specs[chosen], y_calib=labels[chosen], x_test=specs[rest], y_test=labels[rest]
    )

    def top1(outputs: np.ndarray) -> float:
        return float((outputs.argmax(1) == labels[rest]).mean())

    model = folder / "str_ww_ref_model.h5"
    return [
        _judged("wake word", "top1, 30 samples", model, target, directory, str(spec), top1,
                specs[rest])
        for target in PREDICT
    ]  # fmt: skip


TRAIN_LSTM = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
stored = np.load(sys.argv[1])
x, y = stored["x_train"][:20000].astype("float32") / 255, stored["y_train"][:20000]
model = keras.Sequential([
    keras.Input((28, 28)), keras.layers.LSTM(32), keras.layers.Dense(10, activation="softmax")])
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
model.fit(x, y, epochs=4, batch_size=128, verbose=0)
model.save(sys.argv[2])
"""


def lstm(data: Path, directory: Path) -> list[dict[str, Any]]:
    source, model = data / "mnist_lstm_tflite" / "mnist.npz", directory / "lstm.keras"
    if not model.exists():
        processes.run(
            [sys.executable, "-c", TRAIN_LSTM, str(source), str(model)], environment=QUIET
        )
    with np.load(source) as stored:
        x, labels = stored["x_test"].astype(np.float32) / 255, stored["y_test"]

    def top1(outputs: np.ndarray) -> float:
        return float((outputs.argmax(1) == labels).mean())

    precision = {"host": "int8-dynamic", "host-openvino": "int8"}
    return [
        _judged("LSTM", "top1, 3,000 images", model, target, directory, str(source), top1, x,
                precision[target], "--preprocess", "unit")
        for target in PREDICT
    ]  # fmt: skip


def _judged(
    name: str,
    metric: str,
    model: Path,
    target: str,
    directory: Path,
    spec: str,
    judge: Callable[[np.ndarray], float],
    x: np.ndarray,
    precision: str = "int8",
    *options: str,
) -> dict[str, Any]:
    stem = name.replace(" ", "-")
    plain = _convert(
        model, target, directory / f"{stem}-fp32{SUFFIX[target]}", "--precision", "fp32"
    )
    small = _convert(
        model, target, directory / f"{stem}-{precision}{SUFFIX[target]}",
        "--precision", precision, "--data", spec, *options,
    )  # fmt: skip
    before, after = judge(PREDICT[target](plain, x)), judge(PREDICT[target](small, x))
    return {
        "model": name, "target": target, "metric": metric, "precision": precision, "float": before,
        "quantized": after, "drop": before - after, "float_size_bytes": _size_bytes(plain),
        "size_bytes": _size_bytes(small),
    }  # fmt: skip


def _size_bytes(main: Path) -> int:
    weights = main.with_suffix(".bin")
    return main.stat().st_size + (weights.stat().st_size if main.suffix == ".xml" else 0)
