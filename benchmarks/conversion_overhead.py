"""What edgekit's checks cost: its conversions against calling the libraries directly.

MobileNetV2-224 (random weights), 20 calibration samples, whole processes, interleaved. The
yardstick is the int8 script that TensorFlow's own guide shows; edgekit converts, compares four
calibrations, checks types and parity, and writes a manifest.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import processes

ROUNDS = 5

MAKE_MODEL = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3)).save(sys.argv[1])
x = np.random.default_rng(0).uniform(-1, 1, (20, 224, 224, 3)).astype("float32")
np.savez(sys.argv[2], x_calib=x, y_calib=np.zeros(20, int), x_test=x, y_test=np.zeros(20, int))
"""
BARE_INT8 = """
import sys, keras, numpy as np, tensorflow as tf
model = keras.saving.load_model(sys.argv[1])
samples = np.load(sys.argv[2])["x_calib"]
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(sys.argv[3], "wb").write(converter.convert())
"""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def measure(directory: Path) -> dict[str, Any]:
    """Runs all commands in turn; returns medians, spreads and ratios to the bare script."""
    model, data = directory / "mobilenet_v2.keras", directory / "samples.npz"
    if not model.exists():
        processes.run([sys.executable, "-c", MAKE_MODEL, str(model), str(data)], environment=QUIET)
    float_tflite = directory / "float.tflite"
    edgekit = [sys.executable, "-m", "edgekit", "convert"]
    processes.run(
        [*edgekit, str(model), "--precision", "fp32", "--force", "-o", str(float_tflite)],
        environment=QUIET,
    )
    int8 = ["--precision", "int8", "--data", str(data), "--force", "-o"]
    commands = {
        "bare TFLiteConverter, Keras to int8": [
            sys.executable, "-c", BARE_INT8, str(model), str(data), str(directory / "bare.tflite"),
        ],
        "edgekit, Keras to int8": [*edgekit, str(model), *int8, str(directory / "keras.tflite")],
        "edgekit, float .tflite to int8": [
            *edgekit, str(float_tflite), *int8, str(directory / "tflite.tflite"),
        ],
    }  # fmt: skip
    runs: dict[str, list[processes.Run]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            runs[name].append(processes.run(command, environment=QUIET))
    return _summary(runs)


def _summary(runs: dict[str, list[processes.Run]]) -> dict[str, Any]:
    bare = next(iter(runs.values()))
    rows = []
    for name, measured in runs.items():
        times = [run.wall_s for run in measured]
        ratios = [a.wall_s / b.wall_s for a, b in zip(measured, bare, strict=True)]
        peaks = [run.peak_bytes for run in measured]
        rows.append(
            {
                "command": name,
                "wall_s": statistics.median(times),
                "wall_range_s": [min(times), max(times)],
                "time_ratio": statistics.median(ratios),
                "time_ratio_range": [min(ratios), max(ratios)],
                "peak_bytes": statistics.median(peaks),
                "peak_ratio": statistics.median(peaks)
                / statistics.median(r.peak_bytes for r in bare),
            }
        )
    return {"rounds": ROUNDS, "rows": rows}
