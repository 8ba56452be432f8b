"""`edgekit run` killed at random moments, and several runs on one cache.

EDGEKIT_KILLS and EDGEKIT_ROUNDS say how often; the defaults keep a test below a few minutes.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "run_cases", Path(__file__).parents[1] / "run_cases.py"
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

KILLS = int(os.environ.get("EDGEKIT_KILLS", "5"))
ROUNDS = int(os.environ.get("EDGEKIT_ROUNDS", "3"))
DEATH_S = 20.0

pytestmark = pytest.mark.slow


def gone(marker: str) -> bool:
    """Waits for the processes of a killed run: the system takes its time to end them."""
    deadline = time.monotonic() + DEATH_S
    while cases.marked(marker):
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def half_written(place: Path) -> list[Path]:
    """What is neither an output nor a file of the run's own."""
    known = (".edgekit-run.json", ".edgekit-run.lock")
    return [path for path in place.rglob(".*") if path.name not in known]


def test_a_run_that_was_killed_at_any_moment_is_completed_by_the_next(tmp_path):
    text = cases.fp32_and_fp16()
    calm = cases.project(tmp_path / "calm", text)
    start_s = time.monotonic()
    cases.report_of(cases.start(calm, tmp_path / "calm-cache"))
    whole_s = time.monotonic() - start_s
    expected = cases.contents(tmp_path / "calm" / "build")
    draw = random.Random(0)  # noqa: S311
    for number in range(KILLS):
        place = tmp_path / f"project{number}"
        file, marker = cases.project(place, text), f"kill-{number}-{os.getpid()}"
        process = cases.start(file, tmp_path / "cache", marker=marker)
        moment_s = draw.uniform(0, whole_s)
        try:
            process.communicate(timeout=moment_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert gone(marker), f"killed after {moment_s:.2f} s, it left {cases.marked(marker)}"
        report = cases.report_of(cases.start(file, tmp_path / "cache"))
        assert report["error"] is None, f"killed after {moment_s:.2f} s"
        assert cases.contents(place / "build") == expected, f"killed after {moment_s:.2f} s"
        assert not half_written(place)
        assert not list((tmp_path / "cache" / "work").iterdir())
        shutil.rmtree(tmp_path / "cache")
        shutil.rmtree(place)


def test_two_runs_on_one_cache_make_each_output_once(tmp_path):
    expected = None
    for number in range(ROUNDS):
        place = tmp_path / f"round{number}"
        files = [cases.project(place / side, cases.fp32_and_fp16()) for side in ("a", "b")]
        both = [cases.start(file, place / "cache") for file in files]
        reports = [cases.report_of(process) for process in both]
        made = [
            one["name"] for told in reports for one in told["stages"] if one["status"] == "built"
        ]
        assert sorted(made) == sorted(set(made)), "the same stage was run twice"
        assert len(made) == 2
        built = [cases.contents(file.parent / "build") for file in files]
        assert built[0] == built[1]
        expected = expected or built[0]
        assert built[0] == expected
        shutil.rmtree(place)


def test_two_runs_of_one_project_wait_for_each_other(tmp_path):
    file = cases.project(tmp_path, cases.fp32_and_fp16())
    both = [cases.start(file, tmp_path / "cache") for _ in range(2)]
    told = sorted(one["status"] for process in both for one in cases.report_of(process)["stages"])
    assert told == ["built", "built", "up to date", "up to date"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_ends_its_processes_and_keeps_what_is_whole(tmp_path, number):
    file, marker = cases.project(tmp_path, cases.fp32_and_fp16()), f"end-{number}-{os.getpid()}"
    # Where the tests themselves run in a shell's background, SIGINT is ignored, and stays so.
    before = signal.signal(number, signal.default_int_handler)
    process = cases.start(file, tmp_path / "cache", marker=marker)
    signal.signal(number, before)
    deadline = time.monotonic() + 60
    while len(cases.marked(marker)) < 3:  # the run, a stage, a worker of the stage
        assert time.monotonic() < deadline
        os.sched_yield()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert err.count("\n") == 1, err
    assert gone(marker)
    assert not half_written(tmp_path)
    assert not list((tmp_path / "cache" / "work").iterdir())
    assert cases.report_of(cases.start(file, tmp_path / "cache"))["error"] is None
