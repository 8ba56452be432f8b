"""What stands in examples/, run as its comments say: CMake, make and the steps of a workflow."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest
import yaml

from edgekit import registry

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
ASSETS = Path(str(resources.files("edgekit")))
GENERATORS = {"Ninja": "ninja", "Unix Makefiles": "make"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the tests run without the checkout"),
    pytest.mark.skipif(
        bool(registry.missing(registry.SOURCES["keras"])), reason="TensorFlow is not installed"
    ),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A cache that all examples share, and an `edgekit` that is this one."""
    home = tmp_path_factory.mktemp("home")
    command = home / "bin" / "edgekit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgekit "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    inherited = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    return {**inherited, "EDGEKIT_CACHE": str(home / "cache"), "PATH": path}


@pytest.fixture
def checkout(tmp_path):
    """The examples and the assets that they use, to be changed at will."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    (tmp_path / "edgekit").mkdir()
    for name in ("demo_digits.keras", "demo_digits.npz"):
        shutil.copy(ASSETS / name, tmp_path / "edgekit" / name)
    return tmp_path


def run(environment, directory, *arguments):
    done = subprocess.run(
        list(map(str, arguments)), cwd=directory, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change_weights(model: Path) -> None:
    """Another model of the same shape: the largest kernel times 0.9."""
    h5py = pytest.importorskip("h5py")
    with zipfile.ZipFile(model) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    stored = io.BytesIO(content["model.weights.h5"])
    with h5py.File(stored, "r+") as weights:
        found = []
        weights.visititems(lambda _, one: found.append(one) if hasattr(one, "shape") else None)
        largest = max(found, key=lambda one: one.size)
        largest[...] = largest[...] * 0.9
    content["model.weights.h5"] = stored.getvalue()
    with zipfile.ZipFile(model, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def tool(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (a Debian package of this name, or ninja-build)")


@pytest.mark.parametrize("generator", GENERATORS)
def test_cmake_links_the_model_and_makes_it_again_only_where_it_changed(
    environment, checkout, generator
):
    tool("cmake")
    tool(GENERATORS[generator])
    source, build = checkout / "examples" / "cmake", checkout / "out"
    package = run(environment, source, "edgekit", "--cmake-dir").strip()
    run(environment, source, "cmake", "-G", generator, "-B", build, f"-Dedgekit_DIR={package}")

    def made() -> str:
        return run(environment, source, "cmake", "--build", build)

    assert "Making the model digits for cortex-m7" in made()
    answers = run(environment, build, build / "reader")
    assert answers.count("shows a") == 8
    assert "0 of 8 answers differ" in answers
    run(environment, source, "ctest", "--test-dir", build)
    idle = made()
    assert "Making the model" not in idle
    assert "Linking" not in idle
    change_weights(checkout / "edgekit" / "demo_digits.keras")
    again = made()
    assert "Making the model" in again
    assert "Linking C executable" in again
    assert "0 of 8 answers differ" in run(environment, build, build / "reader")
    assert "Linking" not in made()
    (checkout / "edgekit" / "demo_digits.npz").touch()
    assert "Making the model" in made()
    assert "Making the model" not in made()


def test_cmake_says_at_configure_time_what_is_wrong(environment, checkout):
    tool("cmake")
    source = checkout / "examples" / "cmake"
    listing = source / "CMakeLists.txt"
    package = run(environment, source, "edgekit", "--cmake-dir").strip()
    whole = listing.read_text()
    (source / "cortex-m7").mkdir()  # a name stays a name
    for wrong, said in (
        (whole.replace("cortex-m7", "cortex-m99"), "cortex-m99"),
        (whole.replace("TARGET cortex-m7", ""), "TARGET is missing"),
        (whole.replace("TARGET", "TARGETS x TARGET"), "unknown argument"),
        (whole.replace("digits.npz", "none.npz"), "none.npz"),
        (whole.replace("TARGET", "EPOCHS 1x TARGET"), "is not a whole number"),
        (whole.replace("TARGET", "EMIT c-array TARGET"), "project(… C CXX)"),
    ):
        listing.write_text(wrong)
        done = subprocess.run(
            ["cmake", "-B", checkout / "wrong", f"-Dedgekit_DIR={package}"],
            cwd=source, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert said in done.stderr


def test_make_builds_and_checks_the_model_and_does_nothing_twice(environment, checkout):
    tool("make")
    directory = checkout / "examples" / "make"
    assert "PASS" in run(environment, directory, "make", "test")
    assert "edgekit run" not in run(environment, directory, "make", "test")
    (checkout / "edgekit" / "demo_digits.keras").touch()
    touched = run(environment, directory, "make", "test")
    assert "edgekit run" in touched
    assert "edgekit run" not in run(environment, directory, "make", "test")
    change_weights(checkout / "edgekit" / "demo_digits.keras")
    assert "PASS" in run(environment, directory, "make", "test")


def test_the_steps_of_the_workflow_build_measure_and_check(environment, checkout):
    directory = checkout / "examples" / "make"
    workflow = yaml.safe_load((EXAMPLES / "github" / "edgekit.yml").read_text())
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["models"]["steps"]
             if "run" in step}  # fmt: skip
    assert list(steps) == ["Install", "Build and measure", "Check"]
    assert steps["Install"].startswith("pip install")  # this environment has it already
    summary = checkout / "summary.md"
    there = {**environment, "GITHUB_STEP_SUMMARY": str(summary)}
    for name in ("Build and measure", "Check"):
        run(there, directory, "bash", "-e", "-c", steps[name])
    assert "2 gates held" in summary.read_text()
    assert "<testsuites" in (directory / "build" / "edgekit.xml").read_text()
