"""Several devices: their order, their failures, and how all of them end together."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import msgspec
import pytest

from edgekit import bench_devices, bench_rounds, bench_warnings
from edgekit.bench_devices import Measured
from edgekit.errors import DeviceError, ModelError
from edgekit.result_types import Replicate
from edgekit.targets import children

HERE = SimpleNamespace(url="local", is_this_machine=True, untimed=None)


def remote(name: str, untimed: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        url=f"ssh://{name}", is_this_machine=False, untimed=untimed, unjudged=None
    )


def test_this_machine_measures_first_and_alone_and_the_others_together():
    both = threading.Barrier(2, timeout=30)
    order: list[str] = []

    def one(device):
        order.append(device.url)
        if not device.is_this_machine:
            both.wait()
        return Measured(results=(device.url,))

    measured = bench_devices.measure([remote("a"), HERE, remote("b")], one)
    assert order[0] == "local"
    assert [found.results for found in measured] == [("ssh://a",), ("local",), ("ssh://b",)]


def test_a_device_that_fails_ends_no_other():
    def one(device):
        if device.url != "ssh://b":
            raise DeviceError(f"{device.url} is down", "switch it on")
        return Measured(results=("found",))

    devices = [HERE, remote("b"), remote("c")]
    measured = bench_devices.measure(devices, one)
    assert [found.results for found in measured] == [(), ("found",), ()]
    failure = bench_devices.failure(devices, measured)
    assert str(failure) == "local is down; ssh://c is down. Fix: switch it on"
    assert bench_devices.failure(devices, measured[1:2]) is None


def test_what_concerns_all_devices_ends_all_of_them():
    ended = threading.Event()

    def one(device):
        if device.url == "ssh://a":
            raise ModelError("the file is broken")
        with children.child(["sleep", "600"], stdin=None, stdout=None, stderr=None) as child:
            child.wait()
        ended.set()
        raise DeviceError("it was ended")

    with pytest.raises(ModelError, match="the file is broken"):
        bench_devices.measure([remote("a"), remote("b")], one)
    assert ended.is_set()


def test_a_leash_that_was_pulled_ends_the_next_child_too():
    leash = children.Leash()
    leash.pull()
    token = children.LEASH.set(leash)
    try:
        with children.child(["sleep", "600"], stdin=None, stdout=None, stderr=None) as child:
            assert child.wait(timeout=30) < 0
    finally:
        children.LEASH.reset(token)


def test_ctrl_c_reaches_the_devices_of_all_threads():
    script = """
import os, signal, sys, threading, time
from types import SimpleNamespace
from edgekit import bench_devices
from edgekit.targets import children

started = threading.Barrier(3)

def one(device):
    with children.child(["sleep", "600"], stdin=None, stdout=None, stderr=None) as child:
        started.wait()
        child.wait()
    raise SystemExit

def interrupt():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
device = SimpleNamespace(is_this_machine=False, untimed=None)
try:
    bench_devices.measure([device, device], one)
except KeyboardInterrupt:
    print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "ended\n", done.stderr


def replicate(**changes) -> Replicate:
    given = {
        "import_s": 0.1, "load_s": 0.1, "first_inference_s": 0.1, "runs": 3, "median_s": 1e-3,
        "min_s": 1e-3, "samples_ns": (1,), "cpu_median_s": 1e-3, "wall_per_cpu": 1.0,
        "involuntary_switches": 0, "elapsed_s": 1.0, "warm_up_runs": 1, "warm_up_stable": True,
        "inputs": "", "clock": "", "peak_delta_bytes": None, "anonymous_bytes": None,
    }  # fmt: skip
    return Replicate(**{**given, **changes})


MACHINE = {
    "cpu": None, "cpu_quota_cores": None, "usable_cores": 4, "governor": None, "throttled": None,
    "arch": "x86_64",
}  # fmt: skip


def told(machine, replicates, target=None) -> list[str]:
    frames = {"environment": {**MACHINE, **machine}, "facts": {"delegate": None, "versions": {}}}
    observed = bench_rounds.Observed(replicates, frames)
    return list(
        bench_warnings.of(
            remote("a"), SimpleNamespace(target=target, made_for=target, engine=None), observed, 1
        )
    )


@pytest.mark.parametrize(
    ("machine", "after", "words"),
    [
        ({"governor": "schedutil"}, {}, "governor is schedutil"),
        ({"throttled": True}, {}, "was throttled"),
        ({}, {"throttled_after": True}, "was throttled"),
        ({}, {"temperature_after_c": 84.2}, "was at 84 °C"),
    ],
)
def test_what_changes_the_clock_is_warned_about(machine, after, words):
    (line,) = told(machine, [replicate(), replicate(**after)])
    assert words in line


def test_a_cool_machine_at_full_clock_is_no_warning():
    machine = {"governor": "performance", "throttled": False}
    assert told(machine, [replicate(temperature_after_c=55.0, throttled_after=False)]) == []


def test_another_processor_than_the_artifacts_is_told():
    (line,) = told({}, [replicate()], target="raspberry-pi-4")
    assert "made for raspberry-pi-4 (aarch64) and measured on x86_64" in line
    assert told({"arch": "aarch64"}, [replicate()], target="raspberry-pi-4") == []
    assert told({}, [replicate()], target="a-profile-of-somebody-else") == []


class Dying:
    """Measures a number of times, and is then gone."""

    url, is_this_machine, untimed = "ssh://a", False, None

    def __init__(self, lives: int) -> None:
        self.lives = lives

    def run(self, _job, on_frame):
        if self.lives == 0:
            raise DeviceError("it is gone")
        self.lives -= 1
        on_frame({"frame": "measured", **msgspec.to_builtins(replicate())})


def test_rounds_that_were_finished_stand_when_a_device_dies():
    jobs = [{"artifact": "a"}, {"artifact": "b"}]
    plan = bench_rounds.plan(2, 1.0)
    observed = bench_rounds.run(Dying(5), jobs, plan, seed=0, progress=lambda _text: None)
    assert sorted(len(one.replicates) for one in observed) == [2, 3]
    assert all(str(one.failure) == "it is gone" for one in observed)
    assert "the device failed after" in bench_rounds.stopped(observed[0], plan)


def test_a_device_that_dies_before_its_first_figure_is_an_error():
    plan = bench_rounds.plan(1, 1.0)
    with pytest.raises(DeviceError, match="it is gone"):
        bench_rounds.run(Dying(0), [{"artifact": "a"}], plan, seed=0, progress=lambda _text: None)
