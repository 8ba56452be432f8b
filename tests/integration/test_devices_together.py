"""One artifact on this machine, over ssh and on emulated arm64 at once: one table, one accuracy."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit import printing, printing_bench, registry
from edgekit.errors import DeviceError
from edgekit.targets import qemu_user

TESTS = Path(__file__).parents[1]
EMULATED = "qemu://aarch64"


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


servers = _load(TESTS / "ssh_servers.py")
tiny = _load(TESTS / "targets" / "tiny_models.py")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(servers.why_not() is not None, reason=str(servers.why_not())),
]


@pytest.fixture(scope="module")
def userland():
    try:
        registry.target("qemu").set_up(EMULATED, "litert", lambda _text: None, look_only=False)
    except DeviceError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no arm64 userland: {error}")


def test_three_devices_at_once_are_one_table_with_one_accuracy(userland, tmp_path, monkeypatch):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    y = tiny.dense(x).argmax(1)
    y[40:45] = (y[40:45] + 1) % 3  # five of the twenty that judge are labelled otherwise
    np.savez(tmp_path / "d.npz", x_test=x[40:], y_test=y[40:], x_calib=x[:20], y_calib=y[:20])
    with servers.running(tmp_path / "server") as server:
        monkeypatch.setenv("PATH", server.path())
        report = edgekit.bench(
            artifact,
            devices=("local", server.url, EMULATED),
            data=str(tmp_path / "d.npz"),
            metric="top1",
            budget_s=0.1,
        )
    here, remote, emulated = report.results
    assert here.accuracy.value == 0.75
    assert here.accuracy == remote.accuracy == emulated.accuracy
    assert here.latency.median_s > 0
    assert remote.latency.median_s > 0
    assert emulated.latency.median_s is None
    assert emulated.latency.why == qemu_user.EmulatedArm64.untimed
    assert [one.device.arch for one in (here, emulated)] == [os.uname().machine, "aarch64"]
    shown = printing.render(printing_bench.bench(report))
    assert shown.count("median") == 1, "one table"
    told = " ".join(shown.split())
    assert f"on {EMULATED}: no latency: {qemu_user.EmulatedArm64.untimed}" in told
