"""edgekit.toml: what it may say, and one line that names key and line for what it may not."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import build_file, schemas
from edgekit.build_types import Budgets
from edgekit.errors import BuildFileError

DESIGN = """\
[model.kws]
path = "models/kws.keras"
data = "data/kws.npz"
preprocess = "none"
metric = "top1"

[[build]]                      # one artifact per model × recipe × target × precision
model = "kws"
recipe = ["none", "channels50-int8"]
target = ["raspberry-pi-4", "cortex-m7"]

[device]
pi = "ssh://pi@kitchen.local"

[[bench]]
target = "raspberry-pi-4"
device = "pi"
budget = 30

[check]                        # budgets; per model, target or both: [check.kws.cortex-m7]
max_drop = "1%"
max_size_bytes = 262144
max_latency_ms = 12
baseline = "baselines/kws.json"
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "edgekit.toml").write_text(text)
        return build_file.read(tmp_path / "edgekit.toml")

    return read


@pytest.fixture
def refused(read):
    def refused(text):
        with pytest.raises(BuildFileError) as caught:
            read(text)
        assert caught.value.fix
        return str(caught.value)

    return refused


def test_the_file_of_the_design_is_read_as_it_stands(read):
    file = read(DESIGN)
    assert file.models["kws"].path == "models/kws.keras"
    assert [one.name for one in file.builds[0].recipes] == ["none", "channels50-int8"]
    assert [one.name for one in file.builds[0].targets] == ["raspberry-pi-4", "cortex-m7"]
    assert file.benches[0].devices == (("pi", "ssh://pi@kitchen.local"),)
    assert build_file.budgets(file, "kws", "cortex-m7") == Budgets(
        max_drop=0.01, max_size_bytes=262144, max_latency_ms=12.0, baseline="baselines/kws.json"
    )


def test_the_more_particular_budget_wins_key_by_key(read):
    file = read(
        DESIGN
        + "[check.cortex-m7]\nmax_latency_ms = 1\nmax_drop = 0.5\n"
        + "[check.kws]\nmax_latency_ms = 2\n"
        + "[check.kws.cortex-m7]\nmax_size_bytes = 3\n"
    )
    here = build_file.budgets(file, "kws", "cortex-m7")
    assert (here.max_drop, here.max_latency_ms, here.max_size_bytes) == (0.5, 2, 3)
    there = build_file.budgets(file, "kws", "raspberry-pi-4")
    assert (there.max_drop, there.max_latency_ms, there.max_size_bytes) == (0.01, 2, 262144)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("data =", "dta =", ["line 3", "model.kws.dta", "unknown key", "did you mean data"]),
        ("[device]", "[devices]", ["line 12", "devices", "did you mean device"]),
        ('"cortex-m7"', '"cortex-7"', ["line 10", "build[0].target", "'cortex-7'", "cortex-m7"]),
        ('"channels50-int8"', '"no.toml"', ["line 9", "build[0].recipe", "no.toml does not exist"]),
        ('model = "kws"', 'model = "kw"', ["line 8", "there is no model 'kw'", "did you mean kws"]),
        ('model = "kws"', "model = 3", ["line 8", "build[0].model", "is 3"]),
        ('model = "kws"', 'model = "kws"\nprecision = "int9"', ["line 9", "'int9'", "int16x8"]),
        ('model = "kws"', 'model = "kws"\nprecision = []', ["line 9", "build[0].precision"]),
        ("[model.kws]", '[model."../x"]', ["line 1", "is no name"]),
        ("[model.kws]", '[model."a/b"]', ["line 1", "is no name"]),
        ("[model.kws]", '[model.".."]', ["line 1", "is no name"]),
        ("[model.kws]", "[model.cortex-m7]", ["there is no model 'kws'"]),
        ("models/kws", "build/kws", ["line 2", "model.kws.path", "own outputs"]),
        ("models/kws", "models/../build/kws", ["line 2", "own outputs"]),
        ("data/kws.npz", "./build", ["line 3", "model.kws.data", "own outputs"]),
        ('"1%"', '"100%"', ["check.max_drop", "'100%'", '"1%"']),
        ('"1%"', '"1 pct"', ["check.max_drop", "'1 pct'"]),
        ('"1%"', "nan", ["check.max_drop"]),
        ("262144", "-1", ["check.max_size_bytes", "is -1"]),
        ("262144", "262144.5", ["check.max_size_bytes"]),
        ("baselines/kws", "../kws", ["check.baseline", "is outside"]),
        ("baselines/kws", "/srv/kws", ["check.baseline", "is outside"]),
        ('device = "pi"', 'device = "pj"', ["bench[0].device", "'pj'", "allowed: local, pi"]),
        ('"ssh://pi@kitchen.local"', '"pi"', ["line 13", "device.pi", "no device"]),
        ("[[build]]", "[build]", ["line 7", "write [[build]]"]),
        ("[model.kws]", "[mode.kws]", ["mode", "did you mean model"]),
        ("budget = 30", "budget = inf", ["bench[0].budget"]),
        ("[[bench]]", "[cache]\nmax_size = '1 XB'\n[[bench]]", ["cache.max_size", "'1 XB'"]),
        ("[check] ", "[check.kws.no]\nmax_drop=0.1\n[check] ", ["check.kws.no", "unknown key"]),
        ("[check] ", "[check.nope]\nmax_drop=0.1\n[check] ", ["check.nope", "allowed", "kws"]),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_its_line(refused, before, after, told):
    assert before in DESIGN
    message = refused(DESIGN.replace(before, after, 1))
    assert all(part in message for part in told), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "lacks [model.NAME]"),
        (b'[model.a]\npath = "a"', "lacks [[build]]"),
        (b"a = ", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * 2_000_000, "larger than 1 MiB"),
        (b"a = 1" + b"0" * 5000, "is not valid TOML"),
    ],
)
def test_what_is_no_edgekit_toml_is_one_line(tmp_path, content, told):
    path = tmp_path / "edgekit.toml"
    path.write_bytes(content)
    with pytest.raises(BuildFileError, match=r".*") as caught:
        build_file.read(path)
    assert told in caught.value.message


def test_a_directory_or_nothing_in_its_place_is_one_line(tmp_path):
    for path, told in ((tmp_path, "is not a regular file"), (tmp_path / "no", "does not exist")):
        with pytest.raises(BuildFileError, match=told) as caught:
            build_file.read(path)
        assert "edgekit init" in caught.value.fix


def test_a_model_may_not_have_the_name_of_a_target(refused):
    message = refused(DESIGN.replace("kws", "cortex-m7"))
    assert "is the name of a target too" in message


def test_recipes_that_name_each_other_cannot_be_written(refused, tmp_path):
    (tmp_path / "r.toml").write_text('name = "r"\n[[step]]\nkind = "recipe"\nname = "r"\n')
    assert "step[0].kind" in refused(DESIGN.replace("channels50-int8", "./r.toml"))


def test_targets_that_extend_each_other_in_a_circle_are_said(refused, tmp_path):
    (tmp_path / "a.toml").write_text('name = "a"\nextends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('name = "b"\nextends = "a.toml"\n')
    assert "in a circle" in refused(DESIGN.replace('"cortex-m7"', '"a.toml"'))


def test_an_editor_checks_the_file_by_its_schema():
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(schemas.json_schema("build-file"))
    table = tomllib.loads(DESIGN)
    check.validate(table)
    check.validate({**table, "check": {"kws": {"cortex-m7": {"max_drop": "1%"}}}})
    assert not check.is_valid({**table, "check": {"kws": {"cortex-m7": {"max_dorp": "1%"}}}})
    assert not check.is_valid({**table, "chek": {}})
    assert not check.is_valid({**table, "build": [{"model": "kws", "precision": "int7"}]})


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["model", "build", "check", "path", "kws", "max_drop", "bench", "x"]),
        inner, max_size=4),
    max_leaves=12,
))  # fmt: skip
def test_no_shape_of_file_ends_in_anything_but_one_line(tmp_path_factory, table):
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in table.items()) if isinstance(
        table, dict) else f"model = {_toml(table)}\n"  # fmt: skip
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    with pytest.raises(BuildFileError):
        build_file.parse(tmp_path_factory.getbasetemp() / "edgekit.toml", text)


def _toml(value):
    """An inline value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '""' if value is None else json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('path = "."', "holds build/"),
        ('path = "/"', "holds build/"),
        ('path = "a\\u0000b"', "no path holds"),
        (f'path = "{"x" * 300}"', "shorten it"),
        (f'path = "{"x/" * 3000}"', "shorten it"),
        ('path = "m"\ndata = "~nosuchuser/x"', "no such user"),
        ('path = "m"\nmetric = "~nosuchuser/x.py:f"', "no such user"),
        ('path = "m"\nteacher = "a\\u0000b"', "no path holds"),
    ],
)
def test_what_can_be_no_path_is_named_with_its_key_and_its_line(refused, written, said):
    line = refused(f'[model.m]\n{written}\n[[build]]\nmodel = "m"\n')
    assert said in line
    assert "model.m." in line
    assert f", line {2 + written.count(chr(10))}" in line
    assert len(line) < 400


@pytest.mark.parametrize("kind", ["recipe", "target"])
def test_a_recipe_or_target_that_can_be_no_path_is_named_too(refused, kind):
    long = "x" * 300
    line = refused(f'[model.m]\npath = "m"\n[[build]]\nmodel = "m"\n{kind} = "{long}/a.toml"\n')
    assert "line 5" in line
    assert "shorten it" in line


@pytest.mark.parametrize("text", ["{} = 1", "[{}]", "x = {{ {} = 1 }}", "[[{}]]", "{} = ["])
def test_a_key_that_is_nested_without_end_is_refused_at_once(refused, text):
    line = refused("\n" + text.format(".".join(["a"] * 20_000)))
    assert "32 are allowed (at line 2)" in line


def test_dots_in_values_are_no_nesting(read):
    dots = "0.5:" * 100 + "x" + "." * 100
    found = read(f'[model.m]\npath = "m"\npreprocess = "{dots}" # {dots}\n[[build]]\nmodel = "m"\n')
    assert found.models["m"].preprocess == dots


def test_a_byte_order_mark_is_left_out(tmp_path):
    file = tmp_path / "edgekit.toml"
    file.write_bytes(b'\xef\xbb\xbf[model.m]\npath = "m"\n[[build]]\nmodel = "m"\n')
    assert build_file.read(file).models["m"].path == "m"


def test_a_batch_that_no_command_would_take_is_refused(refused):
    line = refused('[model.m]\npath = "m"\n[[build]]\nmodel = "m"\nbatch = 1000000\n')
    assert "build[0].batch" in line


@pytest.mark.parametrize("batch", ['"some"', '"0..4"', '"1-4"', '"1..4\\n"', "true"])
def test_a_batch_that_is_no_size_range_or_dynamic_is_refused(refused, batch):
    line = refused(f'[model.m]\npath = "m"\n[[build]]\nmodel = "m"\nbatch = {batch}\n')
    assert "build[0].batch" in line
