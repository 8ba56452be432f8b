"""The runner on emulated 32-bit Arm, which has no wheel of LiteRT: tflite-runtime 2.14, numpy 1."""

from __future__ import annotations

import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DeviceError
from edgekit.targets import conversation, debian, packing, userland

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

PACKAGES = (
    "libblas3", "libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "libgfortran5",
    "liblapack3", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib", "libstdc++6",
    "python3-numpy", "python3.11-minimal", "zlib1g",
)  # fmt: skip
"""Of Debian 12, on which the Raspberry Pi OS is based whose Python the last wheels are for."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def armv7(tmp_path_factory):
    """The command that starts the packed runner in an armv7 userland."""
    place = tmp_path_factory.mktemp("armv7")
    try:
        return build(place)
    except DeviceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no armv7 userland: {error}")


def build(place: Path) -> list[str]:
    debian.check_tools()
    system = place / "system"
    system.mkdir()
    source = debian.Packages("bookworm", debian.mirror(), place / "apt")
    source.directory.mkdir()
    for archive in source.fetch([f"{name}:armhf" for name in PACKAGES]):
        debian.unpack(archive, system)
    source = debian.Packages(userland.RELEASE, debian.mirror(), place / "apt-qemu")
    source.directory.mkdir()
    (archive,) = source.fetch([f"qemu-user:{userland._host()}"])
    debian.unpack_file(archive, "usr/bin/qemu-arm", place / "qemu-arm")
    pip = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--python-version", "3.11", "--implementation", "cp", "--dest", str(place)),
        *("--platform", "manylinux_2_34_armv7l", "tflite-runtime==2.14.0"),
    ]
    debian.run(pip, "pip download", "check the network")
    packages = system / "usr/lib/python3/dist-packages"
    with zipfile.ZipFile(next(place.glob("tflite_runtime-*.whl"))) as wheel:
        wheel.extractall(packages)
    runner = place / "runner.pyz"
    runner.write_bytes(packing.runner())
    libraries = system / "usr/lib/arm-linux-gnueabihf"  # blas and lapack: Debian's "alternatives"
    start = (
        f"import runpy, sys; sys.path.insert(0, {str(packages)!r});"
        f" runpy.run_path({str(runner)!r}, run_name='__main__')"
    )
    return [
        *("env", "-i", str(place / "qemu-arm"), "-cpu", "cortex-a7", "-L", str(system)),
        *("-E", f"LD_LIBRARY_PATH={libraries}/blas:{libraries}/lapack"),
        *(str(system / "usr/bin/python3.11"), "-I", "-S", "-c", start),
    ]


def run(command: list[str], job: dict) -> dict[str, dict]:
    """The runner's frames by name."""
    frames: dict[str, dict] = {}
    conversation.hold(
        command,
        {"runtime": "litert", "threads": 1, **job},
        lambda frame: frames.update({frame["frame"]: frame}),
        what="the model",
        silence_s=600.0,
        death=lambda code, said: DeviceError(f"exit code {code}: {said}"),
    )
    return frames


def predicted(command: list[str], artifact: Path, name: str, x: np.ndarray, place: Path):
    chunks.write(place / "samples", [{name: x}])
    paths = {"samples": str(place / "samples"), "results": str(place / "results")}
    run(command, {"kind": "predict", "artifact": str(artifact), **paths})
    (found,) = chunks.read_all(place / "results").values()
    return found


def test_the_older_runtime_is_found_and_named_with_what_it_runs(armv7, tmp_path):
    artifact = tiny.identity_int8_tflite(tmp_path / "m.tflite", 4, 0.5, 3)
    frames = run(armv7, {"kind": "describe", "artifact": str(artifact)})
    assert frames["environment"]["arch"] == "armv7l"
    assert frames["environment"]["versions"]["numpy"].startswith("1.")
    assert frames["facts"]["versions"] == {"tflite-runtime": "2.14.0"}
    assert frames["facts"]["precision"] == "int8"
    assert frames["facts"]["delegate"]["total_nodes"] == 1


def test_a_float_layer_gives_what_numpy_computes(armv7, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite", batch=None, signature="serving_default")
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    found = predicted(armv7, artifact, "features", x, tmp_path)
    np.testing.assert_allclose(found, tiny.dense(x), atol=1e-6)


def test_an_int8_layer_gives_back_exactly_what_it_got(armv7, tmp_path):
    artifact = tiny.identity_int8_tflite(tmp_path / "m.tflite", 4, 0.5, 3)
    x = (np.arange(-128, 128, dtype=np.float32).reshape(64, 4) - 3) * np.float32(0.5)
    np.testing.assert_array_equal(predicted(armv7, artifact, "in", x, tmp_path), x)


def test_inferences_are_timed_and_memory_is_gauged_or_null(armv7, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    times = {"warm_up_least_s": 0.01, "warm_up_most_s": 0.1, "least_s": 0.05, "most_s": 0.2}
    job = {"kind": "measure", "artifact": str(artifact), "seed": 0, "least_runs": 3, **times}
    measured = run(armv7, job)["measured"]
    assert measured["runs"] >= 3
    assert measured["median_s"] > 0
