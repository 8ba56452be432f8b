"""What a step of training costs in edgekit, against a bare `fit`: fine-tuning, and with int8 in it.

Needs EDGEKIT_DATA. ResNet-8 on 3,000 images, judged on 1,000 after every epoch. The seconds of one
epoch are what a process with EPOCHS + 1 takes beyond one with one, over EPOCHS, so that starting,
tracing and calibrating are not in it. All ways are interleaved; ratios are to the bare script of
the same round.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import processes

from edgekit.workers import KEEP_MEMORY

ROUNDS = 3
EPOCHS = 3
N_TRAIN, N_VAL, BATCH = 3_000, 1_000, 32
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
BARE_FIT = """
import sys, keras, numpy as np
keras.utils.set_random_seed(0)
model = keras.saving.load_model(sys.argv[1], compile=False)
with np.load(sys.argv[2]) as stored:
    x, y, x_val, y_val = (stored[name] for name in ("x_train", "y_train", "x_val", "y_val"))
model.compile(
    keras.optimizers.Adam(2e-5), "sparse_categorical_crossentropy", metrics=["accuracy"],
    jit_compile=False,
)
model.fit(
    x.astype("float32"), y, epochs=int(sys.argv[3]), batch_size=int(sys.argv[4]), verbose=0,
    validation_data=(x_val.astype("float32"), y_val),
)
"""
RECIPE = """
name = "{name}"
title = "{name}"

[[step]]
{step}
epochs = 1
batch_size = {batch}
learning_rate = 2e-5
"""
STEPS = {
    "edgekit, finetune": 'kind = "finetune"',
    "edgekit, int8 in training": 'kind = "quantize"\nmode = "qat"\nweight = 0.0',
    "edgekit, int8 in training, with the float net as teacher": 'kind = "quantize"\nmode = "qat"',
}


def measure(directory: Path) -> dict[str, Any]:
    """Trains in every way, ROUNDS times; a row per way."""
    folder = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ic_resnet8"
    model, data = folder / "pretrainedResnet.h5", _data(folder, directory)
    commands = {"bare fit": [sys.executable, "-c", BARE_FIT, str(model), str(data)]}
    for number, (way, step) in enumerate(STEPS.items()):
        recipe = directory / f"way{number}.toml"
        recipe.write_text(RECIPE.format(name=f"way{number}", step=step, batch=BATCH))
        commands[way] = [
            sys.executable, "-P", "-m", "edgekit", "compress", str(model), "--recipe", str(recipe),
            "--target", "host", "--data", str(data), "--force", "-q",
            "-o", str(directory / f"way{number}.keras"),
        ]  # fmt: skip
    seconds: dict[str, list[float]] = {way: [] for way in commands}
    for _ in range(ROUNDS):
        for way, command in commands.items():
            one, many = (_seconds(command, way, epochs) for epochs in (1, EPOCHS + 1))
            seconds[way].append((many - one) / EPOCHS)
    bare = seconds["bare fit"]
    return {"rows": [_row(way, measured, bare) for way, measured in seconds.items()]}


def _data(folder: Path, directory: Path) -> Path:
    path = directory / "images.npz"
    with np.load(folder / "cifar10_lossless_subset.npz") as stored:
        x, y = stored["x_train"], stored["y_train"]
        test = {name: stored[name] for name in ("x_test", "y_test")}
    kept, held = slice(N_TRAIN), slice(N_TRAIN, N_TRAIN + N_VAL)
    np.savez(path, x_train=x[kept], y_train=y[kept], x_val=x[held], y_val=y[held], **test)
    return path


def _seconds(command: list[str], way: str, epochs: int) -> float:
    """Wall time of one process; all allocate memory alike, which is worth a third of the time."""
    given = [str(epochs), str(BATCH)] if way == "bare fit" else ["--epochs", str(epochs)]
    return processes.run([*command, *given], environment={**QUIET, **KEEP_MEMORY}).wall_s


def _row(way: str, seconds: list[float], bare: list[float]) -> dict[str, Any]:
    ratios = [one / other for one, other in zip(seconds, bare, strict=True)]
    return {
        "way": way,
        "s per epoch": statistics.median(seconds),
        "range": [min(seconds), max(seconds)],
        "ratio": statistics.median(ratios),
        "ratio range": [min(ratios), max(ratios)],
    }
