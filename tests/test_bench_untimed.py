"""A device whose times mean nothing (an emulator): accuracy and outputs, latency null and why."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import edgekit
from edgekit import printing, printing_bench, registry
from edgekit.errors import DeviceError
from edgekit.targets import local

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parent / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

WHY = "an emulator's times are not those of the machine it emulates"


class Emulated(local.Local):
    """The real runner, on a device that says that its times mean nothing."""

    url = "emulated://arm"
    is_this_machine = False
    untimed = WHY

    def run(self, job, on_frame, **options):
        assert job["kind"] != "measure", "nothing may be timed here"
        if "large" in Path(job["artifact"]).name:
            raise DeviceError("large.tflite does not fit", "take a smaller one")
        super().run(job, on_frame, **options)


@pytest.fixture
def emulated(monkeypatch):
    module = ModuleType("emulated")
    module.open = lambda _url: Emulated()
    found = registry.target
    monkeypatch.setattr(
        registry, "target", lambda name: module if name == "emulated" else found(name)
    )


@pytest.fixture
def report(tmp_path, emulated):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=tiny.dense(x))
    return edgekit.bench(
        [artifact, artifact],
        devices=("local", "emulated://arm"),
        data=str(tmp_path / "d.npz"),
        metric="mse",
        budget_s=0.01,
    )


def test_latency_and_memory_are_null_with_the_reason_and_accuracy_is_measured(report):
    here, _, there, _ = report.results
    assert here.latency.median_s > 0
    assert (there.latency.median_s, there.latency.why) == (None, WHY)
    assert there.throughput_per_s is None
    assert there.cold_start.load_s is None
    assert there.memory.peak_delta_bytes is None
    assert there.accuracy == here.accuracy
    assert there.delegate == here.delegate
    assert not any("warm-up" in warning for warning in there.warnings)


def test_nothing_that_was_not_timed_is_compared(report):
    assert {one.device for one in report.comparison} == {"local"}


def test_the_table_says_why_there_is_no_latency(report):
    shown = printing.render(printing_bench.bench(report, detailed=True))
    assert f" on emulated://arm: no latency: {WHY}" in " ".join(shown.split())
    assert "in 6 processes each" in shown, "processes that never ran are not counted"


def test_an_artifact_that_the_device_cannot_take_leaves_the_others_theirs(tmp_path, emulated):
    small, large = (tiny.dense_tflite(tmp_path / f"{name}.tflite") for name in ("small", "large"))
    output = tmp_path / "r.json"
    with pytest.raises(DeviceError, match="does not fit") as caught:
        edgekit.bench([small, large], devices="emulated://arm", output=output)
    (result,) = caught.value.report.results
    assert (result.artifact.path, result.complete) == (str(small), True)
    written = json.loads(output.read_text())
    assert written["error"] == {
        "code": 1, "kind": "DeviceError", "message": "large.tflite does not fit",
        "fix": "take a smaller one",
    }  # fmt: skip
    with pytest.raises(DeviceError, match="does not fit") as caught:
        edgekit.bench(large, devices="emulated://arm")
    assert caught.value.report is None
