"""A real adb and a real adbd, Debian's: the transport of `adb://`, not Android.

adbd gives whoever connects a shell, so it runs in a network namespace of its own, which `adb`
enters through a script on PATH; its server lives and ends there too.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import registry
from edgekit.errors import DeviceError
from edgekit.targets import adb_client, debian

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parents[1] / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

RELEASE = "trixie"  # the first with an adbd that runs as a daemon on Linux
PACKAGES = (
    "adbd", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog",
    "libbrotli1", "libc6", "libcap2", "libgcc-s1", "liblz4-1", "libprotobuf32t64", "libstdc++6",
    "libsystemd0", "libzstd1", "zlib1g",
)  # fmt: skip
SERIAL = "127.0.0.1:5555"
URL = f"adb://{SERIAL}"
BENCHMARK = """\
#!/bin/sh
case "$*" in *--use_gpu*)
    echo "Though GPU delegate is explicitly applied, the model graph will not be executed by it";;
*--use_nnapi*)
    echo "Explicitly applied NNAPI delegate, and the model graph will be partially executed";;
esac
test -f "${1#--graph=}" || { echo "ERROR: Failed to load model"; exit 1; }
echo "count=50 first=3052 curr=2991 min=2902 max=3401 avg=3009 std=58 p5=2934 median=3001 p95=3105"
echo "Inference timings in us: Init: 5931, First inference: 3301, Warmup (avg): 3084, Inference:"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0,
        reason="a network namespace needs root",
    ),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("adb", "nsenter", "unshare", "ip")),
        reason="adb, nsenter, unshare or ip is not installed",
    ),
]


@pytest.fixture(scope="module")
def adbd_root(tmp_path_factory):
    """Debian's adbd and its libraries, unpacked."""
    directory = tmp_path_factory.mktemp("adbd")
    try:
        debian.check_tools()
        source = debian.Packages(RELEASE, debian.mirror(), directory / "apt")
        source.directory.mkdir()
        archives = source.fetch([f"{name}:amd64" for name in PACKAGES])
    except DeviceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no adbd: {error}")
    for archive in archives:
        debian.unpack(archive, directory / "root")
    return directory / "root"


@pytest.fixture
def adbd(adbd_root, tmp_path, monkeypatch):
    """A running adbd, whose `python3` is this one; `adb` reaches it and nothing else."""
    (tmp_path / "tools").mkdir()
    libraries = adbd_root / "usr/lib/x86_64-linux-gnu"
    daemon = [
        str(adbd_root / "usr/lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        *(
            f"{libraries}:{libraries}/android",
            str(adbd_root / "usr/lib/android-sdk/platform-tools/adbd"),
        ),
    ]
    log = tmp_path / "adbd.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *daemon],
            env={"ADBD_PORT": "5555", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    enter = tmp_path / "tools" / "adb"
    try:
        wait_for(lambda: b"adbd started" in log.read_bytes())
        with open(f"/proc/{process.pid}/ns/net") as namespace:  # it stays when adbd ends
            place = f"/proc/{os.getpid()}/fd/{namespace.fileno()}"
            enter.write_text(f'#!/bin/sh\nexec nsenter --net={place} {shutil.which("adb")} "$@"\n')
            enter.chmod(0o755)
            monkeypatch.setenv("PATH", f"{enter.parent}:{os.environ['PATH']}")
            monkeypatch.setenv("HOME", str(tmp_path))  # adb keeps its keys there
            monkeypatch.setattr(adb_client.Client, "home", str(tmp_path / "device"))
            yield process
            subprocess.run([enter, "kill-server"], check=True, capture_output=True)
    finally:
        with_group(process.pid, signal.SIGKILL)
        process.wait()


def with_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def wait_for(condition, limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def runners(home: Path) -> list[str]:
    """The command lines on this machine that run a runner of the device."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if str(home / "files") in line and "main.pyz" in line:
            found.append(line)
    return found


def test_a_bench_over_adb_gives_the_accuracy_of_this_machine_and_cleans_up(adbd, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=tiny.dense(x))
    report = edgekit.bench(
        artifact,
        devices=("local", URL),
        data=str(tmp_path / "d.npz"),
        metric="mse",
        budget_s=0.01,
    )
    here, there = report.results
    assert there.accuracy == here.accuracy
    assert there.latency.median_s > 0
    assert there.memory.peak_delta_bytes > 0
    assert (there.device.url, there.device.measured_here) == (URL, False)
    home = tmp_path / "device"
    assert list((home / "jobs").iterdir()) == []
    assert len(list((home / "files").iterdir())) == 2, "the runner and the artifact, once each"
    assert not runners(home)


def test_an_artifact_is_sent_once(adbd, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    device = registry.target("adb").open(URL)
    job = {"kind": "describe", "runtime": "litert", "threads": 1, "artifact": str(artifact)}
    device.run(job, lambda _frame: None)
    (sent,) = (tmp_path / "device" / "files").glob("*/main.tflite")
    before = sent.stat().st_ino
    device.run(job, lambda _frame: None)
    assert sent.stat().st_ino == before


def test_a_device_that_goes_away_midway_is_one_line_in_bounded_time(adbd, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    device = registry.target("adb").open(URL)
    job = {
        "kind": "measure", "runtime": "litert", "threads": 1, "artifact": str(artifact), "seed": 0,
        "warm_up_least_s": 0.05, "warm_up_most_s": 0.1, "least_runs": 3, "least_s": 60.0,
        "most_s": 60.0,
    }  # fmt: skip
    seen = threading.Event()

    def unplug():
        seen.wait(30)
        with_group(adbd.pid, signal.SIGKILL)

    killer = threading.Thread(target=unplug)
    killer.start()
    start_s = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        device.run(job, lambda frame: seen.set() if frame["frame"] == "warm" else None)
    killer.join()
    assert time.monotonic() - start_s < 30
    assert "m.tflite" in str(caught.value) or SERIAL in str(caught.value)
    assert "\n" not in str(caught.value)
    wait_for(lambda: not runners(tmp_path / "device"))


def test_a_user_who_stops_leaves_no_runner_on_the_device(adbd, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    device = registry.target("adb").open(URL)
    job = {
        "kind": "measure", "runtime": "litert", "threads": 1, "artifact": str(artifact), "seed": 0,
        "warm_up_least_s": 0.05, "warm_up_most_s": 0.1, "least_runs": 3, "least_s": 60.0,
        "most_s": 60.0,
    }  # fmt: skip

    def stop(frame):
        if frame["frame"] == "warm":
            assert runners(tmp_path / "device")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run(job, stop)
    wait_for(lambda: not runners(tmp_path / "device"))


def test_a_binary_of_the_user_measures_where_there_is_no_python(adbd, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    binary = tmp_path / "benchmark_model"
    binary.write_text(BENCHMARK)
    report = edgekit.bench(artifact, devices=URL, benchmark_binary=binary, budget_s=0.01)
    (found,) = report.results
    assert found.latency.median_s == pytest.approx(0.003001)
    assert found.latency.runs == 300
    assert found.cold_start.import_s is None
    assert found.cold_start.load_s == pytest.approx(0.005931)
    assert found.accuracy is None
    assert any(text.startswith("no accuracy: LiteRT's") for text in found.warnings)
    shared = edgekit.bench(
        artifact, devices=URL, benchmark_binary=binary, delegate="nnapi", budget_s=0.01
    )
    told = "the NNAPI delegate took a part of the graph; the rest ran on the CPU"
    assert told in shared.results[0].warnings
    assert told not in found.warnings
    with pytest.raises(DeviceError, match="the GPU delegate took nothing"):
        edgekit.bench(artifact, devices=URL, benchmark_binary=binary, delegate="gpu", budget_s=0.01)


def test_a_binary_that_is_given_up_is_ended_on_the_device(adbd, tmp_path):
    client = registry.target("adb").open(URL)._client
    pid = tmp_path / "device-pid"
    with pytest.raises(DeviceError, match="adb gave no answer for 2 s"):
        client.work("sh", "-c", f"echo $$ > {pid}; exec sleep 600", limit_s=2)
    wait_for(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    assert client.work("sh", "-c", "echo out; exit 7", limit_s=20) == (7, "out\n")


def test_a_device_that_is_not_there_is_named_though_adb_ends_with_0(adbd):
    with pytest.raises(DeviceError, match=r"adb cannot reach 127\.0\.0\.1:5556: failed to connect"):
        registry.target("adb").open("adb://127.0.0.1:5556")
