"""ssh:// devices against a real sshd on this machine, and what can go wrong with one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekit import benching, chunks
from edgekit.errors import DeviceError
from edgekit.targets import local, ssh

TESTS = Path(__file__).parents[1]


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


servers = _load(TESTS / "ssh_servers.py")
tiny = _load(TESTS / "targets" / "tiny_models.py")

pytestmark = pytest.mark.skipif(servers.why_not() is not None, reason=str(servers.why_not()))

SHORT_S = 0.01
LONG = {
    "kind": "measure", "runtime": "litert", "threads": 1, "options": {}, "seed": 0,
    "warm_up_least_s": 0.0, "warm_up_most_s": 0.02, "least_runs": 3, "least_s": 60, "most_s": 60,
}  # fmt: skip
BOUND_S = 20.0
"""Everything that goes wrong has to be told within this time, on a busy machine too."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    with servers.running(tmp_path / "server") as started:
        monkeypatch.setenv("PATH", started.path())
        yield started


@pytest.fixture
def artifact(tmp_path):
    return tiny.dense_tflite(tmp_path / "m.tflite")


def digits(directory: Path) -> Path:
    """Samples of three classes, a quarter of which are labelled otherwise than the model says."""
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = tiny.dense(x).argmax(1)
    y[40:45] = (y[40:45] + 1) % 3
    np.savez(directory / "d.npz", x_test=x[40:], y_test=y[40:], x_calib=x[:20], y_calib=y[:20])
    return directory / "d.npz"


def failing(act, *words: str) -> float:
    """Runs what has to end in one line with these words; returns the seconds it took."""
    start = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        act()
    taken_s = time.monotonic() - start
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert taken_s < BOUND_S
    return taken_s


def measured(url: str, artifact: Path):
    """A measurement of a minute, unless something ends it; and what does once it is under way."""

    def run(disturb=lambda: None):
        with ssh.open(url) as device:

            def on_frame(frame):
                if frame["frame"] == "warm":
                    disturb()

            device.run({**LONG, "artifact": str(artifact)}, on_frame)

    return run


def is_quiet(server) -> bool:
    """Whether nothing of a session runs there any more."""
    return bool(servers.wait_for(lambda: not server.running()))


# ------------------------------------------------------------------------------------- it works


@pytest.mark.slow
def test_bench_over_ssh_gives_the_accuracy_of_this_machine(server, artifact, tmp_path):
    said: list[str] = []
    report = benching.bench(
        [artifact],
        devices=("local", server.url),
        data=str(digits(tmp_path)),
        budget_s=SHORT_S,
        on_progress=said.append,
    )
    here, there = report.results
    assert (here.device.url, there.device.url) == ("local", server.url)
    assert there.accuracy == here.accuracy
    assert there.accuracy.value == pytest.approx(0.75)
    assert there.latency.processes == 6
    assert (there.device.measured_here, there.complete) == (False, True)
    assert {"temperature_c", "temperature_after_c", "throttled"} <= set(there.environment)
    assert f"{server.url}: measuring m.tflite, process 1" in said
    assert is_quiet(server)
    assert server.sessions() == []


def test_outputs_come_back_bit_for_bit_and_nothing_is_sent_twice(server, artifact, tmp_path):
    batches = [np.full((3, 4), 0.5, np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)]
    chunks.write(tmp_path / "samples", [{"in": x} for x in batches])
    job = {
        "kind": "predict", "runtime": "litert", "threads": 1, "artifact": str(artifact),
        "samples": str(tmp_path / "samples"),
    }  # fmt: skip
    local.open("local").run({**job, "results": str(tmp_path / "here")}, lambda _frame: None)
    kept = server.home / ".cache" / "edgekit" / "kept"
    seen: list[dict[str, int]] = []
    for number in range(2):
        with ssh.open(server.url) as device:
            there = tmp_path / f"there{number}"
            device.run({**job, "results": str(there)}, lambda _frame: None)
        seen.append({path.name: path.stat().st_ino for path in kept.rglob("*.*")})
        assert len(seen[-1]) == 2, "one runner and one artifact"
        assert seen[-1] == seen[0], "the same files, not new ones of the same name"
        for here, back in zip(chunks.read(tmp_path / "here"), chunks.read(there), strict=True):
            np.testing.assert_array_equal(back["out"], here["out"])
    assert (kept.parent.stat().st_mode & 0o777, server.sessions()) == (0o700, [])


@pytest.mark.parametrize(
    ("build", "module"), [("dense_ir", "openvino"), ("dense_onnx", "onnxruntime")]
)
def test_artifacts_of_other_runtimes_travel_with_all_their_files(build, module, server, tmp_path):
    pytest.importorskip(module)
    artifact = getattr(tiny, build)(tmp_path / ("m.xml" if module == "openvino" else "m.onnx"))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    chunks.write(tmp_path / "samples", [{"in": x}])
    job = {
        "kind": "predict", "runtime": module, "threads": 1, "artifact": str(artifact),
        "siblings": ["m.xml", "m.bin"] if module == "openvino" else ["m.onnx"],
        "samples": str(tmp_path / "samples"), "results": str(tmp_path / "results"),
        "options": {"INFERENCE_PRECISION_HINT": "f32"} if module == "openvino" else {},
    }  # fmt: skip
    with ssh.open(server.url) as device:
        device.run(job, lambda _frame: None)
    found = chunks.read_all(tmp_path / "results")["out"]
    np.testing.assert_allclose(found, tiny.dense(x), rtol=1e-5)


def test_probe_tells_the_device_and_its_python(server):
    with ssh.open(server.url) as device:
        found = device.probe()
    assert found["python"] == sys.executable
    assert {"numpy", "ai_edge_litert"} <= set(found["modules"])
    assert found["home_writable"] is True
    assert found["free_bytes"] > 0
    assert found["cores"] == os.cpu_count()


def test_a_shell_that_prints_is_understood(server, artifact):
    noise = "echo Welcome; echo '@edgekit:t0k {}'; printf 'no end of line'; echo oops >&2\n"
    (server.home / ".bashrc").write_text(noise)
    with ssh.open(server.url) as device:
        frames: list[dict] = []
        job = {**LONG, "artifact": str(artifact), "least_s": 0.01, "most_s": 0.05}
        device.run(job, frames.append)
    assert [frame["frame"] for frame in frames][-1] == "facts"


def test_files_that_look_like_libraries_in_the_home_directory_are_not_imported(server, artifact):
    for name in ("json", "numpy", "hashlib"):
        (server.home / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    with ssh.open(server.url) as device:
        assert device.probe()["modules"]


def test_two_devices_measure_at_the_same_time(server, artifact):
    """Each waits for the other to be seen running: in turns, neither would ever begin."""
    both = threading.Barrier(2, timeout=60)
    other = server.url.replace("127.0.0.1", "localhost")
    server.client(HostKeyAlias=f"[127.0.0.1]:{server.port}")
    started: set[str] = set()

    def progress(message: str) -> None:
        url = message.partition(": measuring")[0]
        if "measuring" in message and url not in started:
            started.add(url)
            both.wait()

    report = benching.bench(
        [artifact], devices=(server.url, other), budget_s=SHORT_S, on_progress=progress
    )
    assert started == {server.url, other}
    assert [result.device.url for result in report.results] == [server.url, other]


# ----------------------------------------------------------------------------- it cannot begin


def test_an_unknown_host_key_is_refused_and_says_how_to_look_at_it(server, artifact):
    server.knows(None)
    failing(
        measured(server.url, artifact), "host key is not known", f"ssh -p {server.port} 127.0.0.1"
    )


def test_a_changed_host_key_is_refused_and_says_how_to_forget_the_old_one(server, artifact):
    server.knows("other")
    failing(
        measured(server.url, artifact),
        "not the one that is known",
        f"ssh-keygen -R '[127.0.0.1]:{server.port}' -f {server.directory / 'known_hosts'}",
    )


def test_a_refused_key_says_how_to_have_one_accepted(server, artifact):
    server.client("other")
    failing(measured(server.url, artifact), "refused every key", "ssh-copy-id", "publickey")


def test_a_port_where_nothing_listens_is_told_at_once(server, artifact):
    server.stop()
    failing(measured(server.url, artifact), "nothing listens on that port")


def test_a_device_that_never_answers_is_given_up(server, artifact):
    server.send_signal(signal.SIGSTOP)
    try:
        failing(measured(server.url, artifact), "no answer within 3 s")
    finally:
        server.send_signal(signal.SIGCONT)


def test_a_device_without_python_says_what_to_install(server, artifact):
    server.has_python(None)
    failing(measured(server.url, artifact), "no Python 3.9 or later", "apt install python3")


def test_an_old_python_is_named(server, artifact):
    python = server.directory / "bin" / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.7.3\nexit 1\n')
    failing(measured(server.url, artifact), "no Python 3.9 or later on its PATH; it has Python 3.7")


def test_a_missing_runtime_says_how_to_set_it_up(server, artifact, tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    server.has_python(str(bare / "bin" / "python"))
    failing(
        measured(server.url, artifact),
        "lacks ai_edge_litert or tflite_runtime, numpy",
        f"edgekit device setup {server.url} --runtime litert",
    )
    assert not list(server.home.glob(".cache/edgekit/kept/*")), "nothing was sent"


def test_a_full_disk_is_one_line_and_leaves_no_part_of_a_file(server, artifact):
    with mounted(server.home / ".cache", "size=100k"):
        (server.home / ".cache" / "other").write_bytes(bytes(80_000))
        failing(measured(server.url, artifact), "no space for", "free some space")
        left = [path for path in (server.home / ".cache" / "edgekit").rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in left) < 20_000
        assert not list(server.home.glob(".cache/edgekit/kept/.part-*"))
    assert is_quiet(server)


def test_outputs_for_which_there_is_no_space_are_one_line(server, artifact, tmp_path):
    x = np.zeros((1, 4), np.float32)
    chunks.write(tmp_path / "samples", [{"in": x} for _ in range(300)])
    job = {
        "kind": "predict", "runtime": "litert", "threads": 1, "artifact": str(artifact),
        "samples": str(tmp_path / "samples"), "results": str(tmp_path / "results"),
    }  # fmt: skip

    def fill(frame):
        if frame.get("files") == 1:
            with contextlib.suppress(OSError), (cache / "other").open("wb", 0) as file:
                while True:
                    file.write(bytes(4096))

    cache = server.home / ".cache"
    with mounted(cache, "size=20m"), ssh.open(server.url) as device:
        failing(lambda: device.run(job, fill), "no space is left for the outputs", "free some")
    assert not list((tmp_path / "results").glob("*"))


def test_a_home_that_cannot_be_written_gives_way_to_a_private_directory(tmp_path, monkeypatch):
    place = tmp_path / "tmp"
    place.mkdir()
    with servers.running(tmp_path / "server", {"TMPDIR": str(place)}) as server:
        monkeypatch.setenv("PATH", server.path())
        (server.home / ".cache").write_text("no directory can be made here")
        with ssh.open(server.url) as device:
            found = device.probe()
    private = place / f"edgekit-{os.geteuid()}"
    assert found["cache"] == str(private)
    assert private.stat().st_mode & 0o777 == 0o700


class mounted:  # noqa: N801 reads as the context manager that it is
    """A small file system of its own, where this user may mount one."""

    def __init__(self, place: Path, options: str) -> None:
        self.place = place
        self.options = options

    def __enter__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", str(self.place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")

    def __exit__(self, *_raised: object) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)


# -------------------------------------------------------------------------- it ends midway


def test_a_killed_sshd_is_a_lost_connection_and_the_runner_ends(server, artifact):
    failing(
        lambda: measured(server.url, artifact)(lambda: server.send_signal(signal.SIGKILL)),
        "the connection was lost while m.tflite was under way",
    )
    assert is_quiet(server)


def test_a_device_that_falls_silent_is_given_up(server, artifact):
    failing(
        lambda: measured(server.url, artifact)(lambda: server.send_signal(signal.SIGSTOP)),
        "the connection was lost",
        "silent for 2 s",
    )
    server.send_signal(signal.SIGCONT)
    assert is_quiet(server)


def test_a_device_that_dies_before_its_outputs_are_fetched_is_given_up_once(
    server, artifact, tmp_path
):
    """Its files are not tidied then: each try would wait as long as the first."""
    chunks.write(tmp_path / "samples", [{"in": np.zeros((1, 4), np.float32)}])
    job = {
        "kind": "predict", "runtime": "litert", "threads": 1, "artifact": str(artifact),
        "samples": str(tmp_path / "samples"), "results": str(tmp_path / "results"),
    }  # fmt: skip

    def act():
        with ssh.open(server.url) as device:
            fetch = device._device().keeper.fetch

            def stopped(*arguments):
                server.send_signal(signal.SIGSTOP)
                fetch(*arguments)

            device._device().keeper.fetch = stopped
            device.run(job, lambda _frame: None)

    failing(act, server.url)  # lost, or no answer where ssh has tried to connect anew
    server.send_signal(signal.SIGCONT)
    assert is_quiet(server)


def test_a_runner_that_gives_no_sign_is_ended(server, artifact):
    def act():
        with ssh.open(server.url) as device:
            device.probe()
            job = {**LONG, "artifact": str(artifact)}
            device.run(job, lambda _frame: None, silence_s=0.001)

    failing(act, "gave no sign for 0.001 s")
    assert is_quiet(server)
    assert server.sessions() == []


def test_a_runner_that_crashes_says_with_which_signal(server, artifact):
    def crash():
        for pid in server.running():
            if Path(f"/proc/{pid}/comm").read_text().startswith("python"):
                os.kill(pid, signal.SIGSEGV)

    failing(lambda: measured(server.url, artifact)(crash), "crashed the runner", "(SIGSEGV)")


def test_what_was_measured_before_the_device_died_is_kept(server, artifact, tmp_path):
    def progress(message: str) -> None:
        if "process 3" in message:
            server.stop()

    output = tmp_path / "r.result.json"
    with pytest.raises(DeviceError, match=r"lost|nothing listens") as caught:
        benching.bench(
            [artifact],
            devices=server.url,
            data=str(digits(tmp_path)),
            budget_s=SHORT_S,
            output=output,
            on_progress=progress,
        )
    (result,) = caught.value.report.results
    assert (result.complete, result.latency.processes, result.latency.ci95_s) == (False, 2, None)
    assert result.accuracy is None
    assert any(text.startswith("incomplete: ssh://") for text in result.warnings)
    written = json.loads(output.read_text())["results"]
    assert written[0]["complete"] is False


def test_a_device_that_fails_takes_no_other_device_along(server, artifact, tmp_path):
    dead = f"ssh://127.0.0.1:{servers._free_port()}"
    command = [
        sys.executable, "-m", "edgekit", "bench", str(artifact), "--device", dead, "--device",
        server.url, "--budget", "0.01", "-o", str(tmp_path / "r.json"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert server.url in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        f"error: {dead}: nothing listens on that port. Fix: start sshd there, or correct the port"
    ]
    report = json.loads((tmp_path / "r.json").read_text())
    assert [one["device"]["url"] for one in report["results"]] == [server.url]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
def test_nothing_is_left_on_two_devices_however_bench_ends(number, server, artifact, tmp_path):
    server.client(HostKeyAlias=f"[127.0.0.1]:{server.port}")
    other = server.url.replace("127.0.0.1", "localhost")
    command = [
        sys.executable, "-m", "edgekit", "bench", str(artifact), "--budget", "600",
        "--device", server.url, "--device", other, "--data", str(digits(tmp_path)),
    ]  # fmt: skip

    def runners() -> bool:
        lines = [Path(f"/proc/{pid}/cmdline") for pid in server.running()]
        return sum(b"runner-" in line.read_bytes() for line in lines if line.exists()) >= 2

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert servers.wait_for(runners)
        process.send_signal(number)
        process.wait(timeout=BOUND_S)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert is_quiet(server)
    if number == signal.SIGINT:  # else ssh itself ends them a minute later, and the next survey
        assert servers.wait_for(lambda: len(server.daemons()) == 1), "its connections end, too"
        assert server.sessions() == []


# ------------------------------------------------------------------------------------ setup


def wheel(directory: Path, name: str, code: str = "") -> None:
    """A package of one empty module: what pip installs is not what is looked at here."""
    module = name.replace("-", "_")
    about = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(directory / f"{module}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}.py", code)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A server whose pip takes packages from a directory, and that directory."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "numpy")
    variables = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    with servers.running(tmp_path / "server", variables) as started:
        monkeypatch.setenv("PATH", started.path())
        yield started, wheels


def setup(server, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "edgekit", "device", "setup", server.url, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_setup_says_what_it_does_and_bench_then_uses_what_it_made(shop):
    server, wheels = shop
    wheel(wheels, "ai-edge-litert")
    venv = server.home / ".local" / "share" / "edgekit" / "venv"
    planned = json.loads(setup(server, "--dry-run", "--json").stdout)
    assert planned["runs"] == [
        f"on {server.url}: {sys.executable} -m venv {venv}",
        f"on {server.url}: {venv}/bin/python -m pip install numpy ai-edge-litert",
    ]
    assert list(server.home.iterdir()) == [], "a dry run writes nothing there"
    done = setup(server, "--json")
    assert done.returncode == 0, done.stderr
    assert {"numpy": "1.0", "ai-edge-litert": "1.0"}.items() <= json.loads(done.stdout)[
        "versions"
    ].items()
    assert f"on {server.url}: {venv}/bin/python -m pip install" in done.stderr
    with ssh.open(server.url) as device:
        found = device.probe()
    assert found["python"] == f"{venv}/bin/python"
    assert found["modules"] == ["ai_edge_litert", "numpy"]
    refused = setup(server, "--runtime", "openvino")
    assert refused.returncode == 1
    assert venv.is_dir(), "an environment that worked before stays"


@pytest.mark.slow
def test_a_setup_that_fails_leaves_nothing_and_says_what_pip_said(shop):
    server, _ = shop
    done = setup(server, "--quiet")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip failed there: ERROR: No matching distribution found for ai-edge-litert" in line
    assert not (server.home / ".local" / "share" / "edgekit" / "venv").exists()
    assert is_quiet(server)


def test_a_killed_setup_leaves_nothing_running_and_nothing_half_made(shop):
    server, _ = shop
    command = [sys.executable, "-m", "edgekit", "device", "setup", server.url]
    venv = server.home / ".local" / "share" / "edgekit" / "venv"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert servers.wait_for(venv.exists)
        process.kill()
    assert is_quiet(server)
    assert not venv.exists()


# ------------------------------------------------------------------------------- a real model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretrainedResnet_quant.tflite", "pretrainedResnet.tflite"])
def test_resnet_8_over_ssh_is_resnet_8_here(name, server, edgekit_data, tmp_path):
    directory = edgekit_data / "mlperf_tiny_ic_resnet8"
    with np.load(directory / "cifar10_lossless_subset.npz") as stored:
        x, y = stored["x_test"][:300].astype(np.float32), stored["y_test"][:300].reshape(-1)
        calib = stored["x_test"][300:310].astype(np.float32)
    np.savez(tmp_path / "d.npz", x_test=x, y_test=y, x_calib=calib)
    report = benching.bench(
        [directory / name],
        devices=("local", server.url),
        data=str(tmp_path / "d.npz"),
        budget_s=SHORT_S,
    )
    here, there = report.results
    assert there.accuracy == here.accuracy
    assert there.accuracy.value > 0.8
    inputs = [tensor["name"] for tensor in loaded(directory / name)["inputs"]]
    chunks.write(tmp_path / "samples", [{inputs[0]: x[:50]}])
    for device in (local.open("local"), ssh.open(server.url)):
        job = {
            "kind": "predict", "runtime": "litert", "threads": 1,
            "artifact": str(directory / name), "samples": str(tmp_path / "samples"),
            "results": str(tmp_path / type(device).__name__),
        }  # fmt: skip
        device.run(job, lambda _frame: None)
    (a,), (b,) = (list(chunks.read(tmp_path / kind)) for kind in ("Local", "Ssh"))
    for output, values in a.items():
        np.testing.assert_array_equal(b[output], values)


def loaded(artifact: Path) -> dict:
    """What the runner here says of an artifact."""
    frames: list[dict] = []
    job = {"kind": "describe", "runtime": "litert", "threads": 1, "artifact": str(artifact)}
    local.open("local").run(job, frames.append)
    return next(frame for frame in frames if frame["frame"] == "loaded")
