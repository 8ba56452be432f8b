"""Is the figure of `edgekit bench` the truth? Against a bare loop, and OpenVINO's benchmark_app.

Needs EDGEKIT_DATA. Both sides run in turn, each in fresh processes, and the ratio is taken round by
round, since the machine's speed drifts. Memory is what edgekit reports, over repeated runs.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import processes

ROUNDS = 12
LOOP_S = 0.4
BENCHMARK_APP_S = 1


def measure(directory: Path) -> dict[str, Any]:
    """Ratios edgekit / yardstick, per model."""
    data = Path(os.environ["EDGEKIT_DATA"])
    resnet8 = data / "mlperf_tiny_ic_resnet8" / "pretrainedResnet.tflite"
    autoencoder = data / "mlperf_tiny_ad_autoencoder" / "ad01_int8.tflite"
    ir = directory / "resnet8.xml"
    _edgekit("convert", str(resnet8), "--target", "host-openvino", "--precision", "fp32",
             "--force", "-o", str(ir))  # fmt: skip
    return {
        "rounds": ROUNDS,
        "rows": [
            _row("ResNet-8 float, LiteRT / bare loop", directory, resnet8, _bare_loop),
            _row("autoencoder int8, LiteRT / bare loop", directory, autoencoder, _bare_loop),
            _row("ResNet-8 fp32 IR / benchmark_app", directory, ir, _benchmark_app),
        ],
    }


def _row(name: str, directory: Path, model: Path, yardstick: Any) -> dict[str, Any]:
    ratios, ours, theirs, peaks = [], [], [], []
    for number in range(ROUNDS):
        first = number % 2 == 0
        other = yardstick(model) if first else 0.0
        result = _bench(directory, model)
        other = other if first else yardstick(model)
        median = statistics.median(result["latency"]["process_medians_s"])
        ours.append(median)
        theirs.append(other)
        ratios.append(median / other)
        peaks.append(result["memory"]["peak_delta_bytes"])
    ordered = sorted(ratios)
    return {
        "comparison": name,
        "ratio": statistics.median(ratios),
        "ratio_ci95": [ordered[2], ordered[-3]],  # order statistics 3 and 10 of 12: 96.1 %
        "edgekit_s": statistics.median(ours),
        "yardstick_s": statistics.median(theirs),
        "peak_range_bytes": max(peaks) - min(peaks),
        "peak_range_share": (max(peaks) - min(peaks)) / statistics.median(peaks),
    }


def _bench(directory: Path, model: Path) -> dict[str, Any]:
    """One short `edgekit bench`: its minimum of processes."""
    output = directory / "bench.json"
    _edgekit("bench", str(model), "--budget", "2", "--force", "-o", str(output))
    result: dict[str, Any] = json.loads(output.read_text())["results"][0]
    return result


def _bare_loop(model: Path) -> float:
    """Median over as many fresh processes as edgekit starts at least."""
    script = Path(__file__).with_name("interpreters.py")
    command = [sys.executable, str(script), str(model), str(LOOP_S)]
    return statistics.median(float(processes.run(command).stdout.split()[-1]) for _ in range(6))


def _benchmark_app(model: Path) -> float:
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-hint",
               "none", "-nthreads", "1", "-nstreams", "1", "-api", "sync", "-infer_precision",
               "f32", "-t", str(BENCHMARK_APP_S)]  # fmt: skip
    medians = []
    for _ in range(3):
        said = processes.run(command).stdout
        found = re.search(r"Median:\s+([\d.]+) ms", said)
        assert found, said[-500:]
        medians.append(float(found.group(1)) * 1e-3)
    return statistics.median(medians)


def _edgekit(*arguments: str) -> None:
    processes.run(
        [sys.executable, "-m", "edgekit", *arguments], environment={"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
