"""Runs every benchmark (or those that are named), writes JSON and prints tables.

`python benchmarks/run.py [NAME…]`, names as in NAMES. Results go to `benchmarks/results/`, which is
not committed; artifacts to a cache outside the repository (EDGEKIT_BENCHMARK_CACHE, by default a
directory in the user's cache).
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = (
    "startup",
    "noop_run",
    "conversion_overhead",
    "bench_fidelity",
    "accuracy",
    "compress_cost",
    "tradeoff",
    "tfmot_engine",
    "refined",
    "training_overhead",
    "regressions",
    "c_boards",
    "c_source",
    "ethos_u",
    "onnx_int8",
    "ssh_overhead",
)
NEEDS_DATA = (
    "bench_fidelity",
    "accuracy",
    "tradeoff",
    "tfmot_engine",
    "refined",
    "training_overhead",
    "c_boards",
    "c_source",
    "ethos_u",
    "onnx_int8",
    "ssh_overhead",
)
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    chosen = sys.argv[1:] or list(NAMES)
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; benchmarks: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in chosen:
        if name in NEEDS_DATA and "EDGEKIT_DATA" not in os.environ:
            print(f"{name}: left out, since EDGEKIT_DATA is not set")
            continue
        measured = importlib.import_module(name).measure(_cache(name))
        _write(name, measured)
        _show(name, measured["rows"])
    return 0


def _cache(name: str) -> Path:
    base = os.environ.get("EDGEKIT_BENCHMARK_CACHE", Path.home() / ".cache" / "edgekit-benchmarks")
    directory = Path(base) / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _write(name: str, measured: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    stamped = {
        "benchmark": name,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        **measured,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(stamped, indent=2) + "\n")


def _show(name: str, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=name)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=200).print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(entry) for entry in value)
    return "" if value is None else str(value)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
