"""`edgekit run` with recipes, data and budgets: what depends on what, by the run's own log."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from edgekit import manifest, registry

_SPEC = importlib.util.spec_from_file_location(
    "run_cases", Path(__file__).with_name("run_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

HALF = """\
name = "half"
[[step]]
kind = "channels"
ratio = 0.5
[[step]]
kind = "quantize"
precision = "fp16"
"""
FILE = """\
[model.m]
path = "m.keras"
[[build]]
model = "m"
recipe = ["none", "half.toml"]
target = ["host", "raspberry-pi-4"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project with a real Keras model, two recipes and two targets, run once."""
    if registry.missing(registry.SOURCES["keras"]):
        pytest.skip("TensorFlow is not installed")
    place = tmp_path_factory.mktemp("recipes")
    shipped = resources.files("edgekit") / "demo_digits.keras"
    (place / "m.keras").write_bytes(shipped.read_bytes())
    (place / "half.toml").write_text(HALF)
    (place / "edgekit.toml").write_text(FILE)
    return place


def run(place, **options):
    return cases.run(place / "edgekit.toml", place / "cache", **options)


@pytest.mark.slow
def test_a_change_of_recipe_reruns_only_what_depends_on_it(place):
    first = cases.statuses(run(place))
    assert first == {
        "convert none/host/m-fp32.tflite": "built",
        "convert none/raspberry-pi-4/m-fp32.tflite": "built",
        "compress half/host/m.keras": "built",
        "convert half/host/m-fp16.tflite": "built",
        # both targets want multiples of eight channels: the model is compressed once
        "compress half/raspberry-pi-4/m.keras": "cached",
        "convert half/raspberry-pi-4/m-fp16.tflite": "built",
    }
    for target in ("host", "raspberry-pi-4"):
        model = place / "build" / "m" / "half" / target / "m.keras"
        written = manifest.read(model)
        assert written.profile.name == target
        assert {claim.target for claim in written.claims} == {target}
        artifact = manifest.read(model.with_name("m-fp16.tflite"))
        assert artifact.source.path == f"build/m/half/{target}/m.keras"
        assert [parent.path for parent in artifact.parents] == ["m.keras"]
        assert {claim.target for claim in artifact.claims} == {target}

    (place / "half.toml").write_text("# only a comment\n" + HALF)
    assert set(cases.statuses(run(place)).values()) == {"up to date"}

    (place / "half.toml").write_text(HALF.replace('"fp16"', '"int8-dynamic"'))
    report = run(place)
    assert cases.statuses(report) == {
        "convert none/host/m-fp32.tflite": "up to date",
        "convert none/raspberry-pi-4/m-fp32.tflite": "up to date",
        "compress half/host/m.keras": "built",
        "convert half/host/m-int8-dynamic.tflite": "built",
        "compress half/raspberry-pi-4/m.keras": "cached",
        "convert half/raspberry-pi-4/m-int8-dynamic.tflite": "built",
    }
    why = {one.name: one.why for one in report.stages}
    assert why["compress build/m/half/host/m.keras"] == "recipe half.toml changed"

    (place / "half.toml").write_text(HALF)
    assert set(cases.statuses(run(place)).values()) == {"up to date", "cached"}


@pytest.fixture
def dense(tmp_path):
    """A dense net with data whose labels are its exact outputs."""
    file = cases.project(tmp_path, "")
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_test=x, y_test=cases.tiny_models().dense(x), x_train=x,
             y_train=cases.tiny_models().dense(x))  # fmt: skip
    (tmp_path / "exact.py").write_text(
        "def exact(x, y, outputs):\n"
        "    found = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs\n"
        "    return float(abs(found - y).max() < 1e-4)\n"
    )
    return file


BUDGET = """\
[model.m]
path = "models/m.tflite"
data = "d.npz"
metric = "exact.py:exact"
[[build]]
model = "m"
precision = "int8-dynamic"
max_drop = 0.5
[[bench]]
target = "host"
budget = 0.5
"""


@pytest.mark.slow
def test_a_budget_of_a_stage_that_is_not_met_is_code_3_each_time_and_its_outputs_stay(dense):
    dense.write_text(BUDGET)
    cache = dense.parent / "cache"
    for expected in ("built", "up to date"):
        report = cases.run(dense, cache)
        convert, bench = report.stages
        assert (convert.status, convert.exit_code) == (expected, 3), convert.why
        assert "allowed was 0.5" in convert.gate
        assert bench.status == expected
        assert report.error.code == 3
        assert "allowed was 0.5" in report.error.message
        assert "/" not in report.error.message.partition("written to ")[2]  # no place of the cache
        assert (dense.parent / report.artifacts[0].path).is_file()
        assert report.artifacts[0].accuracy.value == 0.0


@pytest.mark.slow
def test_a_change_of_the_metric_reruns_what_uses_it(dense):
    dense.write_text(BUDGET.replace("max_drop = 0.5\n", ""))
    cases.run(dense, dense.parent / "cache")
    metric = dense.parent / "exact.py"
    metric.write_text(metric.read_text().replace("1e-4", "10"))
    report = cases.run(dense, dense.parent / "cache", dry_run=True)
    assert report.stages[0].why == "metric exact.py:exact changed"


def test_an_input_that_changes_while_it_is_read_is_not_kept(tmp_path):
    file = cases.project(
        tmp_path,
        '[model.m]\npath = "models/m.tflite"\ndata = "d.py:data"\n'
        '[[build]]\nmodel = "m"\nprecision = "fp16"\n',
    )
    (tmp_path / "d.py").write_text(
        "import pathlib, numpy as np\n"
        "def data(role):\n"
        "    model = pathlib.Path('models/m.tflite')\n"
        "    model.write_bytes(model.read_bytes() + bytes(4))\n"
        "    yield np.ones((20, 4), np.float32), np.arange(20) % 3\n"
    )
    report = cases.run(file, tmp_path / "cache")
    assert report.stages[0].status == "failed"
    assert "an input was changed while it was being read" in report.stages[0].why
    assert not list((tmp_path / "cache" / "entries").glob("*"))


def test_two_jobs_give_the_bytes_that_one_gives(tmp_path):
    one, two = (cases.project(tmp_path / name, cases.fp32_and_fp16()) for name in ("one", "two"))
    cases.run(one, tmp_path / "cache-one")
    report = cases.run(two, tmp_path / "cache-two", jobs=2)
    assert set(cases.statuses(report).values()) == {"built"}
    assert cases.contents(one.parent / "build") == cases.contents(two.parent / "build")
    again = cases.run(two, tmp_path / "cache-two", jobs=2, force=True)
    assert set(cases.statuses(again).values()) == {"built"}
    assert cases.contents(one.parent / "build") == cases.contents(two.parent / "build")
