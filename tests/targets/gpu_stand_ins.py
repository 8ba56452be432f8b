"""Compiles the stand-ins of CUDA's driver and NVML, and puts them where a runner looks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SURFACE = HERE.parent / "data" / "tensorrt_surface.json"


def compiled(directory: Path, source: str, library: str, *defines: str) -> Path:
    """A shared library of one of the C files here."""
    out = directory / library
    words = ["gcc", "-shared", "-fPIC", "-O1", *(f"-D{one}" for one in defines)]
    subprocess.run([*words, "-o", out, HERE / source], check=True)
    return out


def install(patch, directory: Path, version: str, *defines: str) -> None:
    """Gives this process's children a GPU, its driver, and TensorRT in one version."""
    compiled(directory, "stub_cuda.c", "libcuda.so.1", *defines)
    compiled(directory, "stub_nvml.c", "libnvidia-ml.so.1")
    shutil.copy(HERE / "fake_tensorrt.py", directory / "tensorrt.py")
    patch.setenv("LD_LIBRARY_PATH", str(directory))
    patch.setenv(
        "PYTHONPATH",
        os.pathsep.join(filter(None, [str(directory), os.environ.get("PYTHONPATH")])),
    )
    patch.setenv("FAKE_TENSORRT_SURFACE", str(SURFACE))
    patch.setenv("FAKE_TENSORRT_VERSION", version)
    patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
    patch.syspath_prepend(str(directory))
    sys.modules.pop("tensorrt", None)
