"""int8 in ONNX Runtime: what edgekit writes against `quantize_static` called by hand.

Needs EDGEKIT_DATA. ResNet-8 is judged on its 1,000 test images, MobileNetV2-224 (random weights,
normalization fitted to the samples) by how near its logits are to those of the float model. All
variants of a model start from one float .onnx, are calibrated on the same samples, and are timed in
one process on one thread, taking turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import processes
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
CALIBRATED, JUDGED = 100, 100
TURNS, RUNS_S = 15, 0.2
HAND = {
    "by hand, defaults": {},
    "by hand, unsigned": {"activation_type": QuantType.QUInt8},
    "by hand, unsigned, 7 bits": {"activation_type": QuantType.QUInt8, "reduce_range": True},
}
"""`quantize_static`, QDQ and per channel, after `quant_pre_process`."""

MAKE_MOBILENET = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
model = keras.applications.MobileNetV2(
    weights=None, input_shape=(224, 224, 3), classifier_activation=None
)
random = np.random.default_rng(0)
coarse = random.uniform(-1, 1, (200, 7, 7, 3)).astype("float32")
x = keras.ops.convert_to_numpy(keras.ops.image.resize(coarse, (224, 224), interpolation="bicubic"))
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.0
model(x[:32], training=True)
model.save(sys.argv[1])
np.savez(sys.argv[2], x_calib=x[:100], x_test=x[100:])
"""


def measure(directory: Path) -> dict[str, Any]:
    """Converts, judges and times every variant of both models."""
    return {"rows": [*_resnet8(directory), *_mobilenet(directory)]}


def _resnet8(directory: Path) -> list[dict[str, Any]]:
    folder = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ic_resnet8"
    with np.load(folder / "cifar10_lossless_subset.npz") as stored:
        picked = np.random.default_rng(0).choice(len(stored["x_train"]), CALIBRATED, replace=False)
        x_calib = stored["x_train"][picked].astype(np.float32)
        x, y = stored["x_test"].astype(np.float32), stored["y_test"].reshape(-1)
    samples = directory / "resnet8.npz"
    np.savez(samples, x_calib=x_calib)
    variants = _variants(folder / "pretrainedResnet.h5", samples, x_calib, directory / "resnet8")
    return _rows("ResNet-8", variants, x, y)


def _mobilenet(directory: Path) -> list[dict[str, Any]]:
    model, samples = directory / "mobilenet_v2.keras", directory / "mobilenet_v2.npz"
    if not samples.exists():
        command = [sys.executable, "-c", MAKE_MOBILENET, str(model), str(samples)]
        processes.run(command, environment=QUIET)
    with np.load(samples) as stored:
        x_calib, x = stored["x_calib"], stored["x_test"][:JUDGED]
    return _rows(
        "MobileNetV2", _variants(model, samples, x_calib, directory / "mobilenet"), x, None
    )


def _variants(
    model: Path, samples: Path, x_calib: np.ndarray, stem: Path
) -> dict[str, onnxruntime.InferenceSession]:
    edgekit = [
        sys.executable,
        "-m",
        "edgekit",
        "convert",
        "--target",
        "host-onnxruntime",
        "--force",
    ]
    plain, ours = Path(f"{stem}-fp32.onnx"), Path(f"{stem}-int8.onnx")
    processes.run([*edgekit, str(model), "-o", str(plain)], environment=QUIET)
    int8 = ["--precision", "int8", "--data", str(samples), "-o", str(ours)]
    processes.run([*edgekit, str(plain), *int8], environment=QUIET)
    files = {"fp32": plain, "edgekit": ours}
    prepared = Path(f"{stem}-prepared.onnx")
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    for number, (name, options) in enumerate(HAND.items()):
        files[name] = Path(f"{stem}-hand-{number}.onnx")
        quantize_static(
            str(prepared), str(files[name]), _Reader(plain, x_calib),
            quant_format=QuantFormat.QDQ, per_channel=True, **options,
        )  # fmt: skip
    return {name: _session(path) for name, path in files.items()}


class _Reader(CalibrationDataReader):
    def __init__(self, model: Path, x: np.ndarray) -> None:
        self._name = _session(model).get_inputs()[0].name
        self._rows: Iterator[np.ndarray] = iter(x)

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self._rows, None)
        return None if row is None else {self._name: row[None]}


def _session(path: Path) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), settings, ["CPUExecutionProvider"])


def _rows(
    model: str,
    variants: dict[str, onnxruntime.InferenceSession],
    x: np.ndarray,
    y: np.ndarray | None,
) -> list[dict[str, Any]]:
    outputs = {name: _predict(session, x) for name, session in variants.items()}
    reference = outputs["fp32"]
    times = _interleaved(variants, x[:1])
    rows = []
    for name in variants:
        ratios = [a / b for a, b in zip(times["fp32"], times[name], strict=True)]
        noise = np.square(reference - outputs[name]).sum()
        rows.append(
            {
                "model": model,
                "variant": name,
                "median_us": statistics.median(times[name]) * 1e6,
                "faster_than_fp32": statistics.median(ratios),
                "range": [min(ratios), max(ratios)],
                "sqnr_db": None
                if noise == 0
                else 10 * np.log10(np.square(reference).sum() / noise),
                "same_class": float((outputs[name].argmax(1) == reference.argmax(1)).mean()),
                "top1": None if y is None else float((outputs[name].argmax(1) == y).mean()),
            }
        )
    return rows


def _predict(session: onnxruntime.InferenceSession, x: np.ndarray) -> np.ndarray:
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: row[None]})[0] for row in x]).astype(np.float64)


def _interleaved(
    variants: dict[str, onnxruntime.InferenceSession], x: np.ndarray
) -> dict[str, list[float]]:
    """The median of each turn, variants taking turns; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(TURNS + 1):
        for name, session in variants.items():
            feed = {session.get_inputs()[0].name: x}
            runs, until = [], time.perf_counter() + RUNS_S
            while time.perf_counter() < until or len(runs) < 5:
                started = time.perf_counter()
                session.run(None, feed)
                runs.append(time.perf_counter() - started)
            times[name].append(statistics.median(runs))
    return {name: found[1:] for name, found in times.items()}
