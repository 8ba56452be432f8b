"""Results and baselines with anything at all in one place end in a verdict or in one line."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import baselines, cli
from edgekit.result_types import BenchReport

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.just(-1), st.just(0),
    st.floats(allow_nan=False, allow_infinity=False), st.just(1e308), st.just(5e-324),
    st.text(max_size=20), st.sampled_from(["../../x", "/dev/null", "a\0b", "\x1b[2J", "x" * 5000]),
    st.lists(st.integers(-2, 2), max_size=8), st.dictionaries(st.text(max_size=3), st.none()),
)  # fmt: skip
GATES = (
    "--max-size-bytes",
    "5000",
    "--max-latency-ms",
    "5",
    "--max-memory-bytes",
    "10",
    "--max-drop",
    "1%",
)


def leaves(node, path=()):
    """Every place of a document that holds a value."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def changed(document, path, value):
    made = copy.deepcopy(document)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


REPORT = json.loads(msgspec.json.encode(BenchReport("edgekit.bench/1", (cases.result(),))))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(sorted(leaves(REPORT), key=str)), value=ANYTHING)
def test_a_result_with_anything_in_one_place(path, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("r.json").write_text(json.dumps(changed(REPORT, path, value)))
    line = ["check", "r.json", *GATES, "--junit", "j.xml", "--summary", "s.md", "-q"]
    code = cli.main(line)
    told = capsys.readouterr().err
    assert code in {0, 1, 3}, told
    assert all(one.startswith("error: ") for one in told.splitlines())
    assert {one.name for one in tmp_path.iterdir()} <= {"r.json", "j.xml", "s.md"}
    if code == 1:
        assert told.count("\n") == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=ANYTHING)
def test_a_baseline_with_anything_in_one_place(data, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = cases.write_report(Path("r.json"))
    Path("b.json").unlink(missing_ok=True)
    other = cases.write_report(Path("o.json"), cases.result(artifact={"sha256": "b" * 64}))
    baselines.update([other], "b.json")
    document = json.loads(Path("b.json").read_text())
    path = data.draw(st.sampled_from(sorted(leaves(document), key=str)))
    Path("b.json").write_text(json.dumps(changed(document, path, value)))
    for unpaired in ([], ["--unpaired"]):
        code = cli.main(["check", str(result), "--baseline", "b.json", "-q", *unpaired])
        told = capsys.readouterr().err
        assert code in {0, 1, 3}, told
        assert all(one.startswith("error: ") for one in told.splitlines())
