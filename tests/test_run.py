"""`edgekit run` on a real project of the smallest kind: a dense net of 528 bytes, as .tflite."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import manifest
from edgekit.errors import BuildFileError

_SPEC = importlib.util.spec_from_file_location(
    "run_cases", Path(__file__).with_name("run_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

FP32, FP16 = "convert none/host/m-fp32.tflite", "convert none/host/m-fp16.tflite"
HEAVY = ("numpy", "tensorflow", "keras", "openvino", "onnx", "ai_edge_litert", "litert_quantizer")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that was run, and its cache; tests take a copy of it."""
    place = tmp_path_factory.mktemp("made")
    file = cases.project(place / "project", cases.fp32_and_fp16())
    report = cases.run(file, place / "cache")
    assert cases.statuses(report) == {FP32: "built", FP16: "built"}
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of the project and of the cache."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def again(place, **options):
    return cases.run(place / "project" / "edgekit.toml", place / "cache", **options)


def why(report, name):
    found = {one.name.replace("build/m/", ""): one.why for one in report.stages}
    return found[name]


def artifact(place, precision="fp32"):
    return place / "project" / "build" / "m" / "none" / "host" / f"m-{precision}.tflite"


def test_outputs_stand_where_the_design_says_with_manifests_that_match(made):
    for precision in ("fp32", "fp16"):
        written = manifest.read(artifact(made, precision))
        assert manifest.matches(artifact(made, precision), written)
        assert written.artifact.precision == precision
        assert written.model_name == "m"
        assert written.source.path == "models/m.tflite"
        assert written.command[:3] == ("edgekit", "convert", "models/m.tflite")
        assert written.command[-1] == f"build/m/none/host/m-{precision}.tflite"


def test_a_second_run_runs_nothing_and_changes_no_byte(place):
    before = cases.contents(place / "project" / "build", ())
    assert set(cases.statuses(again(place)).values()) == {"up to date"}
    assert cases.contents(place / "project" / "build", ()) == before


def test_no_op_loads_no_framework_and_no_numpy(place):
    script = f'mount -t tmpfs -o size={space} none "$0" && "$@"; echo "rc $?"'
    done = subprocess.run(
        ["unshare", *namespace, "sh", "-c", script, full, sys.executable, "-P", "-m", "edgekit",
         "run", place / "project" / "edgekit.toml", "-q", "--cache-dir", full / "cache"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "rc 0" in done.stdout:
        assert space == "64k"  # it was enough after all
        return
    assert "rc 1" in done.stdout, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert "No space left on device" in done.stderr
    assert not list((place / "project" / "build").rglob("*.tflite"))


def test_a_build_file_that_is_not_there_says_what_writes_one(tmp_path):
    with pytest.raises(BuildFileError) as caught:
        cases.run(tmp_path / "edgekit.toml", tmp_path / "cache")
    assert "edgekit init" in caught.value.fix


def test_the_depfile_names_every_input_and_every_output(place):
    target = place / "out" / "run.d"
    again(place, depfile_path=target)
    makefile = place / "Makefile"
    makefile.write_text(f"{artifact(place)}:\n\t@echo run\ninclude {target}\n")
    rule, _, read = target.read_text().partition(":")
    assert str(artifact(place)) in rule
    for name in ("edgekit.toml", "models/m.tflite"):
        assert str(place / "project" / name) in read
    asked = ["make", "-f", makefile, "-q", str(artifact(place))]
    assert subprocess.run(asked, check=False).returncode == 0
    os.utime(place / "project" / "models" / "m.tflite", (2**32, 2**32))
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 1
