"""edgekit's own pruning, clustering and quantization-aware training beside TFMOT's, on ResNet-8.

Needs EDGEKIT_DATA and TFMOT. Each pair of recipes (`recipes/own-….toml`, `recipes/tfmot-….toml`)
differs in `engine` alone: the same epochs, learning rates, batches, augmentation and seeds, and
`weight = 0`, so that both train on labels alone: on the 3,000 lossless images, which keeps three
seeds of both engines within an hour. Every artifact comes from one `edgekit compress` and one
`edgekit convert --precision int8`, and is judged on x_test by a bare interpreter. What is in the
cache is not made again. EDGEKIT_TFMOT_EPOCHS=1 sets the epochs of every step,
EDGEKIT_TFMOT_SEEDS=0,1,2 the seeds.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cifar10
import numpy as np
import processes
import tradeoff_cases

PAIRS = ("prune80", "cluster16", "qat", "pcqat")
ENGINES = ("own", "tfmot")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
EPOCHS = os.environ.get("EDGEKIT_TFMOT_EPOCHS")
SEEDS = tuple(map(int, os.environ.get("EDGEKIT_TFMOT_SEEDS", "0").split(",")))


def measure(directory: Path) -> dict[str, Any]:
    """Makes and judges the artifacts of both engines, recipe by recipe."""
    folder = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ic_resnet8"
    model, data = folder / "pretrainedResnet.h5", _lossless(folder, directory)
    judge = tradeoff_cases.top1(data, 1.0)
    rows = []
    for pair in PAIRS:
        for seed in SEEDS:
            for engine in ENGINES:
                artifact, made = _make(f"{engine}-{pair}", seed, model, data, directory)
                judged = judge(artifact)
                content = artifact.read_bytes()
                rows.append({
                    "recipe": pair, "engine": engine, "seed": seed,
                    "top1": judged.value, "ci95": list(judged.ci95), "n": judged.n,
                    "zeros": _zeros(made),
                    "size_bytes": len(content),
                    "gzip_bytes": len(gzip.compress(content, 9)),
                    "seconds_per_epoch": list(_seconds(made)),
                })  # fmt: skip
    return {"epochs": EPOCHS, "rows": rows}


def _lossless(folder: Path, directory: Path) -> Path:
    """The roles of `cifar10`, of which only the lossless images train, each once."""
    path = directory / "lossless.npz"
    if not path.exists():
        with np.load(folder / "cifar10_lossless_subset.npz") as stored:
            train, held = slice(-cifar10.N_VAL), slice(-cifar10.N_VAL, None)
            np.savez(
                path,
                x_train=stored["x_train"][train], y_train=stored["y_train"][train],
                x_val=stored["x_train"][held], y_val=stored["y_train"][held],
                x_test=stored["x_test"], y_test=stored["y_test"],
            )  # fmt: skip
    return path


def _make(
    recipe: str, seed: int, model: Path, data: Path, directory: Path
) -> tuple[Path, dict[str, Any]]:
    """An int8 .tflite, and the manifest of the .keras that it was converted from."""
    compressed = directory / f"{recipe}-{seed}.keras"
    common = ["--data", str(data), "--seed", str(seed), "-q"]
    epochs = ["--epochs", EPOCHS] if EPOCHS else []
    _edgekit(
        "compress", str(model), "--recipe", str(tradeoff_cases.RECIPES / f"{recipe}.toml"), *common,
        *epochs, "--augment", f"{tradeoff_cases.HERE / 'cifar10.py'}:augment",
        "-o", str(compressed),
    )  # fmt: skip
    artifact = compressed.with_suffix(".tflite")
    _edgekit(
        "convert", str(compressed), "--target", "host", "--precision", "int8", *common,
        "-o", str(artifact),
    )  # fmt: skip
    return artifact, json.loads(Path(f"{compressed}.edgekit.json").read_text())


def _zeros(made: dict[str, Any]) -> float | None:
    """The share of weights that are zero in the end."""
    shares = [step["detail"].get("sparsity") for step in made["steps"]]
    return next((share for share in reversed(shares) if share is not None), None)


def _seconds(made: dict[str, Any]) -> Iterator[float]:
    """Of each step that trains: wall time by epoch, with starting, tracing and judging in it."""
    ran = [step for step in made["steps"] if step["name"] not in {"source", "student"}]
    for number, step in enumerate(ran, 1):
        for training in step["detail"].get("training", ()):
            seconds = made["timing"][f"step{number}_{step['name']}_s"]
            yield seconds / (len(training["history"]) - 1)


def _edgekit(*arguments: str) -> None:
    print(f"edgekit {' '.join(arguments[:4])} -o {arguments[-1]}", file=sys.stderr, flush=True)
    processes.run([sys.executable, "-P", "-m", "edgekit", *arguments], environment=QUIET)
