"""Compiles generated C with the host's compiler and calls it; warnings are errors."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def compiled(source: Path, *flags: str):
    """The shared library of a source file."""
    library = source.with_suffix(".so")
    command = ["gcc", *FLAGS, *flags, "-shared", "-fPIC", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(str(library))


def invoke(library, name: str, inputs, output_sizes):
    """The outputs of `NAME_invoke` for int8 arrays, as flat arrays."""
    outputs = [np.full(size, 99, np.int8) for size in output_sizes]
    arrays = [np.ascontiguousarray(array, np.int8) for array in inputs]
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*arrays, *outputs)]
    assert getattr(library, f"{name}_invoke")(*pointers) == 0
    return outputs
