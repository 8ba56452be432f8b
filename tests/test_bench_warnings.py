"""What a measurement on another processor is said to be worth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekit import bench_warnings
from edgekit.bench_artifacts import Measurand

MACHINE = {
    "arch": "armv7e-m", "cpu": None, "cpu_quota_cores": None, "usable_cores": 1, "governor": None,
    "throttled": None,
}  # fmt: skip


def said(made_for, target, untimed) -> list[str]:
    device = SimpleNamespace(is_this_machine=False, untimed=untimed, unjudged=None)
    measurand = Measurand(Path("m.h"), None, "c", {}, target=target, made_for=made_for)
    observed = SimpleNamespace(frames={"environment": MACHINE, "facts": {}}, replicates=())
    return list(bench_warnings.of(device, measurand, observed, threads=1))


def test_another_target_than_the_manifests_is_not_said_to_be_what_it_was_made_for() -> None:
    (text,) = said("cortex-m7", "cortex-m55", "no cycles")
    assert text.startswith("made for cortex-m7, with --target cortex-m55 (armv8.1-m.main) and")


@pytest.mark.parametrize(("untimed", "told"), [(None, True), ("an emulator", False)])
def test_times_are_only_doubted_where_there_are_some(untimed, told) -> None:
    (text,) = said("cortex-m55", "cortex-m55", untimed)
    assert ("latency and memory say nothing about a cortex-m55" in text) == told
    assert text.startswith("made for cortex-m55 (armv8.1-m.main) and measured on armv7e-m")
