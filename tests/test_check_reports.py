"""JUnit XML, GitHub annotations and Markdown, read back as their consumers read them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import check_reports
from edgekit.check_types import Checked, CheckReport, Gate
from edgekit.errors import OutputError, UsageError

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

LOW = "".join(chr(code) for code in range(32))
TEXTS = st.text(alphabet=st.characters(codec="utf-8")) | st.sampled_from(
    [LOW, "]]>&<\"'", "a|b\\|`"]
)


def gate(outcome="broken", line="size 2 bytes, allowed 1 byte", fix="make it smaller"):
    return Gate(
        name="size", against="budget", outcome=outcome, unit="bytes", value=2, allowed=1, line=line,
        fix=fix,
    )  # fmt: skip


def report(*gates, model="kws", notes=()):
    figures = cases.figures(model=model)
    return CheckReport("edgekit.check/1", False, (Checked(figures, gates),), notes)


def test_junit_has_a_suite_per_artifact_and_a_case_per_gate():
    found = report(gate(), gate("held"), gate("warned"))
    root = ElementTree.fromstring(check_reports.junit_xml(found))  # noqa: S314 our own
    assert root.tag == "testsuites"
    (suite,) = root.findall("testsuite")
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    assert suite.get("name") == "kws int8 for host on local"
    broken, held, warned = suite.findall("testcase")
    assert broken.get("name") == "size against budget"
    assert broken.get("classname") == "kws int8 for host on local"
    assert broken.find("failure").get("message") == "size 2 bytes, allowed 1 byte"
    assert broken.find("failure").text.endswith("Fix: make it smaller")
    assert held.find("failure") is None
    assert warned.find("skipped") is not None


@given(line=TEXTS, model=TEXTS.filter(bool))
def test_junit_is_well_formed_whatever_a_name_holds(line, model):
    written = check_reports.junit_xml(report(gate(line=line), model=model))
    root = ElementTree.fromstring(written)  # noqa: S314 our own
    (failure,) = root.iter("failure")
    told = failure.get("message")
    kept = [character for character in line if character >= " "]
    assert [one for one in told if one >= " " and one != "\ufffd"] == [
        one for one in kept if one not in "\ufffd\ufffe\uffff"
    ]


@given(line=TEXTS, fix=TEXTS)
def test_an_annotation_is_one_line_that_a_reader_decodes_to_the_same_text(line, fix):
    (told,) = check_reports.github_commands(report(gate(line=line, fix=fix)))
    assert len(told.splitlines()) == 1
    head, message = re.fullmatch(r"::error (title=[^:,]*)::(.*)", told).groups()
    assert head == "title=edgekit check%3A size against budget"
    decoded = message.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
    assert decoded.startswith("kws int8 for host on local: ")
    if line.isprintable() and fix.isprintable():
        assert decoded.endswith(line + (f". Fix: {fix}" if fix else ""))


def test_what_held_is_not_annotated_and_what_warned_is_a_warning():
    told = list(check_reports.github_commands(report(gate("held"), gate("warned"))))
    assert [text.partition(" ")[0] for text in told] == ["::warning"]


@given(line=TEXTS, model=TEXTS.filter(bool))
def test_a_row_of_the_summary_has_five_cells_whatever_it_holds(line, model):
    text = check_reports.markdown(report(gate(line=line), model=model))
    (row,) = [one for one in text.split("\n") if one.startswith("| ❌")]
    assert len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) == 6
    assert "<" not in row


def test_the_summary_begins_with_the_verdict():
    assert check_reports.markdown(report(gate(), gate("held"))).startswith(
        "## edgekit check: 1 of 2 gates broken\n"
    )
    assert check_reports.markdown(report(gate("held"))).startswith("## edgekit check: 1 gate held")
    assert "\n- b.json also has kws\\_2\n" in check_reports.markdown(
        report(gate(), notes=("b.json also has kws_2",))
    )


def test_reports_are_written_whole_and_earlier_ones_replaced(tmp_path):
    junit, summary = tmp_path / "new" / "check.xml", tmp_path / "summary.md"
    for found in (report(gate()), report(gate("held"))):
        check_reports.may_write(junit=junit, summary=summary, force=False)
        check_reports.write(found, junit=junit, summary=summary)
    assert b"failure" not in junit.read_bytes().replace(b'failures="0"', b"")
    assert summary.read_text().count("## edgekit check") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["check.xml", "new", "summary.md"]


def test_the_summary_of_a_github_step_is_added_to(tmp_path, monkeypatch):
    summary = tmp_path / "step_summary"
    summary.write_text("what another command said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        check_reports.may_write(junit=None, summary=summary, force=False)
        check_reports.write(report(gate()), junit=None, summary=summary)
    assert summary.read_text().startswith("what another command said\n## edgekit check")
    assert summary.read_text().count("## edgekit check") == 2


@pytest.mark.parametrize("option", ["junit", "summary"])
def test_a_file_that_check_did_not_write_is_not_replaced(option, tmp_path):
    mine = tmp_path / "m.tflite"
    mine.write_bytes(b"a model")
    wanted = {"junit": None, "summary": None, option: mine}
    with pytest.raises(OutputError, match="is no report of edgekit check"):
        check_reports.may_write(**wanted, force=False)
    check_reports.may_write(**wanted, force=True)
    with pytest.raises(OutputError, match="is a directory"):
        check_reports.may_write(**{**wanted, option: tmp_path}, force=True)
    assert mine.read_bytes() == b"a model"


@pytest.mark.parametrize("other", ["report", "./report", "link"])
def test_two_reports_in_one_file_are_wrong_usage(tmp_path, monkeypatch, other):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("report")
    with pytest.raises(UsageError, match="both name report") as caught:
        check_reports.may_write(junit="report", summary=other, force=True)
    assert "--summary" in caught.value.fix
    assert not (tmp_path / "report").exists()
