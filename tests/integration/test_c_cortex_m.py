"""Standalone C on emulated Cortex-M3, M7 and M55: the bits of LiteRT, memory and instructions.

Needs the Debian packages gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

import edgekit
from edgekit import chunks
from edgekit.targets import cortex_building, qemu
from edgekit.targets.cortex_boards import BOARDS

TESTS = Path(__file__).parents[1]
SAMPLES = 20
KERNELS_BYTES = 8192
"""Room for code and layer structures beside the constants."""
CPUS = ("cortex-m3", "cortex-m7", "cortex-m55")
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
    """Sources of a model with its manifest, real samples in int8, and what LiteRT answers."""
    data = request.getfixturevalue("edgekit_data")
    directory = tmp_path_factory.mktemp("emitted")
    model = data / request.param
    written = edgekit.convert(model, emit="c", output=directory / "m.h")
    entry = written.inputs[0]
    real = MODELS[request.param](data)
    whole = np.rint(real / np.float32(entry.scale)) + entry.zero_point
    given = np.clip(whole, -128, 127).astype(np.int8).reshape(SAMPLES, *entry.shape[1:])
    run = int8_graphs.reference(model.read_bytes())
    answers = np.concatenate([run(sample[np.newaxis])[0] for sample in given])
    return directory, written, given, answers.reshape(SAMPLES, *written.outputs[0].shape[1:])


@pytest.mark.parametrize("cpu", CPUS)
def test_every_sample_has_the_bits_of_litert_and_memory_is_as_planned(emitted, cpu, tmp_path):
    directory, written, given, answers = emitted
    (entry,), (exit_,) = written.inputs, written.outputs
    chunks.write(tmp_path / "samples", [{entry.name: real_values(given, entry)}])
    job = {
        "runtime": "c", "artifact": str(directory / "m.h"), "siblings": [], "options": {},
        "threads": 1, "seed": 0, "samples": str(tmp_path / "samples"),
        "results": str(tmp_path / "results"),
        "inputs": msgspec.to_builtins(written.inputs),
        "outputs": msgspec.to_builtins(written.outputs),
    }  # fmt: skip
    device, frames = qemu.open(f"qemu://{cpu}"), {}
    device.run({**job, "kind": "predict"}, lambda _frame: None)
    (found,) = chunks.read(tmp_path / "results")
    np.testing.assert_array_equal(found[exit_.name], real_values(answers, exit_))
    device.run({**job, "kind": "describe"}, lambda frame: frames.update({frame["frame"]: frame}))
    memory, facts = frames["footprint"], written.steps[-1].detail
    constants = facts["constant_bytes"]
    assert constants < memory["flash_bytes"] < constants + KERNELS_BYTES
    assert memory["ram_bytes"] == facts["arena_bytes"]
    assert memory["buffer_bytes"] == given[0].size + answers[0].size
    assert 0 < memory["stack_bytes"] < 1024
    assert frames["instructions"]["per_inference"] > constants, "each weight is used at least once"


def real_values(stored, spec):
    """What integers mean, by the formula of TFLite's quantization specification."""
    return (stored.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


@pytest.mark.parametrize("cpu", CPUS)
def test_generated_c_compiles_without_warnings_for_each_processor(cpu, tmp_path):
    (tmp_path / "m.tflite").write_bytes(int8_graphs.small_cnn())
    edgekit.convert(tmp_path / "m.tflite", emit="c", output=tmp_path / "m.h")
    core = (f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=soft", "-O2")
    for name in ("m.c", "m_main.c"):
        run("arm-none-eabi-gcc", *core, *WARNINGS, "-c", str(tmp_path / name), "-o", "/dev/null")


@pytest.mark.parametrize("cpu", CPUS)
def test_instructions_are_those_that_the_emulator_logs_one_by_one(cpu, tmp_path):
    (tmp_path / "m.tflite").write_bytes(int8_graphs.small_cnn())
    edgekit.convert(tmp_path / "m.tflite", emit="c", output=tmp_path / "m.h")
    report = edgekit.bench(tmp_path / "m.h", devices=f"qemu://{cpu}")
    assert report.results[0].instructions.per_inference == logged(tmp_path, BOARDS[cpu])


def logged(directory, board):
    """Instructions from the first one of m_invoke to its return, in QEMU's log of every step."""
    shape = [{"name": "", "shape": [1, 6, 6, 2], "dtype": "int8", "scale": 1.0, "zero_point": 0}]
    answer = [{**shape[0], "shape": [1, 3]}]
    model = cortex_building.sources(directory / "m.h", shape, answer)
    built = cortex_building.compiled(model, board, directory)
    program = cortex_building.program("answer.c", model, built, board, directory)
    drawn = np.random.default_rng(0)
    drawn.random(1, dtype=np.float32)  # as the runner does before it draws inputs
    values = drawn.integers(-128, 127, (1, 6, 6, 2), dtype=np.int8, endpoint=True)
    (directory / "samples").write_bytes(values.tobytes())
    subprocess.run(
        [
            "qemu-system-arm", "-M", board.machine, "-display", "none", "-monitor", "none",
            "-serial", "null", "-semihosting-config", "enable=on,target=native", "-singlestep",
            "-d", "exec,nochain", "-D", "log", "-kernel", str(program),
        ],
        cwd=directory, check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    symbols = run("arm-none-eabi-nm", str(program))
    entry = int(re.search(r"^([0-9a-f]+) \w m_invoke$", symbols, re.MULTILINE)[1], 16)
    places = [
        int(found[1], 16)
        for found in re.finditer(r"\[[0-9a-f]+/([0-9a-f]+)/", (directory / "log").read_text())
    ]
    start = places.index(entry)
    back = {places[start - 1] + size for size in (2, 4)}
    return next(at for at in range(start, len(places)) if places[at] in back) - start


def run(*command):
    """A command's output; its failure is the test's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout
