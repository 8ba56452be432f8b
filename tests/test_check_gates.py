"""The gates, against limits and figures whose verdict is plain."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import pytest

from edgekit import check_accuracy, check_gates
from edgekit.build_types import Budgets
from edgekit.types import Accuracy

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)


def gates(figures, **limits):
    return list(check_gates.budgets(figures, Budgets(**limits)))


def drop(before, after, limit=None):
    """The accuracy gate against a baseline."""
    reference = cases.figures(accuracy=before)
    found = check_gates.baseline(
        cases.figures(accuracy=after), reference, Budgets(max_drop=limit), 0.05
    )
    return next(gate for gate in found if gate.name == "accuracy")


@pytest.mark.parametrize(("limit", "outcome"), [(999, "broken"), (1000, "held"), (1001, "held")])
def test_one_byte_over_the_budget_is_caught(limit, outcome):
    (gate,) = gates(cases.figures(size_bytes=1000), max_size_bytes=limit)
    assert (gate.outcome, gate.value, gate.allowed) == (outcome, 1000, limit)


def test_the_line_of_a_size_has_every_byte():
    (gate,) = gates(cases.figures(size_bytes=262_145), max_size_bytes=262_144)
    assert gate.line == "size 262 145 bytes, allowed 262 144 bytes: 1 byte over"
    assert "--max-size-bytes 262145" in gate.fix


def test_a_baseline_is_outgrown_by_one_byte_unless_a_budget_rules():
    after, before = cases.figures(size_bytes=1001), cases.figures(size_bytes=1000)
    (size, *_) = check_gates.baseline(after, before, Budgets(), 0.05)
    assert (size.name, size.outcome) == ("size", "broken")
    ruled = check_gates.baseline(after, before, Budgets(max_size_bytes=2000), 0.05)
    assert "size" not in [gate.name for gate in ruled]


@pytest.mark.parametrize(("limit_ms", "outcome"), [(1.02, "broken"), (1.025, "held")])
def test_the_median_latency_decides(limit_ms, outcome):
    (gate,) = gates(cases.figures(), max_latency_ms=limit_ms)
    assert gate.outcome == outcome
    assert gate.line.startswith("median latency 1.03 ms [1.00, 1.05], allowed 1.0")
    assert gate.line.endswith(": 0.490 % over") == (outcome == "broken")
    assert (gate.interval, gate.level) == ((1.00e-3, 1.05e-3), 0.95)


def test_a_latency_whose_interval_reaches_the_budget_is_to_be_measured_longer():
    (close,) = gates(cases.figures(), max_latency_ms=1.01)
    (far,) = gates(cases.figures(), max_latency_ms=0.5)
    assert "edgekit bench kws.tflite --budget 120" in close.fix
    assert "--max-latency-ms 1.025" in far.fix


@pytest.mark.parametrize("device", ["qemu://cortex-m7", "qemu://aarch64"])
def test_what_an_emulator_cannot_tell_is_not_asked_of_it_again(device):
    bare = cases.figures(
        device=device, median_s=None, ci95_s=None, process_medians_s=(), peak_delta_bytes=None
    )
    for gate in gates(bare, max_latency_ms=5, max_memory_bytes=5):
        assert gate.outcome == "broken"
        assert gate.fix.startswith(f"{device} cannot tell ")
        assert "edgekit bench" not in gate.fix


def test_what_another_device_lacks_is_measured_on_that_device():
    bare = cases.figures(device="ssh://pi", median_s=None, ci95_s=None, process_medians_s=())
    (latency,) = gates(bare, max_latency_ms=5)
    assert latency.fix.startswith("edgekit bench kws.tflite --device ssh://pi -o R.result.json")


def test_what_was_not_measured_breaks_the_gate_that_asks_for_it():
    bare = cases.figures(
        median_s=None, ci95_s=None, process_medians_s=(), peak_delta_bytes=None, accuracy=None,
        why_no_latency="emulated",
    )  # fmt: skip
    latency, memory = gates(bare, max_latency_ms=5, max_memory_bytes=5)
    assert (latency.outcome, latency.value) == ("broken", None)
    assert latency.line == "latency was not measured (emulated), allowed 5.00 ms"
    assert latency.fix == "edgekit bench kws.tflite -o R.result.json, and check that"
    assert (memory.outcome, memory.line) == (
        "broken", "peak memory was not measured, allowed 5 bytes",
    )  # fmt: skip
    (accuracy,) = check_accuracy.source(bare, Budgets(max_drop=0.01), needed=True)
    assert accuracy.outcome == "broken"
    assert "--data SPEC" in accuracy.fix


def test_figures_of_this_machine_are_none_of_another_target():
    here = cases.figures(target="cortex-m7", elsewhere=True)
    for gate in gates(here, max_latency_ms=10**6, max_memory_bytes=10**9):
        assert (gate.outcome, gate.value, gate.interval) == ("broken", None, None)
        assert "was measured on this machine, which says nothing about a cortex-m7" in gate.line
    assert gates(here, max_size_bytes=1000)[0].outcome == "held"


def test_gates_that_nobody_asked_for_are_not_there():
    assert gates(cases.figures()) == []
    assert list(check_accuracy.source(cases.figures(), Budgets(), needed=True)) == []


@pytest.mark.parametrize(("limit", "outcome"), [(49_999, "broken"), (50_000, "held")])
def test_memory_is_held_against_its_budget(limit, outcome):
    (gate,) = gates(cases.figures(), max_memory_bytes=limit)
    assert gate.outcome == outcome


@pytest.mark.parametrize(("over", "outcome"), [(0, "held"), (1, "broken")])
def test_c_of_an_emulated_board_is_held_by_its_flash_and_its_ram(over, outcome):
    measured = cases.figures(
        artifact="kws.h", size_bytes=90_000, peak_delta_bytes=None,
        flash_bytes=40_000, ram_bytes=2_000,
    )  # fmt: skip
    size, memory = gates(measured, max_size_bytes=40_000 - over, max_memory_bytes=2_000 - over)
    assert (size.outcome, memory.outcome) == (outcome, outcome)
    assert size.line.startswith("flash 40 000 bytes, allowed")
    assert memory.line.startswith("RAM with stack, inputs and outputs 2 000 bytes, allowed")


def test_a_stack_that_bench_did_not_see_the_end_of_breaks_a_budget_of_memory():
    measured = cases.figures(peak_delta_bytes=None, flash_bytes=40_000, ram_bytes=None)
    (gate,) = gates(measured, max_memory_bytes=1 << 30)
    assert (gate.outcome, gate.value) == ("broken", None)
    assert "the stack is deeper than bench looks" in gate.line


def test_memory_above_the_baselines_is_a_warning_and_a_page_is_noise():
    def found(after):
        made = check_gates.baseline(
            cases.figures(peak_delta_bytes=after), cases.figures(), Budgets(), 0.05
        )
        return next(gate.outcome for gate in made if gate.name == "memory")

    assert found(50_000 + 2500 + 4096) == "held"
    assert found(50_000 + 2500 + 4097) == "warned"


# ---------------------------------------------------------------------------------- accuracy


@pytest.mark.parametrize(("limit", "outcome"), [(0.01, "broken"), (0.015, "held"), (0.02, "held")])
def test_a_drop_of_one_and_a_half_points_is_caught_where_less_is_allowed(limit, outcome):
    # 0.905 − 0.890 is a little more than 0.015 in floating point.
    gate = drop(cases.top1(905, 1000), cases.top1(890, 1000), limit)
    assert gate.outcome == outcome
    assert gate.value == pytest.approx(0.015)


@pytest.mark.parametrize(("n", "outcome"), [(500, "held"), (10_000, "broken")])
def test_without_a_limit_a_drop_must_be_more_than_chance_explains(n, outcome):
    # z of two independent proportions 0.90 and 0.885: 0.77 with n = 500, 3.4 with n = 10 000.
    gate = drop(cases.top1(n * 90 // 100, n), cases.top1(round(n * 0.885), n))
    assert gate.outcome == outcome
    assert "(95 %, unpaired)" in gate.line


def test_a_drop_is_told_in_points_with_its_interval():
    # Wilson's intervals by hand are 0.8853 to 0.9217 and 0.8691 to 0.9079, Newcombe's from them.
    gate = drop(cases.top1(905, 1000), cases.top1(890, 1000), 0.01)
    assert gate.line.startswith(
        "top1 89.00 %, the baseline has 90.50 % (n = 1000): a drop of 1.50 "
    )
    assert gate.line.endswith("points [-1.17, 4.17] (95 %, unpaired), allowed 1.00 points")


def test_the_same_accuracy_is_never_a_drop():
    for limit in (None, 0.0, 0.01):
        gate = drop(cases.top1(900, 1000), cases.top1(900, 1000), limit)
        assert (gate.outcome, gate.value) == ("held", 0.0)


def test_the_interval_of_the_drop_is_newcombes():
    # Newcombe 1998, table II, method 10: 56/70 − 48/80 is in 0.0524 to 0.3339.
    gate = drop(cases.top1(56, 70), cases.top1(48, 80), 0.01)
    assert gate.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert gate.level == 0.95


def test_on_other_samples_the_whole_interval_must_lie_beyond_the_limit():
    before = cases.top1(9050, 10_000)
    assert drop(before, cases.top1(890, 1000), 0.01).outcome == "warned"
    assert "other samples" in drop(before, cases.top1(890, 1000), 0.01).line
    assert drop(before, cases.top1(800, 1000), 0.01).outcome == "broken"


def test_as_many_samples_with_other_labels_are_other_samples():
    before, found = (
        msgspec.structs.replace(cases.top1(right, 1000), labels_sha256=labels * 64)
        for right, labels in ((905, "a"), (890, "b"))
    )
    assert drop(before, found, 0.01).outcome == "warned"
    assert "other samples" in drop(before, found, 0.01).line
    same = msgspec.structs.replace(found, labels_sha256="a" * 64)
    assert drop(before, same, 0.01).outcome == "broken"


def test_where_lower_is_better_a_rise_is_the_drop():
    before = Accuracy("mse", 0.10, (0.09, 0.11), 100, higher_is_better=False)
    worse = Accuracy("mse", 0.20, (0.18, 0.22), 100, higher_is_better=False)
    found = drop(before, worse)
    assert found.outcome == "broken"
    assert found.interval == pytest.approx((0.10 - 0.0005**0.5, 0.10 + 0.0005**0.5))
    assert drop(worse, before).outcome == "held"


def test_another_metric_cannot_be_compared():
    auc = Accuracy("auc", 0.9, None, 1000)
    gate = drop(cases.top1(900, 1000), auc)
    assert gate.outcome == "broken"
    assert "accuracy is auc, the baseline has top1" in gate.line
    assert gate.fix == "measure with --metric top1"


def test_an_accuracy_that_is_lost_altogether_is_caught():
    gate = drop(cases.top1(900, 1000), None)
    assert (gate.outcome, gate.line) == (
        "broken", "accuracy was not measured, the baseline has one",
    )  # fmt: skip


def test_a_limit_needs_an_accuracy_in_the_baseline():
    assert drop(None, cases.top1(900, 1000), 0.01).outcome == "broken"


def test_the_source_is_the_reference_where_its_accuracy_is_known():
    limits = Budgets(max_drop=0.01)
    (held,) = check_accuracy.source(cases.figures(), limits, needed=True)
    assert (held.outcome, held.against) == ("held", "source")
    lossy = cases.figures(accuracy=cases.top1(890, 1000))
    (broken,) = check_accuracy.source(lossy, limits, needed=False)
    assert broken.outcome == "broken"
    unknown = cases.figures(source_accuracy=None)
    (needed,) = check_accuracy.source(unknown, limits, needed=True)
    assert needed.outcome == "broken"
    assert "--baseline FILE" in needed.fix
    known = cases.figures(float_artifact="float.tflite")
    (told,) = check_accuracy.source(known, limits, needed=True)
    assert "its float artifact float.tflite has 90.50 %" in told.line
    assert list(check_accuracy.source(unknown, limits, needed=False)) == []
