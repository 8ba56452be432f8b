"""What tuning on 100 unlabelled samples gives back of what int8 loses.

Needs EDGEKIT_DATA. Two networks: ResNet-8 (MLPerf Tiny), and a narrow MobileNet-like one, trained
here on Fashion-MNIST; that one also with one scale for each kernel in place of one per channel, as
some runtimes want it, which depthwise kernels suit badly. Every draw is another 100 training images
without labels. Three ways to int8 from the same images: the script of TensorFlow's own guide
(min-max), `edgekit convert`, and the recipe `int8-refined`. All are judged on the test images by a
bare interpreter: by accuracy, with McNemar's test against the float network, and by the noise in
their outputs, which shows what so few images do not.
"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar10
import fashion_mnist
import interpreters
import narrow_net
import numpy as np
import processes
import proportions

SAMPLES = 100
DRAWS = 3
WAYS = ("TFLiteConverter", "edgekit", "int8-refined")
ONE_SCALE = """
extends = "host"
name = "one-scale"
title = "LiteRT where no weights may have a scale per channel"

[precision]
per_channel = false
"""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
BARE_INT8 = """
import sys, keras, numpy as np, tensorflow as tf
model = keras.saving.load_model(sys.argv[1], compile=False)
samples = np.load(sys.argv[2])["x_calib"].astype("float32") * np.float32(sys.argv[4])
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter._experimental_disable_per_channel = sys.argv[5] == "one scale"
open(sys.argv[3], "wb").write(converter.convert())
"""


@dataclass(frozen=True)
class Network:
    """A float model, the images that it is judged on and calibrated with, and a profile."""

    name: str
    model: Path
    data: Path
    scale: float
    target: str = "host"

    def options(self, samples: Path) -> list[str]:
        """What edgekit is given besides the model."""
        preprocess = [] if self.scale == 1.0 else ["--preprocess", "unit"]
        return ["--target", self.target, "--data", str(samples), *preprocess]


def measure(directory: Path) -> dict[str, Any]:
    """Converts and judges every network; a row per network and way, over all draws."""
    data = Path(os.environ["EDGEKIT_DATA"])
    folder = data / "mlperf_tiny_ic_resnet8"
    images = cifar10.roles(folder, directory.parent)
    clothes = fashion_mnist.roles(data / "fashion_mnist" / "fashion_mnist.npz", directory.parent)
    narrow = narrow_net.trained(clothes, directory.parent)
    one_scale = directory / "one-scale.toml"
    one_scale.write_text(ONE_SCALE)
    networks = (
        Network("resnet8", folder / "pretrainedResnet.h5", images, 1.0),
        Network("narrow", narrow, clothes, 1 / 255),
        Network("narrow-one-scale", narrow, clothes, 1 / 255, str(one_scale)),
    )
    return {"rows": [row for network in networks for row in _rows(network, directory)]}


def _rows(network: Network, directory: Path) -> list[dict[str, Any]]:
    with np.load(network.data) as stored:
        test = stored["x_test"].astype(np.float32) * np.float32(network.scale)
        labels = stored["y_test"]
        pool = stored["x_calib"] if "x_calib" in stored else stored["x_train"]
    plain = directory / f"{network.name}-float.tflite"
    _edgekit("convert", str(network.model), "--precision", "fp32", output=plain)
    reference = interpreters.litert_predict(plain, test)
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    seconds = []
    for draw in range(DRAWS):
        samples = directory / f"{network.name}-samples-{draw}.npz"
        rows = np.random.default_rng(draw).choice(len(pool), SAMPLES, replace=False)
        np.savez(samples, x_calib=pool[rows])
        artifacts, took = _converted(network, samples, directory / f"{network.name}-{draw}")
        seconds.append(took)
        for way, artifact in zip(WAYS, artifacts, strict=True):
            found[way].append(interpreters.litert_predict(artifact, test))
    right = float((reference.argmax(1) == labels).mean())
    return [
        {"model": network.name, "way": "float", "n": len(labels), "top1": [right]},
        *(_row(network.name, way, reference, found[way], labels) for way in WAYS),
        {"model": network.name, "way": "s of int8-refined", "mean": statistics.mean(seconds)},
    ]


def _converted(network: Network, samples: Path, stem: Path) -> tuple[list[Path], float]:
    """Artifacts in the order of WAYS, and the seconds that refining took."""
    bare, ours, tuned = (Path(f"{stem}-{way}.tflite") for way in ("bare", "ours", "refined"))
    scales = "per channel" if network.target == "host" else "one scale"
    processes.run(
        [sys.executable, "-c", BARE_INT8, str(network.model), str(samples), str(bare),
         str(network.scale), scales],
        environment=QUIET,
    )  # fmt: skip
    given = network.options(samples)
    _edgekit("convert", str(network.model), "--precision", "int8", *given, output=ours)
    taught = tuned.with_suffix(".keras")
    took = _edgekit(
        "compress", str(network.model), "--recipe", "int8-refined", *given, output=taught
    )
    _edgekit("convert", str(taught), "--precision", "int8", *given, output=tuned)
    return [bare, ours, tuned], took


def _row(
    model: str, way: str, reference: np.ndarray, outputs: list[np.ndarray], labels: np.ndarray
) -> dict[str, Any]:
    before = reference.argmax(1) == labels
    correct = [one.argmax(1) == labels for one in outputs]
    lost = [100 * float(before.mean() - one.mean()) for one in correct]
    return {
        "model": model,
        "way": way,
        "n": len(reference),
        "top1": [float(one.mean()) for one in correct],
        "lost, points": lost,
        "mean": statistics.mean(lost),
        "mcnemar_p": [proportions.mcnemar(before, one) for one in correct],
        "sqnr_db": [_sqnr_db(reference, one) for one in outputs],
    }


def _sqnr_db(reference: np.ndarray, outputs: np.ndarray) -> float:
    exact = reference.astype(np.float64)
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - outputs).sum()))


def _edgekit(*arguments: str, output: Path) -> float:
    command = [sys.executable, "-P", "-m", "edgekit", *arguments, "-q", "--force"]
    return processes.run([*command, "-o", str(output)], environment=QUIET).wall_s
