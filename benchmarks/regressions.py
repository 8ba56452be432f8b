"""Does `edgekit check` call noise a regression, and does it see one of 20 %?

An artifact of the same work under other bytes is checked 30 times against a baseline, and one of
1.2 times the work 10 times, each by the command line, measured again and interleaved. The machine
may be as busy as it likes: that is the point.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

NOISE_REPEATS = 30
PLANTED_REPEATS = 10
BASE_OUTPUTS = 500
BUDGET_S = 6


def measure(directory: Path) -> dict[str, Any]:
    """One row per candidate: how often it was called a regression, and the ratios found."""
    models = _maker()
    for name in ("same", "slower"):
        (directory / name).mkdir(exist_ok=True)
    base = models.wide_tflite(directory / "net.tflite", BASE_OUTPUTS)
    _result(base)
    _edgekit("baseline", "update", f"{base}.result.json", "-o", f"{directory}/baseline.json",
             "--keep-artifacts")  # fmt: skip
    same = models.wide_tflite(directory / "same" / "net.tflite", BASE_OUTPUTS, name="renamed")
    slower = models.wide_tflite(directory / "slower" / "net.tflite", BASE_OUTPUTS * 6 // 5)
    rows = [
        _row("same work, other bytes", directory, same, NOISE_REPEATS),
        _row("1.2 times the work", directory, slower, PLANTED_REPEATS),
    ]
    return {"rows": rows}


def _maker() -> Any:
    path = Path(__file__).parents[1] / "tests" / "targets" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(what: str, directory: Path, candidate: Path, repeats: int) -> dict[str, Any]:
    result = _result(candidate)
    gates = [_latency_gate(directory, result, seed) for seed in range(repeats)]
    ratios = [gate["value"] for gate in gates]
    return {
        "candidate": what,
        "checks": repeats,
        "called a regression": sum(gate["outcome"] == "broken" for gate in gates),
        "warned": sum(gate["outcome"] == "warned" for gate in gates),
        "median ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "interval width": statistics.median(gate["interval"][1] - gate["interval"][0]
                                            for gate in gates),
    }  # fmt: skip


def _latency_gate(directory: Path, result: str, seed: int) -> dict[str, Any]:
    done = _edgekit(
        "check", result, "--baseline", f"{directory}/baseline.json", "--max-size-bytes", "10000000",
        "--budget", str(BUDGET_S), "--seed", str(seed), allowed=(0, 3),
    )  # fmt: skip
    (gate,) = (
        gate
        for gate in done["checked"][0]["gates"]
        if (gate["name"], gate["against"]) == ("latency", "baseline")
    )
    print(seed, gate["outcome"], gate["line"], file=sys.stderr, flush=True)
    return dict(gate)


def _result(artifact: Path) -> str:
    output = f"{artifact}.result.json"
    _edgekit("bench", str(artifact), "--budget", str(BUDGET_S), "-o", output)
    return output


def _edgekit(*arguments: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgekit", *arguments, "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in allowed, done.stderr
    return dict(json.loads(done.stdout))
