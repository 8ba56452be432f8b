"""What a worker's child process is given of an environment, and what is said when it crashes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgekit import workers
from edgekit.errors import ConversionError
from edgekit.workers import Worker, WorkerBug


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def _variable(name, environment=None):
    with Worker("worker_cases:Cases", "the test's child", environment=environment) as worker:
        return worker.call("variable", name=name)


@pytest.mark.usefixtures("importable")
def test_a_child_that_trains_is_told_to_keep_its_memory():
    assert "mmap_max=0" in _variable("GLIBC_TUNABLES", workers.KEEP_MEMORY)
    assert "GLIBC_TUNABLES" not in os.environ


@pytest.mark.usefixtures("importable")
def test_what_the_user_has_set_stands(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    assert _variable("GLIBC_TUNABLES", workers.KEEP_MEMORY) == "glibc.malloc.check=0"


@pytest.mark.usefixtures("importable")
def test_frameworks_are_quiet_whatever_is_set(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert _variable("TF_CPP_MIN_LOG_LEVEL") == "3"


@pytest.mark.usefixtures("importable")
def test_a_crash_is_named_with_the_line_that_it_happened_in():
    with Worker("worker_cases:Cases", "the test's child") as worker:
        with pytest.raises(ConversionError) as caught:
            worker.call("crash")
        assert caught.value.message == (
            "the test's child crashed (SIGSEGV in worker_cases.py, crash); it said: about to crash"
        )
        with pytest.raises(ConversionError, match="crashed"):
            worker.call("variable", name="HOME")


@pytest.mark.usefixtures("importable")
def test_an_answer_that_cannot_be_sent_is_a_bug_with_its_traceback():
    with Worker("worker_cases:Cases", "the test's child") as worker:
        with pytest.raises(WorkerBug, match="set is not JSON serializable"):
            worker.call("unsendable")
        assert worker.call("variable", name="NNCF_CI") == "1"
