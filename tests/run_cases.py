"""Projects for `edgekit run` that are cheap to build, and ways of running them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgekit import build_types, pipeline

_TINY = Path(__file__).parent / "targets" / "tiny_models.py"


def tiny_models():
    """`tests/targets/tiny_models.py`, which pytest's import mode gives no name."""
    spec = importlib.util.spec_from_file_location("tiny_models", _TINY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def project(place: Path, text: str, *, model: str = "models/m.tflite") -> Path:
    """A directory with an edgekit.toml and a dense net of 528 bytes; returns the file."""
    (place / model).parent.mkdir(parents=True, exist_ok=True)
    tiny_models().dense_tflite(place / model)
    file = place / "edgekit.toml"
    file.write_text(text)
    return file


def fp32_and_fp16(model: str = "models/m.tflite") -> str:
    """Two artifacts of one model."""
    return f'[model.m]\npath = "{model}"\n[[build]]\nmodel = "m"\nprecision = ["fp32", "fp16"]\n'


def run(file: Path, cache: Path, **options) -> build_types.RunReport:
    """`edgekit run` in this process; its stages are processes of their own."""
    return pipeline.run(file, cache_dir=cache, **options)


def statuses(report: build_types.RunReport) -> dict[str, str]:
    """What became of each stage, by its name without the place of its outputs."""
    return {one.name.replace("build/m/", ""): one.status for one in report.stages}


def start(file: Path, cache: Path, *more: str, marker: str = "") -> subprocess.Popen[str]:
    """`edgekit run --json` as a process of its own, with a mark that its children inherit."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "edgekit", "run", str(file), "--json", "-q", "--cache-dir",
         str(cache), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EDGEKIT_TEST_MARK": marker},
    )  # fmt: skip


def report_of(process: subprocess.Popen[str]) -> dict:
    """The report of a process that ends by itself."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def marked(marker: str) -> list[int]:
    """The processes that carry a mark and are alive."""
    wanted = f"EDGEKIT_TEST_MARK={marker}".encode()
    return [int(place.name) for place in Path("/proc").glob("[0-9]*") if _carries(place, wanted)]


def _carries(place: Path, wanted: bytes) -> bool:
    try:
        return wanted in (place / "environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended, or is another user's
        return False


def contents(directory: Path, leave_out: Sequence[str] = ("timing", "environment")) -> dict:
    """Every output below `build/`: bytes, and manifests without what differs between equal runs."""
    found: dict[str, object] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and not path.name.startswith("."):
            found[name] = path.read_bytes()
            if name.endswith(".edgekit.json"):
                told = json.loads(path.read_bytes())
                found[name] = {key: told[key] for key in told if key not in leave_out}
    return found
