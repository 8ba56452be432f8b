"""The time of an `edgekit run` over twelve artifacts where nothing has changed, and its imports."""

from __future__ import annotations

import json
import resource
import statistics
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import processes

ROUNDS = 20
FILE = """\
[model.digits]
path = "digits-fp32.tflite"
data = "digits.npz"

[[build]]
model = "digits"
target = ["host", "raspberry-pi-4", "linux-arm64"]
precision = ["fp32", "fp16", "int8", "int8-dynamic"]
"""
FRAMEWORKS = ("numpy", "tensorflow", "keras", "openvino", "onnx", "ai_edge_litert")
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""An installed edgekit is compiled once, whatever this environment says."""

_LISTING = f"""
import sys
from edgekit.cli import main
assert main(sys.argv[1:]) == 0
print(*[name for name in {FRAMEWORKS!r} if name in sys.modules])
"""


def measure(directory: Path) -> dict[str, Any]:
    """Wall and CPU time of whole processes, the bare interpreter's beside them."""
    project = _project(directory)
    command = ["run", str(project), "--json", "-q", "--cache-dir", str(directory / "cache")]
    first = _edgekit(*command)
    made = json.loads(first.stdout)
    taken: dict[str, list[tuple[float, float]]] = {"python -c pass": [], "edgekit run": []}
    for _ in range(ROUNDS):
        taken["python -c pass"].append(_timed([sys.executable, "-c", "pass"]))
        taken["edgekit run"].append(_timed([sys.executable, "-P", "-m", "edgekit", *command]))
    again = json.loads(_edgekit(*command).stdout)
    return {
        "rounds": ROUNDS,
        "artifacts": len(again["artifacts"]),
        "first_run_s": first.wall_s,
        "first_statuses": sorted({one["status"] for one in made["stages"]}),
        "statuses": sorted({one["status"] for one in again["stages"]}),
        "frameworks_loaded": _loaded(command),
        "rows": [_row(name, times) for name, times in taken.items()],
    }


def _row(name: str, times: list[tuple[float, float]]) -> dict[str, Any]:
    walls, cpus = zip(*times, strict=True)
    return {
        "command": name,
        "wall_s": statistics.median(walls),
        "wall_range_s": [min(walls), max(walls)],
        "cpu_s": statistics.median(cpus),
    }


def _project(directory: Path) -> Path:
    """A float model as .tflite, so that no stage needs TensorFlow."""
    shipped = resources.files("edgekit")
    data = directory / "digits.npz"
    data.write_bytes((shipped / "demo_digits.npz").read_bytes())
    if not (directory / "digits-fp32.tflite").exists():
        _edgekit(
            "convert", str(shipped / "demo_digits.keras"), "-q", "-o",
            str(directory / "digits-fp32.tflite"),
        )  # fmt: skip
    file = directory / "edgekit.toml"
    file.write_text(FILE)
    return file


def _loaded(command: list[str]) -> list[str]:
    done = processes.run([sys.executable, "-P", "-c", _LISTING, *command])
    return done.stdout.splitlines()[-1].split()


def _timed(command: list[str]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall_s = processes.run(command, environment=COMPILED).wall_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, sum(after[:2]) - sum(before[:2])


def _edgekit(*arguments: str) -> processes.Run:
    return processes.run([sys.executable, "-P", "-m", "edgekit", *arguments])
