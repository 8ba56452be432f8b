"""CUDA's driver and NVML by ctypes, against small libraries that are compiled here; no GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from pathlib import Path

import pytest

from edgekit.targets.runner import cuda, nvml
from edgekit.targets.runner.protocol import RunnerError


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stand_ins = _beside("gpu_stand_ins")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    library = stand_ins.compiled(tmp_path_factory.mktemp("cuda"), "stub_cuda.c", "libcuda.so.1")
    return cuda.open_gpu(str(library))


def test_a_gpu_says_what_it_is(gpu):
    assert (gpu.name, gpu.compute_capability, gpu.cuda_version, gpu.bus_id) == (
        "Stub Orin", "8.7", "12.6", "0000:01:00.0",
    )  # fmt: skip


def test_bytes_come_back_from_the_gpu_as_they_went(gpu):
    before = gpu.free_bytes()
    here, there, stream = gpu.allocate_host(16), gpu.allocate(16), gpu.stream()
    assert before - gpu.free_bytes() == 16
    ctypes.memmove(here, b"0123456789abcdef", 16)
    gpu.copy_in(there, here, 16, stream)
    ctypes.memset(here, 0, 16)
    gpu.copy_out(here, there, 16, stream)
    gpu.wait(stream)
    assert ctypes.string_at(here, 16) == b"0123456789abcdef"
    gpu.free(there)
    gpu.free_host(here)
    assert gpu.free_bytes() == before


def test_events_tell_the_seconds_between_them(gpu):
    here, there, stream = gpu.allocate_host(300), gpu.allocate(300), gpu.stream()
    marks = [gpu.event() for _ in range(3)]
    gpu.record(marks[0], stream)
    gpu.copy_in(there, here, 300, stream)
    gpu.record(marks[1], stream)
    gpu.copy_out(here, there, 100, stream)
    gpu.record(marks[2], stream)
    # The library's clock moves by a microsecond for each byte.
    assert gpu.elapsed_s(marks[0], marks[1]) == pytest.approx(300e-6)
    assert gpu.elapsed_s(marks[1], marks[2]) == pytest.approx(100e-6)


def test_what_the_driver_refuses_names_the_call_and_its_reason(gpu):
    with pytest.raises(cuda.CudaError, match=r"cuMemAlloc_v2: out of memory \(error 2\)"):
        gpu.allocate(1 << 40)


def test_a_device_without_a_driver_is_told_in_one_line(tmp_path):
    with pytest.raises(RunnerError, match="there is no NVIDIA driver on this device") as caught:
        cuda.open_gpu(str(tmp_path / "libcuda.so.1"))
    assert caught.value.about == "device"
    assert "--device ssh://" in caught.value.fix


def test_a_driver_without_a_gpu_is_told_in_one_line(tmp_path):
    library = stand_ins.compiled(tmp_path, "stub_cuda.c", "libnone.so", "GPUS=0")
    with pytest.raises(RunnerError, match="the driver shows no GPU"):
        cuda.open_gpu(str(library))


def test_a_library_that_lacks_a_function_is_no_crash(tmp_path):
    library = stand_ins.compiled(tmp_path, "stub_nvml.c", "libother.so")
    with pytest.raises(RunnerError, match=r"cannot be used: .*cuInit"):
        cuda.open_gpu(str(library))


def test_nvml_tells_clocks_power_heat_and_what_holds_the_clock_down(tmp_path):
    library = stand_ins.compiled(tmp_path, "stub_nvml.c", "libnvml.so")
    watched = nvml.watch("0000:01:00.0", str(library))
    assert watched.driver() == "580.95.05"
    assert watched.state() == {
        "clock_hz": 1.3e9,
        "memory_clock_hz": 3.199e9,
        "power_w": 15.25,
        "temperature_c": 61,
        "throttle_reasons": ["sw_power_cap", "hw_thermal_slowdown"],
    }


UNKNOWN = dict.fromkeys(
    ("clock_hz", "memory_clock_hz", "power_w", "temperature_c", "throttle_reasons")
)


def test_what_nvml_does_not_tell_is_null(tmp_path):
    poor = stand_ins.compiled(tmp_path, "stub_nvml.c", "libpoor.so", "POOR")
    assert nvml.watch("0000:01:00.0", str(poor)).state() == UNKNOWN
    assert nvml.watch("0000:02:00.0", str(poor)).driver() is None
    missing = nvml.watch("0000:01:00.0", str(tmp_path / "libnvidia-ml.so.1"))
    assert (missing.driver(), missing.state()) == (None, UNKNOWN)
