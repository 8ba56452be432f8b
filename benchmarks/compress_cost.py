"""Wall time and peak memory of every built-in recipe, on the digits that edgekit carries.

Two cores and one small model, so the fixed costs show: starting TensorFlow, tracing the training
step. `--epochs 2` where a recipe trains. The student of `distill` is the model itself.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import processes

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
EPOCHS = 2


def measure(directory: Path) -> dict[str, Any]:
    """One `edgekit compress` per recipe."""
    said = _edgekit("recipes", "list", "--json").stdout
    return {
        "epochs": EPOCHS,
        "rows": [_row(recipe, directory) for recipe in json.loads(said)["recipes"]],
    }


def _row(recipe: dict[str, Any], directory: Path) -> dict[str, Any]:
    digits = resources.files("edgekit")
    name, output = recipe["name"], directory / f"{recipe['name']}.keras"
    trained = ["--epochs", str(EPOCHS)] if _trains(recipe) else []
    run = _edgekit(
        "compress", str(digits / "demo_digits.keras"), "--recipe", name, "--data",
        str(digits / "demo_digits.npz"), *trained, "--force", "-q", "-o", str(output),
    )  # fmt: skip
    made = json.loads(Path(f"{output}.edgekit.json").read_text())
    return {
        "recipe": name,
        "epochs": EPOCHS if trained else None,
        "wall_s": run.wall_s,
        "peak_bytes": run.peak_bytes,
        "compress_s": made["timing"]["compress_s"],
        "parameters": made["steps"][-1]["detail"].get("parameters_after"),
        "test": made["accuracy"]["value"] if made["accuracy"] else None,
    }


def _trains(recipe: dict[str, Any]) -> bool:
    kinds = {"finetune", "distill", "prune", "cluster"}
    return any(step["kind"] in kinds or step.get("mode") == "qat" for step in recipe["step"])


def _edgekit(*arguments: str) -> processes.Run:
    return processes.run([sys.executable, "-P", "-m", "edgekit", *arguments], environment=QUIET)
