"""The verdict for machines that build: JUnit XML, GitHub annotations, a Markdown summary.

What names and lines hold comes from hostile files too: each form has its own escapes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from edgekit import check_reading, files, streams
from edgekit.check_types import Checked, CheckReport, Gate
from edgekit.errors import OutputError, UsageError

_HEADING = "## edgekit check"
_SUITES = "edgekit check"
_OWN = (_HEADING.encode(), f'<testsuites name="{_SUITES}"'.encode())
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write, not even escaped."""
_MARKS = {"held": "✅", "warned": "⚠️", "broken": "❌"}


def may_write(*, junit: str | Path | None, summary: str | Path | None, force: bool) -> None:
    """Finds out before anything is measured whether the reports can be written.

    Raises:
        UsageError: Both are to be the same file.
        OutputError: A directory or a file that no earlier check wrote stands there, or nothing can
            be written there.
    """
    if junit is not None and summary is not None and _same(Path(junit), Path(summary)):
        raise UsageError(
            f"--junit and --summary both name {junit}",
            f"give each its own: --junit {Path(junit).with_suffix('.xml')}"
            f" --summary {Path(summary).with_suffix('.md')}",
        )
    for option, given in (("--junit", junit), ("--summary", summary)):
        if given is None:
            continue
        path = Path(given)
        if path.is_dir():
            raise OutputError(f"{path} is a directory", f"name a file: {option} {path / 'FILE'}")
        if path.exists() and not (force or _is_step_summary(path) or _is_own(path)):
            raise OutputError(
                f"{path} exists and is no report of edgekit check",
                f"add --force to replace it, or name another file for {option}",
            )
        with files.staging(path):
            pass


def write(report: CheckReport, *, junit: str | Path | None, summary: str | Path | None) -> None:
    """Writes the reports that were asked for, each whole or not at all.

    The file of $GITHUB_STEP_SUMMARY is added to: earlier commands of the step wrote there.
    """
    if junit is not None:
        files.write_atomic(Path(junit), junit_xml(report))
    if summary is not None:
        path, text = Path(summary), markdown(report).encode()
        before = path.read_bytes() if _is_step_summary(path) and path.exists() else b""
        files.write_atomic(path, before + text)


def junit_xml(report: CheckReport) -> bytes:
    """JUnit XML: a test suite per artifact, a test case per gate.

    A gate that was only warned about is a skipped case, with what was seen.
    """
    totals = _counts(report.checked, _SUITES)
    del totals["skipped"]  # the schema has it for a suite, and not for all of them
    root = ElementTree.Element("testsuites", totals)
    for checked in report.checked:
        name = _xml(check_reading.label(checked.figures))
        suite = ElementTree.SubElement(root, "testsuite", _counts((checked,), name))
        for gate in checked.gates:
            case = ElementTree.SubElement(
                suite, "testcase", {"classname": name, "name": _gate_name(gate), "time": "0"}
            )
            _told(case, gate)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def github_commands(report: CheckReport) -> Iterator[str]:
    """GitHub's workflow commands: an error per broken gate, a warning per gate that warned.

    Source: github.com/actions/toolkit, packages/core/src/command.ts, for what is escaped.
    """
    for checked in report.checked:
        for gate in checked.gates:
            if gate.outcome != "held":
                kind = "error" if gate.outcome == "broken" else "warning"
                title = _property(f"edgekit check: {_gate_name(gate)}")
                fix = f". Fix: {gate.fix}" if gate.fix else ""
                line = f"{check_reading.label(checked.figures)}: {gate.line}{fix}"
                yield f"::{kind} title={title}::{_data(line)}"


def markdown(report: CheckReport) -> str:
    """A heading with the verdict, a table of gates, and what is to be done."""
    gates = [gate for checked in report.checked for gate in checked.gates]
    broken = sum(gate.outcome == "broken" for gate in gates)
    plural = "s" * (len(gates) != 1)
    verdict = f"{len(gates)} gate{plural} held"
    if broken:
        verdict = f"{broken} of {len(gates)} gate{plural} broken"
    rows = [
        f"| {_MARKS[gate.outcome]} | {_cell(check_reading.label(checked.figures))} |"
        f" {_cell(_gate_name(gate))} | {_cell(gate.line)} | {_cell(gate.fix)} |"
        for checked in report.checked
        for gate in checked.gates
    ]
    notes = [f"- {_cell(note)}" for note in report.notes]
    return "\n".join([
        f"{_HEADING}: {verdict}", "", "| | artifact | gate | what was found | fix |",
        "|---|---|---|---|---|", *rows, *([""] if notes else []), *notes, "", "",
    ])  # fmt: skip


def _gate_name(gate: Gate) -> str:
    return gate.name if gate.name == "baseline" else f"{gate.name} against {gate.against}"


def _counts(checked: tuple[Checked, ...], name: str) -> dict[str, str]:
    outcomes = [gate.outcome for one in checked for gate in one.gates]
    return {
        "name": name,
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("broken")),
        "errors": "0",
        "skipped": str(outcomes.count("warned")),
        "time": "0",
    }


def _told(case: ElementTree.Element, gate: Gate) -> None:
    line = _xml(gate.line)
    if gate.outcome == "held":
        ElementTree.SubElement(case, "system-out").text = line
    elif gate.outcome == "warned":
        ElementTree.SubElement(case, "skipped", {"message": line})
    else:
        failure = ElementTree.SubElement(case, "failure", {"message": line, "type": "gate"})
        failure.text = _xml(f"{gate.line}. Fix: {gate.fix}")


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def _data(text: str) -> str:
    """The message of a workflow command."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return streams.printable(escaped)


def _property(text: str) -> str:
    """A property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """Text in a table of Markdown: no column, line, link, image or element can begin in it."""
    shown = streams.printable(text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        shown = shown.replace(character, entity)
    return re.sub(r"([\\|`*_\[\]!#@~])", r"\\\1", shown)


def _is_step_summary(path: Path) -> bool:
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    return bool(named) and path.absolute() == Path(named or "").absolute()


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (
        one.exists() and other.exists() and one.samefile(other)
    )


def _is_own(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        head = handle.read(256)
    return not head or any(mark in head for mark in _OWN)
