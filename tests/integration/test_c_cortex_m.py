"""Standalone C on emulated Cortex-M3, M7 and M55: the bits of LiteRT, and memory as planned.

Needs the Debian packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgekit

TESTS = Path(__file__).parents[1]
BOARD = Path(__file__).with_name("cortex_m")
SAMPLES = 20
KERNELS_BYTES = 8192
"""Room for code and layer structures beside the constants."""
CPUS = {
    "cortex-m3": ("mps2-an385", "0x0", "4M", "0x20000000", "4M"),
    "cortex-m7": ("mps2-an500", "0x0", "4M", "0x20000000", "4M"),
    "cortex-m55": ("mps3-an547", "0x10000000", "512K", "0x30000000", "512K"),
}
"""The emulated board of each, and where its code and its data memory begin, with their sizes."""
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Werror")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
        reason="arm-none-eabi-gcc and qemu-system-arm are not installed",
    ),
]


def _module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


int8_graphs = _module(TESTS / "converters" / "int8_graphs.py")


def resnet8(data):
    with np.load(data / "mlperf_tiny_ic_resnet8" / "cifar10_lossless_subset.npz") as stored:
        return stored["x_test"][:SAMPLES].astype(np.float32)


def wake_word(data):
    with np.load(data / "mlperf_tiny_sww_conv1d" / "calibration_samples.npz") as stored:
        return stored["specs"][:SAMPLES].astype(np.float32)


def autoencoder(data):
    with np.load(data / "mlperf_tiny_ad_autoencoder" / "toycar_ad01.npz") as stored:
        return stored["x_test"][:SAMPLES, :5].reshape(SAMPLES, 640)


MODELS = {
    "mlperf_tiny_ic_resnet8/pretrainedResnet_quant.tflite": resnet8,
    "mlperf_tiny_sww_conv1d/str_ww_ref_model.tflite": wake_word,
    "mlperf_tiny_ad_autoencoder/ad01_int8.tflite": autoencoder,
}


@pytest.fixture(scope="module", params=MODELS, ids=lambda path: path.partition("/")[0])
def emitted(request, tmp_path_factory):
    """Sources of a model, with golden vectors of real samples by LiteRT itself."""
    data = request.getfixturevalue("edgekit_data")
    directory = tmp_path_factory.mktemp("emitted")
    model = data / request.param
    written = edgekit.convert(model, emit="c", output=directory / "m.h")
    entry = written.inputs[0]
    real = MODELS[request.param](data)
    whole = np.rint(real / np.float32(entry.scale)) + entry.zero_point
    given = np.clip(whole, -128, 127).astype(np.int8).reshape(SAMPLES, *entry.shape)
    run = int8_graphs.reference(model.read_bytes())
    answers = np.concatenate([run(sample)[0] for sample in given])
    (directory / "m_golden.h").write_text(
        f'#include "m.h"\n#define M_GOLDEN_COUNT {SAMPLES}\n'
        + _array("input", given)
        + _array("output", answers)
    )
    return directory, written.steps[-1].detail


def _array(side, values):
    rows = ["{" + ",".join(map(str, row.ravel())) + "}" for row in values]
    size = f"M_{side.upper()}_SIZE"
    return (
        f"static const int8_t m_golden_{side}[M_GOLDEN_COUNT][{size}] = {{"
        + ",\n".join(rows)
        + "};\n"
    )


@pytest.mark.parametrize("cpu", CPUS)
def test_every_sample_has_the_bits_of_litert_and_memory_is_as_planned(emitted, cpu, tmp_path):
    directory, facts = emitted
    machine, *memory = CPUS[cpu]
    core = (f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=soft", "-O2")
    for name in ("m.c", "m_main.c"):
        source, place = directory / name, tmp_path / f"{name}.o"
        run("arm-none-eabi-gcc", *core, *WARNINGS, "-c", str(source), "-o", str(place))
    places = ("CODE_ORIGIN", "CODE_LENGTH", "DATA_ORIGIN", "DATA_LENGTH")
    defined = [f"-Wl,--defsym={key}={value}" for key, value in zip(places, memory, strict=True)]
    run(
        "arm-none-eabi-gcc", *core, "--specs=rdimon.specs", *defined, "-T",
        str(BOARD / "boards.ld"), str(BOARD / "startup.c"), str(tmp_path / "m.c.o"),
        str(tmp_path / "m_main.c.o"), "-o", str(tmp_path / "m.elf"),
    )  # fmt: skip
    shown = run(
        "qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "null",
        "-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "m.elf"),
    )  # fmt: skip
    assert f"PASS: m, 0 of {SAMPLES}" in shown
    sizes = run("arm-none-eabi-size", str(tmp_path / "m.c.o")).splitlines()[1]
    text_bytes, data_bytes, bss_bytes = map(int, re.findall(r"\d+", sizes)[:3])
    assert facts["constant_bytes"] < text_bytes < facts["constant_bytes"] + KERNELS_BYTES
    assert (data_bytes, bss_bytes) == (0, facts["arena_bytes"])


def run(*command):
    """A command's output; its failure is the test's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout
