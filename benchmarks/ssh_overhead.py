"""What ssh adds to a measurement: seconds around each job, the lag of a frame, and nothing inside.

A real sshd on 127.0.0.1 (`tests/ssh_servers.py`): the protocol's share, without a network's. The
same jobs run on this machine and over ssh in turn; clocks are compared on the one machine.
Needs EDGEKIT_DATA, openssh-server and openssh-client.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import chunks
from edgekit.targets import conversation, local, ssh

ROUNDS = 12
FRAMES = 300
LARGE_BYTES = 64 << 20
_TICK = """
import json, sys, time
token = json.loads(sys.stdin.readline())["token"]
for number in range(%d):
    time.sleep(0.005)
    frame = {"frame": "tick", "sent_ns": time.monotonic_ns()}
    print("@edgekit:" + token, json.dumps(frame), flush=True)
print("@edgekit:" + token, json.dumps({"done": True}), flush=True)
"""


def measure(directory: Path) -> dict[str, Any]:
    """Seconds, over a loopback connection."""
    servers = _servers()
    reason = servers.why_not()
    if reason is not None:
        return {"rows": [{"what": "left out", "why": reason}]}
    place = directory / "server"
    shutil.rmtree(place, ignore_errors=True)
    with servers.running(place) as server:
        os.environ["PATH"] = server.path()
        with ssh.open(server.url) as device:
            return {"rounds": ROUNDS, "rows": _rows(device, directory)}


def _rows(device: ssh.Ssh, directory: Path) -> list[dict[str, Any]]:
    model = Path(os.environ["EDGEKIT_DATA"]) / "mlperf_tiny_ic_resnet8" / "pretrainedResnet.tflite"
    first_s = _seconds(device.probe)
    here = local.open("local")
    job = {
        "kind": "measure", "runtime": "litert", "artifact": str(model), "threads": 1, "seed": 0,
        "options": {}, "warm_up_least_s": 0.05, "warm_up_most_s": 0.5, "least_runs": 11,
        "least_s": 0.4, "most_s": 1.0,
    }  # fmt: skip
    pairs = [_pair(here, device, job, turned=bool(number % 2)) for number in range(ROUNDS)]
    added = [there[0] - at_home[0] for at_home, there in pairs]
    ratios = [there[1] / at_home[1] for at_home, there in pairs]
    cpu_ratios = [there[2] / at_home[2] for at_home, there in pairs]
    return [
        {"what": "first command: connect, find Python, send the runner", "s": first_s},
        _row("added around each process of a measurement", added, "s"),
        _row("latency of ResNet-8, ssh / local", ratios, "ratio"),
        _row("its CPU time, ssh / local", cpu_ratios, "ratio"),
        _row("lag of a frame", _lags(device), "s"),
        *_transfer(device, directory, model),
    ]


def _row(what: str, values: list[float], unit: str) -> dict[str, Any]:
    ordered = sorted(values)
    cut = len(ordered) // 6  # 12 rounds: order statistics 3 and 10, 96 %
    return {
        "what": what,
        unit: statistics.median(values),
        "range": [ordered[cut], ordered[-cut - 1]],
    }


def _pair(here: Any, there: Any, job: dict[str, Any], *, turned: bool) -> tuple[Any, Any]:
    """Both places, local first unless it is turned around."""
    if not turned:
        return _measured(here, job), _measured(there, job)
    second = _measured(there, job)
    return _measured(here, job), second


def _measured(device: Any, job: dict[str, Any]) -> tuple[float, float, float]:
    """Seconds of the job without its timed part, and wall and CPU time of one inference."""
    frames: dict[str, dict[str, Any]] = {}
    taken_s = _seconds(lambda: device.run(job, lambda one: frames.update({one["frame"]: one})))
    measured = frames["measured"]
    return taken_s - measured["elapsed_s"], measured["median_s"], measured["cpu_median_s"]


def _lags(device: ssh.Ssh) -> list[float]:
    lags: list[float] = []
    conversation.hold(
        device._connection.command([sys.executable, "-c", _TICK % FRAMES]),
        {},
        lambda frame: lags.append((time.monotonic_ns() - frame["sent_ns"]) / 1e9),
        what="the clock",
        silence_s=60,
        death=lambda code, said: RuntimeError(f"{code}: {said}"),
    )
    return lags


def _transfer(device: ssh.Ssh, directory: Path, model: Path) -> list[dict[str, Any]]:
    """A file of 64 MiB there, and again, and the outputs of 3,000 samples back."""
    large = directory / "large.bin"
    large.write_bytes(np.random.default_rng(0).bytes(LARGE_BYTES))
    keeper = device._device().keeper
    sent_s = _seconds(lambda: keeper.send("kept/large", [("large.bin", large)], keep=True))
    again_s = _seconds(lambda: keeper.send("kept/large", [("large.bin", large)], keep=True))
    samples = np.random.default_rng(0).uniform(0, 255, (3000, 32, 32, 3)).astype(np.float32)
    chunks.write(directory / "samples", [{"input_1": samples}])
    job = {
        "kind": "predict", "runtime": "litert", "artifact": str(model), "threads": 1,
        "samples": str(directory / "samples"), "results": str(directory / "results"),
    }  # fmt: skip
    at_home_s = _seconds(lambda: local.open("local").run(job, lambda _frame: None))
    there_s = _seconds(lambda: device.run(job, lambda _frame: None))
    return [
        {"what": "64 MiB sent, held against its hash", "s": sent_s},
        {"what": "the same, when it is there already", "s": again_s},
        {"what": "3000 samples (37 MB) judged, added to local's time", "s": there_s - at_home_s},
    ]


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _servers() -> Any:
    path = Path(__file__).resolve().parents[1] / "tests" / "ssh_servers.py"
    spec = importlib.util.spec_from_file_location("ssh_servers", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
