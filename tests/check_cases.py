"""Figures, results and baselines as files, with known content, for the tests of check."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec

from edgekit import intervals, manifest
from edgekit.check_types import Conditions, Figures
from edgekit.manifest_types import ArtifactInfo
from edgekit.result_types import (
    BenchReport,
    ColdStart,
    Delegate,
    DeviceInfo,
    Latency,
    Memory,
    Result,
)
from edgekit.types import Accuracy, FileRef

CONDITIONS = Conditions("a CPU", "x86_64", 1, "litert", {"ai-edge-litert": "2.3.0"})
MEDIANS_S = (1.00e-3, 1.01e-3, 1.02e-3, 1.03e-3, 1.04e-3, 1.05e-3)


def load(name: str):
    """A module of the tests by its path below `tests/`, without its suffix."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def top1(right: int, n: int) -> Accuracy:
    return Accuracy("top1", right / n, intervals.wilson(right, n), n)


def figures(**changes) -> Figures:
    """One measured artifact without a fault."""
    given = {
        "model": "kws", "recipe": None, "precision": "int8", "target": "host", "device": "local",
        "artifact": "kws.tflite", "sha256": "a" * 64, "size_bytes": 1000, "gzip_bytes": 800,
        "median_s": 1.025e-3, "ci95_s": (1.00e-3, 1.05e-3), "process_medians_s": MEDIANS_S,
        "contended": False, "peak_delta_bytes": 50_000, "accuracy": top1(900, 1000),
        "source_accuracy": top1(905, 1000), "conditions": CONDITIONS,
    }  # fmt: skip
    return Figures(**{**given, **changes})


def result(**changes) -> Result:
    """One result as bench writes it; `artifact` and `device` take changes of their own."""
    artifact = {
        "path": "kws.tflite", "sha256": "a" * 64, "format": "tflite", "precision": "int8",
        "size_bytes": 1000, "gzip_bytes": 800,
    }  # fmt: skip
    device = {
        "url": "local", "target": "host", "arch": "x86_64", "cpu": "a CPU", "cores": 2,
        "threads": 1, "measured_here": True,
    }  # fmt: skip
    given = {
        "model": "kws",
        "latency": latency(),
        "throughput_per_s": 1000.0,
        "cold_start": ColdStart(None, None, None),
        "memory": Memory(50_000, None),
        "accuracy": top1(900, 1000),
        "delegate": Delegate(None, None, None),
        "environment": {
            "runtime": "litert",
            "versions": {"python": "3.11.7", "numpy": "2.4.6", "ai-edge-litert": "2.3.0"},
        },
        **changes,
        "artifact": ArtifactInfo(**{**artifact, **changes.get("artifact", {})}),
        "device": DeviceInfo(**{**device, **changes.get("device", {})}),
    }
    return Result(**given)


def latency(medians_s=MEDIANS_S, **changes) -> Latency:
    given = {
        "median_s": sorted(medians_s)[len(medians_s) // 2], "ci95_s": (min(medians_s),
        max(medians_s)), "p90_s": None, "p99_s": None, "min_s": min(medians_s), "runs": 100,
        "processes": len(medians_s), "cpu_median_s": None, "contended": False, "stopped": "enough",
        "process_medians_s": tuple(medians_s),
    }  # fmt: skip
    return Latency(**{**given, **changes})


def write_report(path: Path, *results: Result) -> Path:
    report = BenchReport("edgekit.bench/1", results or (result(),))
    path.write_bytes(msgspec.json.encode(report))
    return path


def write_manifest(path: Path, **changes) -> None:
    """A manifest as convert would have written it."""
    info = manifest.artifact_info((path,), format_name="tflite", precision="int8", gzip_bytes=1)
    given = {
        "versions": {}, "command": (), "request_sha256": "", "seed": 0, "artifact": info,
        "source": FileRef("m.keras", "", 1), "model_name": "kws",
    }  # fmt: skip
    made = manifest.Manifest(**{**given, **changes})
    manifest.path_for(path).write_bytes(manifest.encode(made))
