"""The local device: a fresh runner per job, whose death in any form is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit import chunks
from edgekit.errors import DataError, DeviceError, ModelError, UsageError
from edgekit.targets import conversation, local

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).with_name("tiny_models.py")
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

MEASURE = {
    "kind": "measure", "runtime": "litert", "threads": 1, "options": {}, "seed": 0,
    "warm_up_least_s": 0.0, "warm_up_most_s": 0.02, "least_runs": 3, "least_s": 0.01,
    "most_s": 0.05,
}  # fmt: skip


def children(pid: int) -> list[int]:
    """Child processes, as /proc tells."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(text) for text in found]


@pytest.fixture
def started():
    """Tells this process's children that are new since; others serve other tests."""
    before = children(os.getpid())
    return lambda: [pid for pid in children(os.getpid()) if pid not in before]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def by_name(frames: list[dict]) -> dict[str, dict]:
    return {frame["frame"]: frame for frame in frames}


def test_probe_describes_this_machine():
    found = local.open("local").probe()
    assert found["arch"] == platform.machine()
    assert found["cores"] == os.cpu_count()
    assert found["versions"]["python"] == platform.python_version()


def test_only_the_bare_word_names_this_machine():
    assert local.open("local://").url == "local"
    with pytest.raises(UsageError, match="local takes nothing after it"):
        local.open("local://elsewhere")


def test_a_measurement_tells_times_memory_and_what_ran(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    frames: list[dict] = []
    local.open("local").run({**MEASURE, "artifact": str(artifact)}, frames.append)
    assert [frame["frame"] for frame in frames] == [
        "environment", "loaded", "warm", "measured", "facts"
    ]  # fmt: skip
    measured = by_name(frames)["measured"]
    samples = measured["samples_ns"]
    assert measured["runs"] >= 3
    assert samples == sorted(samples)
    assert min(samples) / 1e9 == measured["min_s"]
    for key in ("import_s", "load_s", "first_inference_s", "cpu_median_s", "wall_per_cpu"):
        assert measured[key] > 0
    assert measured["inputs"] == "random, seed 0: uniform in [0, 1)"
    assert by_name(frames)["facts"]["delegate"]["total_nodes"] == 1


def test_real_samples_are_fed_where_the_job_brings_them(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    chunks.write(tmp_path / "samples", [{"in": np.ones((2, 4), np.float32)}])
    frames: list[dict] = []
    job = {**MEASURE, "artifact": str(artifact), "samples": str(tmp_path / "samples")}
    local.open("local").run(job, frames.append)
    assert by_name(frames)["measured"]["inputs"] == "the first sample of the data"


def test_predictions_travel_as_chunks_in_order(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    batches = [np.full((3, 4), 0.5, np.float32), np.arange(8, dtype=np.float32).reshape(2, 4)]
    chunks.write(tmp_path / "samples", [{"in": x} for x in batches])
    job = {
        "kind": "predict", "runtime": "litert", "threads": 1, "artifact": str(artifact),
        "samples": str(tmp_path / "samples"), "results": str(tmp_path / "results"),
    }  # fmt: skip
    local.open("local").run(job, lambda _frame: None)
    found = [batch["out"] for batch in chunks.read(tmp_path / "results")]
    for x, y in zip(batches, found, strict=True):
        np.testing.assert_allclose(y, tiny.dense(x), rtol=1e-6, atol=1e-6)


def test_a_truncated_model_is_one_line_that_names_it(tmp_path):
    whole = tiny.dense_tflite(tmp_path / "m.tflite").read_bytes()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"LiteRT cannot load .*broken\.tflite") as caught:
        local.open("local").run({**MEASURE, "artifact": str(broken)}, lambda _frame: None)
    assert "\n" not in str(caught.value)


def test_samples_that_do_not_fit_are_the_datas_fault(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    chunks.write(tmp_path / "samples", [{"in": np.ones((2, 5), np.float32)}])
    job = {**MEASURE, "artifact": str(artifact), "samples": str(tmp_path / "samples")}
    with pytest.raises(DataError, match=r"m\.tflite: input 'in' takes samples of shape \[4\]"):
        local.open("local").run(job, lambda _frame: None)


def test_a_runtime_that_is_not_there_is_the_devices_fault(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    with pytest.raises(DeviceError, match="no runtime 'tpu'"):
        local.open("local").run(
            {**MEASURE, "artifact": str(artifact), "runtime": "tpu"}, lambda _frame: None
        )


def test_a_crash_is_one_line_with_the_signal(tmp_path, started):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")

    def crash(_frame):
        for pid in started():
            os.kill(pid, signal.SIGSEGV)

    with pytest.raises(DeviceError, match=r"m\.tflite crashed the runner \(SIGSEGV\)"):
        local.open("local").run(
            {**MEASURE, "artifact": str(artifact), "least_s": 60, "most_s": 60}, crash
        )


def test_a_bug_in_the_runner_keeps_its_traceback(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    job = {**MEASURE, "artifact": str(artifact)}
    del job["seed"]
    with pytest.raises(conversation.RunnerBug, match="KeyError: 'seed'"):
        local.open("local").run(job, lambda _frame: None)


def test_a_silent_runner_is_ended(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    before = children(os.getpid())
    with pytest.raises(DeviceError, match=r"m\.tflite gave no sign for 0\.001 s"):
        local.open("local").run(
            {**MEASURE, "artifact": str(artifact)}, lambda _frame: None, silence_s=0.001
        )
    assert children(os.getpid()) == before


def test_no_process_is_left_when_the_caller_fails(tmp_path, started):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    seen: list[int] = []

    def fail(_frame):
        seen.extend(started())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.open("local").run({**MEASURE, "artifact": str(artifact), "least_s": 60}, fail)
    assert seen
    assert not any(is_running(pid) for pid in seen)


def test_the_runner_spawns_nothing(tmp_path, started):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    grandchildren: list[int] = []

    def look(_frame):
        for pid in started():
            grandchildren.extend(children(pid))

    local.open("local").run({**MEASURE, "artifact": str(artifact)}, look)
    assert not grandchildren


def start_runner(command: list[str], job: dict) -> subprocess.Popen:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    return process


def test_the_runner_dies_when_its_input_closes(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    job = {**MEASURE, "artifact": str(artifact), "token": "t", "least_s": 600, "most_s": 600}
    command = [sys.executable, "-P", "-m", "edgekit.targets.runner"]
    with start_runner(command, job) as process:
        while b'"warm"' not in process.stdout.readline():
            continue
        closed = time.monotonic()
        process.stdin.close()
        assert process.wait(timeout=20) != 0
        assert time.monotonic() - closed < 20


def test_what_a_library_prints_is_no_frame():
    script = (
        "import os; from edgekit.targets.runner.protocol import Channel;"
        "os.write(1, b'Welcome to the board!'); channel = Channel('t0k');"
        "print('@edgekit:other {}', flush=True); os.write(1, b'from C'); channel.send({'a': 1})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [b"Welcome to the board!", b'@edgekit:t0k {"a": 1}']
    assert b"@edgekit:other {}" in done.stderr
    assert b"from C" in done.stderr


def test_frames_are_found_among_noise():
    noise = r"motd\n@edgekit:bad {\"a\": 0}\n@edgekit:t0k {\"a\": 1}\nhalf @edgekit:t0k {}\n"
    with subprocess.Popen(["printf", noise], stdout=subprocess.PIPE) as child:
        found = list(conversation._frames(child, b"@edgekit:t0k ", 20.0, "x"))
    assert found == [{"a": 1}]


def test_a_file_in_the_users_directory_is_not_imported_as_a_library(tmp_path, monkeypatch):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    frames: list[dict] = []
    local.open("local").run({**MEASURE, "artifact": str(artifact)}, frames.append)
    assert "measured" in by_name(frames)
