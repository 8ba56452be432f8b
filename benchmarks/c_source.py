"""What standalone C costs on this machine: against LiteRT's reference kernels and XNNPACK.

Needs EDGEKIT_DATA and gcc. One thread, random input, all contenders in turn in every round; the
ratio is of the fastest call of each, which other load disturbs least. The C is plain:
on a microcontroller it competes with reference kernels, not with XNNPACK's SIMD.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 300
MODELS = {
    "ResNet-8": "mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite",
    "wake word": "mlperf_tiny_sww_conv1d/str_ww_ref_model.tflite",
    "autoencoder": "mlperf_tiny_ad_autoencoder/ad01_int8.tflite",
    "MobileNetV2-0.35-96": "tflm_arena/mobilenetv2_035_96_int8.tflite",
}
BUILDS = {"-O2": ("-O2",), "-O3 native": ("-O3", "-march=native")}


def measure(directory: Path) -> dict[str, Any]:
    """Times of one inference, and ratios to LiteRT's kernels (above 1: the C is slower)."""
    data = Path(os.environ["EDGEKIT_DATA"])
    rows = [_row(name, data / path, directory) for name, path in MODELS.items()]
    return {"rounds": ROUNDS, "rows": rows}


def _row(name: str, model: Path, directory: Path) -> dict[str, Any]:
    header = directory / f"{name.lower().replace(' ', '_').replace('.', '_')}.h"
    convert = ["convert", str(model), "--emit", "c", "--force", "-q", "-o", str(header)]
    subprocess.run([sys.executable, "-m", "edgekit", *convert], check=True, capture_output=True)
    contenders = {key: _compiled(header, flags) for key, flags in BUILDS.items()}
    contenders |= {"reference": _litert(model, "BUILTIN_REF"), "XNNPACK": _litert(model, "AUTO")}
    least = dict.fromkeys(contenders, float("inf"))
    for _ in range(ROUNDS):
        for key, call in contenders.items():
            started = time.perf_counter()
            call()
            least[key] = min(least[key], time.perf_counter() - started)
    return {
        "model": name,
        **{f"C {key}, s": least[key] for key in BUILDS},
        **{
            f"C {key} / {other}": least[key] / least[other]
            for key in BUILDS
            for other in ("reference", "XNNPACK")
        },
    }


def _compiled(header: Path, flags: tuple[str, ...]) -> Callable[[], object]:
    library = header.with_suffix(f".{len(flags)}.so")
    source = str(header.with_suffix(".c"))
    subprocess.run(
        ["gcc", "-std=c99", *flags, "-shared", "-fPIC", source, "-o", str(library)], check=True
    )
    function = getattr(ctypes.CDLL(str(library)), _function(header))
    sizes = [_size(header, side) for side in ("INPUT", "OUTPUT")]
    entry = np.random.default_rng(0).integers(-128, 128, sizes[0]).astype(np.int8)
    buffers = (entry, np.zeros(sizes[1], np.int8))
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in buffers]

    def call(keep: tuple[np.ndarray, np.ndarray] = buffers) -> object:
        del keep
        return function(*pointers)

    return call


def _function(header: Path) -> str:
    line = next(line for line in header.read_text().splitlines() if line.startswith("int "))
    return line.removeprefix("int ").partition("(")[0]


def _size(header: Path, side: str) -> int:
    line = next(entry for entry in header.read_text().splitlines() if f"_{side}_SIZE" in entry)
    return int(line.split()[-1])


def _litert(model: Path, resolver: str) -> Callable[[], object]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(model),
        experimental_op_resolver_type=OpResolverType[resolver],
        num_threads=1,
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    values = np.random.default_rng(0).integers(-128, 128, entry["shape"])
    interpreter.set_tensor(entry["index"], values.astype(np.int8))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke
