"""What standalone C takes of microcontrollers, beside the plan of TensorFlow Lite Micro's arena.

Needs EDGEKIT_DATA and what `edgekit bench --device qemu://cortex-m7` needs. Every figure is exact:
no time is measured, and other load on this machine changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MODELS = {
    "ResNet-8": "mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite",
    "wake word": "mlperf_tiny_sww_conv1d/str_ww_ref_model.tflite",
    "autoencoder": "mlperf_tiny_ad_autoencoder/ad01_int8.tflite",
    "MobileNetV2-0.35-96": "tflm_arena/mobilenetv2_035_96_int8.tflite",
}
BOARDS = ("cortex-m3", "cortex-m7", "cortex-m55")


def measure(directory: Path) -> dict[str, Any]:
    """Planned arenas, and of each board flash, static RAM, stack, buffers and instructions."""
    data = Path(os.environ["EDGEKIT_DATA"])
    rows = [
        row
        for number, (name, path) in enumerate(MODELS.items())
        for row in _rows(name, data / path, directory / f"m{number}.h")
    ]
    return {"rows": rows}


def _rows(name: str, model: Path, header: Path) -> list[dict[str, Any]]:
    target = ("--target", "cortex-m7", "--emit", "c")
    _edgekit("convert", str(model), *target, "--force", "-q", "-o", str(header))
    manifest = json.loads(Path(f"{header}.edgekit.json").read_text())
    planned = {
        "TFLM head": manifest["arena"]["head_bytes"],
        "C arena": manifest["steps"][-1]["detail"]["arena_bytes"],
    }
    devices = [word for board in BOARDS for word in ("--device", f"qemu://{board}")]
    results = json.loads(_edgekit("bench", str(header), *devices, "--json"))["results"]
    return [
        {"model": name, **planned, "board": board, **_figures(result)}
        for board, result in zip(BOARDS, results, strict=True)
    ]


def _figures(result: dict[str, Any]) -> dict[str, int]:
    memory = result["footprint"]
    found = {name: memory[f"{name}_bytes"] for name in ("flash", "ram", "stack", "buffer")}
    return {**found, "instructions": result["instructions"]["per_inference"]}


def _edgekit(*words: str) -> str:
    command = [sys.executable, "-m", "edgekit", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
