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


def install(patch, directory: Path, version: str, *defines: str) -> dict[str, str]:
    """A GPU, its driver, and TensorRT in one version, for whoever has these variables.

    Args:
        patch: Gives them to the children of this process, too; None does not.
        directory: An empty one.
        version: Of TensorRT.
        defines: For the driver.
    """
    compiled(directory, "stub_cuda.c", "libcuda.so.1", *defines)
    compiled(directory, "stub_nvml.c", "libnvidia-ml.so.1")
    shutil.copy(HERE / "fake_tensorrt.py", directory / "tensorrt.py")
    inherited = filter(None, [str(directory), os.environ.get("PYTHONPATH")])
    variables = {
        "LD_LIBRARY_PATH": str(directory),
        "PYTHONPATH": os.pathsep.join(inherited),
        "FAKE_TENSORRT_SURFACE": str(SURFACE),
        "FAKE_TENSORRT_VERSION": version,
        "XDG_CACHE_HOME": str(directory / "cache"),
    }
    if patch is not None:
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.syspath_prepend(str(directory))
        sys.modules.pop("tensorrt", None)
    return variables
