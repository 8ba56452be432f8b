"""Records what TensorRT's Python bindings offer, from wheels alone: no libraries and no GPU.

    python -m pip download --no-deps tensorrt-cu13-bindings
    python tests/record_tensorrt_surface.py *.whl -o tests/data/tensorrt_surface.json

The bindings import once something has the names of their libraries and the few functions that they
look up there: those are compiled here, return nothing, and are never called. What is recorded is
what the module itself says then: each class with its members, and each function.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry",
    "initLibNvInferPlugins",
)  # fmt: skip
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
LOOK = """
import inspect, json, sys
import tensorrt_bindings as trt

def public(one):
    return [name for name in dir(one) if not name.startswith("_")]

found = {name: getattr(trt, name) for name in public(trt)}
classes = {name: " ".join(public(one)) for name, one in found.items() if inspect.isclass(one)}
others = [n for n, one in found.items() if n not in classes and not inspect.ismodule(one)]
json.dump({"version": trt.__version__, "classes": classes, "others": " ".join(others)}, sys.stdout)
"""


def record(wheel: Path) -> dict[str, object]:
    """What the bindings of one wheel offer."""
    major = wheel.name.split("-")[1].partition(".")[0]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        source = directory / "stub.c"
        source.write_text("".join(f"void *{one}(void) {{ return 0; }}\n" for one in FUNCTIONS))
        for library in LIBRARIES:
            out = directory / f"lib{library}.so.{major}"
            subprocess.run(["gcc", "-shared", "-fPIC", "-o", out, source], check=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory)
        done = subprocess.run(
            [sys.executable, "-c", LOOK],
            env={**os.environ, "LD_LIBRARY_PATH": name, "PYTHONPATH": name},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    """Records the wheels that are named, each by its version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("-o", dest="out", type=Path, required=True)
    asked = parser.parse_args()
    surfaces = [record(wheel) for wheel in asked.wheels]
    asked.out.write_text(json.dumps(surfaces, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
