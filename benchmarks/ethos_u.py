"""What Vela estimates for MLPerf Tiny's nets on the three Ethos-U profiles.

Needs EDGEKIT_DATA, TensorFlow and ethos-u-vela. Each float model is brought to int8 once and then
compiled for each target. Nothing here was measured: every figure is an estimate, and of the NPU
alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import toycar

TARGETS = ("cortex-m55-ethos-u55-128", "imx93-ethos-u65-256", "corstone-320-ethos-u85-256")
INT8_TARGET = "cortex-m55"
"""Any whose artifacts are int8 .tflite files with integer inputs and outputs."""


def measure(directory: Path) -> dict[str, Any]:
    """One row per model and target."""
    data = Path(os.environ["EDGEKIT_DATA"])
    rows = [
        _row(name, target, int8, directory)
        for name, make in MODELS.items()
        for int8 in [make(data, directory)]
        for target in TARGETS
    ]
    return {"kind": "estimate", "npu_only": True, "rows": rows}


def resnet8(data: Path, directory: Path) -> Path:
    folder = data / "mlperf_tiny_ic_resnet8"
    spec = folder / "cifar10_lossless_subset.npz"
    return _int8(folder / "pretrainedResnet.h5", spec, directory / "resnet8.tflite")


def wake_word(data: Path, directory: Path) -> Path:
    folder = data / "mlperf_tiny_sww_conv1d"
    spec = directory / "wake_word.npz"
    with np.load(folder / "calibration_samples.npz") as stored:
        np.savez(spec, x_calib=stored["specs"].astype(np.float32))
    return _int8(folder / "str_ww_ref_model.h5", spec, directory / "wake_word.tflite")


def autoencoder(data: Path, directory: Path) -> Path:
    model = data / "mlperf_tiny_ad_autoencoder" / "ad01.h5"
    return _int8(model, f"{Path(toycar.__file__)}:windows", directory / "autoencoder.tflite")


MODELS: dict[str, Callable[[Path, Path], Path]] = {
    "ResNet-8": resnet8,
    "wake word": wake_word,
    "autoencoder": autoencoder,
}


def _int8(model: Path, spec: Path | str, output: Path) -> Path:
    _convert(model, INT8_TARGET, output, "--data", str(spec))
    return output


def _row(name: str, target: str, int8: Path, directory: Path) -> dict[str, Any]:
    output = directory / target / int8.name
    estimate = _convert(int8, target, output)["estimate"]
    used = {entry["name"]: entry["used_bytes"] for entry in estimate["memories"]}
    flash = used["on-chip flash"] + used["off-chip flash"]
    return {
        "model": name,
        "target": target,
        "MACs": estimate["macs"],
        "cycles": estimate["total_cycles"],
        "s": estimate["inference_s"],
        "SRAM, bytes": used["sram"],
        "DRAM, bytes": used["dram"],
        "flash, bytes": flash,
        "file, bytes": output.stat().st_size,
        "on the NPU": estimate["npu_operators"],
        "on the CPU": [entry["kind"] for entry in estimate["cpu_operators"]] or "none",
    }


def _convert(model: Path, target: str, output: Path, *more: str) -> dict[str, Any]:
    command = ["convert", str(model), "--target", target, "-o", str(output), "--force", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *command, *more],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{model.name} for {target}: {done.stderr[-500:]}")
    written: dict[str, Any] = json.loads(done.stdout)
    return written
