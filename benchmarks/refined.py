"""What tuning on 100 unlabelled samples gives back of what int8 loses.

Needs EDGEKIT_DATA. Two networks: ResNet-8 (MLPerf Tiny), and a narrow MobileNet-like one, trained
here on Fashion-MNIST, whose depthwise kernels and activations have widely different ranges. Every
draw is another 100 training images without labels. Three ways to int8 from the same images: the
script of TensorFlow's own guide (min-max), `edgekit convert`, and the recipe `int8-refined`. All
are judged on the test images by a bare interpreter; McNemar's test compares each with the float
network.
"""

from __future__ import annotations

import os
import statistics
import sys
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
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
BARE_INT8 = """
import sys, keras, numpy as np, tensorflow as tf
model = keras.saving.load_model(sys.argv[1], compile=False)
samples = np.load(sys.argv[2])["x_calib"].astype("float32") * np.float32(sys.argv[4])
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(sys.argv[3], "wb").write(converter.convert())
"""


def measure(directory: Path) -> dict[str, Any]:
    """Converts and judges both networks; a row per network and way, over all draws."""
    data = Path(os.environ["EDGEKIT_DATA"])
    folder = data / "mlperf_tiny_ic_resnet8"
    images = cifar10.roles(folder, directory.parent)
    clothes = fashion_mnist.roles(data / "fashion_mnist" / "fashion_mnist.npz", directory.parent)
    narrow = narrow_net.trained(clothes, directory.parent)
    return {
        "rows": [
            *_network("resnet8", folder / "pretrainedResnet.h5", images, 1.0, directory),
            *_network("narrow", narrow, clothes, 1 / 255, directory),
        ]
    }


def _network(
    name: str, model: Path, data: Path, scale: float, directory: Path
) -> list[dict[str, Any]]:
    with np.load(data) as stored:
        test, labels = stored["x_test"].astype(np.float32) * np.float32(scale), stored["y_test"]
        pool = stored["x_calib"] if "x_calib" in stored else stored["x_train"]
    preprocess = [] if scale == 1.0 else ["--preprocess", "unit"]

    def judged(artifact: Path) -> np.ndarray:
        return interpreters.litert_predict(artifact, test).argmax(1) == labels

    plain = directory / f"{name}-float.tflite"
    _edgekit("convert", str(model), "--precision", "fp32", output=plain)
    reference = judged(plain)
    found: dict[str, list[np.ndarray]] = {"TFLiteConverter": [], "edgekit": [], "int8-refined": []}
    seconds = []
    for draw in range(DRAWS):
        samples = directory / f"{name}-samples-{draw}.npz"
        rows = np.random.default_rng(draw).choice(len(pool), SAMPLES, replace=False)
        np.savez(samples, x_calib=pool[rows])
        given = ["--data", str(samples), *preprocess]
        int8 = ["--precision", "int8", *given]
        stem = directory / f"{name}-{draw}"
        bare, ours, tuned = (Path(f"{stem}-{way}.tflite") for way in ("bare", "ours", "refined"))
        processes.run(
            [sys.executable, "-c", BARE_INT8, str(model), str(samples), str(bare), str(scale)],
            environment=QUIET,
        )
        _edgekit("convert", str(model), *int8, output=ours)
        taught = tuned.with_suffix(".keras")
        seconds.append(
            _edgekit("compress", str(model), "--recipe", "int8-refined", *given, output=taught)
        )
        _edgekit("convert", str(taught), *int8, output=tuned)
        for way, artifact in zip(found, (bare, ours, tuned), strict=True):
            found[way].append(judged(artifact))
    return [
        {"model": name, "way": "float", "n": len(labels), "top1": [float(reference.mean())]},
        *(_row(name, way, reference, correct) for way, correct in found.items()),
        {"model": name, "way": "seconds of int8-refined", "mean": statistics.mean(seconds)},
    ]


def _row(model: str, way: str, reference: np.ndarray, correct: list[np.ndarray]) -> dict[str, Any]:
    lost = [100 * float(reference.mean() - one.mean()) for one in correct]
    return {
        "model": model,
        "way": way,
        "n": len(reference),
        "top1": [float(one.mean()) for one in correct],
        "lost, points": lost,
        "mean": statistics.mean(lost),
        "mcnemar_p": [proportions.mcnemar(reference, one) for one in correct],
    }


def _edgekit(*arguments: str, output: Path) -> float:
    command = [sys.executable, "-P", "-m", "edgekit", *arguments, "-q", "--force"]
    return processes.run([*command, "-o", str(output)], environment=QUIET).wall_s
