"""Check end to end: real measurements of tiny artifacts, planted regressions, verdicts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from edgekit import baselines, benching, checking, cli, hashing
from edgekit.check_plan import Request
from edgekit.check_types import CheckReport
from edgekit.errors import BuildFileError, GateError, UsageError, UserError
from edgekit.types import DryRun, ErrorReport

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)
tiny = cases.load("targets/tiny_models")

SHORT_S = 0.01
BUILD = """
[model.kws]
path = "kws.keras"
[[build]]
model = "kws"
target = ["host", "cortex-m7"]
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def broken(*results, **wanted) -> CheckReport:
    """The report of a check that must fail."""
    with pytest.raises(GateError) as caught:
        checking.check(results, **wanted)
    assert caught.value.exit_code == 3
    assert not caught.value.report.passed
    return caught.value.report


def outcomes(report, at=0):
    return {(gate.name, gate.against): gate.outcome for gate in report.checked[at].gates}


def stored(name="r.json", **changes) -> Path:
    return cases.write_report(Path(name), cases.result(**changes))


# ----------------------------------------------------------------------------- real artifacts


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """An artifact that bench has measured."""
    directory = tmp_path_factory.mktemp("measured")
    artifact = tiny.dense_tflite(directory / "kws.tflite")
    benching.bench(artifact, budget_s=SHORT_S, output=directory / "kws.result.json")
    return directory / "kws.result.json"


def test_one_byte_over_budget_is_caught_of_a_real_result(measured):
    size = measured.with_name("kws.tflite").stat().st_size
    assert checking.check(measured, max_size_bytes=size).passed
    report = broken(measured, max_size_bytes=size - 1)
    assert outcomes(report) == {("size", "budget"): "broken"}


def test_an_unchanged_artifact_is_not_measured_against_itself(measured):
    baselines.update([measured], "b.json", keep_artifacts=True)
    said = []
    report = checking.check(measured, baseline="b.json", on_progress=said.append)
    assert report.passed
    assert outcomes(report)["latency", "baseline"] == "held"
    assert not any("measuring" in text for text in said)


@pytest.mark.slow
def test_a_changed_artifact_is_measured_again_in_rounds_with_the_baselines(measured, tmp_path):
    baselines.update([measured], "b.json", keep_artifacts=True)
    changed = tiny.dense_tflite(tmp_path / "kws.tflite", None)
    benching.bench(changed, budget_s=SHORT_S, output=tmp_path / "r.json")
    said = []
    try:
        report = checking.check(
            tmp_path / "r.json", baseline="b.json", max_size_bytes=10**6, budget_s=SHORT_S,
            on_progress=said.append,
        )  # fmt: skip
    except GateError as error:  # a microsecond's layer: whichever is faster is not asked here
        report = error.report
    (gate,) = (gate for gate in report.checked[0].gates if gate.name == "latency")
    assert gate.level == 0.99
    assert gate.interval[0] <= gate.value <= gate.interval[1]
    assert "both measured in 8 interleaved rounds" in gate.line
    assert sum(text.startswith("measuring kws.tflite") for text in said) == 16


@pytest.mark.slow
def test_a_fifth_more_work_is_a_latency_regression(tmp_path):
    before = tiny.wide_tflite(tmp_path / "kws.tflite", 500)
    benching.bench(before, budget_s=1, output=tmp_path / "before.json")
    baselines.update([tmp_path / "before.json"], "b.json", keep_artifacts=True)
    slower = tiny.wide_tflite(before, 600)
    benching.bench(slower, budget_s=1, output=tmp_path / "after.json")
    report = broken(tmp_path / "after.json", baseline="b.json", max_size_bytes=10**7, budget_s=8)
    assert outcomes(report)["latency", "baseline"] == "broken"
    (gate,) = (gate for gate in report.checked[0].gates if gate.name == "latency")
    assert gate.value == pytest.approx(1.2, abs=0.08)


@pytest.mark.slow
def test_the_same_work_under_other_bytes_is_not_a_regression(tmp_path):
    before = tiny.wide_tflite(tmp_path / "kws.tflite", 500)
    benching.bench(before, budget_s=1, output=tmp_path / "before.json")
    baselines.update([tmp_path / "before.json"], "b.json", keep_artifacts=True)
    renamed = tiny.wide_tflite(before, 500, name="renamed")
    benching.bench(renamed, budget_s=1, output=tmp_path / "after.json")
    report = checking.check(
        tmp_path / "after.json", baseline="b.json", max_size_bytes=10**7, budget_s=8
    )
    assert outcomes(report)["latency", "baseline"] != "broken"


def test_check_loads_no_framework(measured):
    script = (
        "import sys, edgekit\n"
        f"edgekit.check({str(measured)!r}, max_size_bytes=10**6, junit='j.xml')\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'tensorflow', 'keras',"
        " 'tf_keras', 'openvino', 'onnx', 'onnxruntime', 'ai_edge_litert', 'nncf'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------- planted, as stored


def test_accuracy_one_and_a_half_points_lower_is_caught():
    baselines.update([stored()], "b.json")
    worse = stored("worse.json", accuracy=cases.top1(885, 1000), artifact={"sha256": "b" * 64})
    report = broken(worse, baseline="b.json", max_drop=0.01)
    assert outcomes(report)["accuracy", "baseline"] == "broken"
    assert outcomes(checking.check(worse, baseline="b.json", max_drop=0.02))[
        "accuracy", "baseline"
    ] == "held"  # fmt: skip


def test_stored_latency_warns_and_decides_only_where_it_is_told_to():
    baselines.update([stored()], "b.json")
    slower = stored(
        "slower.json", artifact={"sha256": "b" * 64},
        latency=cases.latency([1.2 * median for median in cases.MEDIANS_S]),
    )  # fmt: skip
    report = checking.check(slower, baseline="b.json")
    assert (report.passed, outcomes(report)["latency", "baseline"]) == (True, "warned")
    told = next(gate.line for gate in report.checked[0].gates if gate.name == "latency")
    assert "the baseline's artifact is not at hand" in told
    report = broken(slower, baseline="b.json", unpaired=True)
    assert outcomes(report)["latency", "baseline"] == "broken"


def test_what_the_baseline_does_not_have_is_broken_and_what_no_result_has_is_noted():
    baselines.update([stored()], "b.json")
    report = broken(stored("other.json", model="vww"), baseline="b.json")
    assert outcomes(report) == {("baseline", "baseline"): "broken"}
    assert report.error.fix == "if it is new: edgekit baseline update RESULT -o b.json"
    assert report.notes == (
        "b.json also has kws int8 for host on local, of which no result was given",
    )


def test_every_broken_gate_is_counted_and_the_first_one_told():
    report = broken(stored(), max_size_bytes=1, max_latency_ms=0.1, max_memory_bytes=10**9)
    assert outcomes(report) == {
        ("size", "budget"): "broken", ("latency", "budget"): "broken", ("memory", "budget"): "held",
    }  # fmt: skip
    assert report.error.code == 3
    assert report.error.message.endswith("(and 1 more)")


# ------------------------------------------------------------------------------ edgekit.toml


def test_budgets_come_from_edgekit_toml_by_model_and_target():
    check = "[check]\nmax_size_bytes = 1000\n[check.kws.cortex-m7]\nmax_size_bytes = 999\n"
    Path("edgekit.toml").write_text(BUILD + check)
    said = []
    host = stored()
    report = checking.check(host, on_progress=said.append)
    assert (report.passed, said) == (True, ["budgets from edgekit.toml"])
    tight = stored("m7.json", device={"target": "cortex-m7"})
    report = broken(host, tight)
    assert [outcomes(report, at)["size", "budget"] for at in (0, 1)] == ["held", "broken"]


def test_what_is_asked_for_is_not_changed_by_a_file_that_lies_around():
    Path("edgekit.toml").write_text(BUILD + "[check]\nmax_size_bytes = 1\n")
    assert checking.check(stored(), max_memory_bytes=10**6).passed
    broken(stored(), max_memory_bytes=10**6, config="edgekit.toml")
    assert checking.check(stored(), max_size_bytes=10**6, config="edgekit.toml").passed


def test_a_model_is_found_in_the_file_by_the_name_of_its_own_file_too():
    text = BUILD.replace("kws.keras", "models/speech_v3.h5")
    Path("edgekit.toml").write_text(text + "[check.kws]\nmax_size_bytes = 1\n")
    report = broken(stored(model="speech_v3"))
    assert outcomes(report) == {("size", "budget"): "broken"}


def test_the_baseline_of_edgekit_toml_is_relative_to_it():
    Path("project").mkdir()
    Path("project/edgekit.toml").write_text(BUILD + '[check]\nbaseline = "baselines/kws.json"\n')
    baselines.update([stored()], "project/baselines/kws.json")
    report = checking.check(stored(), config="project/edgekit.toml")
    assert outcomes(report)["size", "baseline"] == "held"


def test_nothing_to_check_is_never_a_pass():
    with pytest.raises(UserError, match="nothing says what is allowed"):
        checking.check(stored())
    Path("edgekit.toml").write_text(BUILD)
    with pytest.raises(UserError, match=r"edgekit\.toml has no budget for kws int8 for host"):
        checking.check(stored())
    Path("edgekit.toml").write_text(BUILD + "[check.cortex-m7]\nmax_size_bytes = 1000\n")
    tight = stored("m7.json", device={"target": "cortex-m7"})
    report = checking.check([stored(), tight])
    assert report.notes == (
        "kws int8 for host on local: no budget is about it, and nothing was checked",
    )


def test_a_wrong_edgekit_toml_names_the_key():
    Path("edgekit.toml").write_text(BUILD + "[check]\nmax_size = 1\n")
    with pytest.raises(BuildFileError, match="max_size"):
        checking.check(stored())


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"max_drop": 1.0}, "--max-drop 1 is not in 0 to 1"),
        ({"max_drop": float("nan")}, "--max-drop nan"),
        ({"tolerance": -0.1}, "--tolerance -0.1"),
        ({"max_size_bytes": 0}, "--max-size-bytes 0"),
        ({"max_latency_ms": float("inf")}, "--max-latency-ms inf"),
        ({"budget_s": 0.0}, "--budget 0"),
    ],
)
def test_arguments_outside_their_range_are_usage_errors(wanted, told):
    with pytest.raises(UsageError, match=told):
        checking.check(stored(), **wanted)
    with pytest.raises(UsageError, match="no result was given"):
        checking.check([])


# --------------------------------------------------------------------------- the command line


def test_a_broken_gate_is_one_line_each_and_exit_3(capsys):
    line = ["check", str(stored()), "--max-size-bytes", "999", "--max-latency-ms", "0.5", "-q"]
    assert cli.main(line) == 3
    printed = capsys.readouterr()
    size, latency = printed.err.splitlines()
    assert size.startswith(
        "error: kws int8 for host on local: size 1 000 bytes, allowed 999 bytes: 1 byte over. Fix: "
    )
    assert "median latency 1.03 ms [1.00, 1.05], allowed 500 µs" in latency
    assert "verdict  failed: 2 of 2 gates broken" in printed.out


def test_a_pass_prints_the_table_and_exit_0(capsys):
    assert cli.main(["check", str(stored()), "--max-size-bytes", "1000", "-q"]) == 0
    printed = capsys.readouterr()
    assert "verdict  passed: 1 gate held" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(("limit", "code"), [("1000", 0), ("999", 3)])
def test_json_is_the_report_whether_it_passed_or_not(limit, code, capsys):
    line = ["check", str(stored()), "--max-size-bytes", limit, "--json", "-q"]
    assert cli.main(line) == code
    text = capsys.readouterr().out
    report = msgspec.json.decode(text, type=CheckReport)
    assert report.passed == (code == 0)
    assert "error" in json.loads(text)
    assert (report.error is None) == (code == 0)


def test_an_error_that_is_no_gate_is_reported_as_always(capsys):
    assert cli.main(["check", "gone.json", "--max-size-bytes", "1", "--json"]) == 1
    report = msgspec.json.decode(capsys.readouterr().out, type=ErrorReport)
    assert report.error.message == "there is no gone.json"


def test_github_annotations_take_the_place_of_error_lines(capsys):
    line = ["check", str(stored()), "--max-size-bytes", "999", "--github", "--json", "-q"]
    assert cli.main(line) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["passed"] is False, "stdout is the result and nothing else"
    (told,) = printed.err.splitlines()
    assert told.startswith("::error title=edgekit check%3A size against budget::kws int8 for host")


def test_reports_are_written_whether_it_passed_or_not():
    broken(stored(), max_size_bytes=999, junit="out/check.xml", summary="out/check.md")
    root = ElementTree.parse("out/check.xml").getroot()  # noqa: S314 our own
    assert root.get("failures") == "1"
    assert Path("out/check.md").read_text().startswith("## edgekit check: 1 of 1 gate broken")
    checking.check(stored(), max_size_bytes=1000, junit="out/check.xml", summary="out/check.md")
    assert ElementTree.parse("out/check.xml").getroot().get("failures") == "0"  # noqa: S314


def test_a_dry_run_says_what_would_be_measured_and_writes_nothing(measured, capsys):
    baselines.update([measured], "b.json", keep_artifacts=True)
    changed = tiny.dense_tflite(Path("kws.tflite"), None)
    about = {"path": str(changed), "sha256": hashing.sha256_file(changed), "precision": None}
    result = stored(model=None, artifact=about, device={"target": None})
    before = sorted(Path().rglob("*"))
    line = ["check", str(result), "--baseline", "b.json", "--junit", "j.xml", "--dry-run", "--json"]
    assert cli.main(line) == 0
    plan = msgspec.json.decode(capsys.readouterr().out, type=DryRun)
    assert plan.writes == ("j.xml",)
    assert len(plan.runs) == 1
    assert plan.runs[0].startswith("bench b.artifacts/")
    assert "against kws.tflite on local, at most 30 s" in plan.runs[0]
    assert sorted(Path().rglob("*")) == before
    assert checking.plan(result, Request(baseline="b.json")).runs == plan.runs


def test_baseline_update_tells_what_became_of_each_entry(capsys):
    assert cli.main(["baseline", "update", str(stored()), "-o", "b.json", "-q"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "baseline  b.json", "added     kws int8 for host on local",
    ]  # fmt: skip
    assert cli.main(["baseline", "update", str(stored()), "-o", "b.json", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["replaced"] == ["kws int8 for host on local"]
