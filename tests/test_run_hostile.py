"""What stands in the way of `edgekit run`: one line with what is to be typed, and nothing lost."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from edgekit import placing
from edgekit.cli import main
from edgekit.errors import OutputError

_SPEC = importlib.util.spec_from_file_location(
    "run_cases", Path(__file__).with_name("run_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

FP32 = "convert none/host/m-fp32.tflite"
TEXT = '[model.m]\npath = "models/m.tflite"\n[[build]]\nmodel = "m"\nprecision = "fp32"\n'


@pytest.fixture
def file(tmp_path):
    return cases.project(tmp_path / "project", TEXT)


@pytest.fixture
def told(file, tmp_path, capsys):
    """What the one line of a failed run says; empty where it is to succeed."""

    def told(*words, code=1):
        assert (
            main(["run", str(file), "-q", "--cache-dir", str(tmp_path / "cache"), *words]) == code
        )
        return capsys.readouterr().err.rpartition("error: ")[2].rstrip()

    return told


@pytest.mark.parametrize("name", [".edgekit-run.json", ".edgekit-run.lock"])
def test_a_directory_in_the_place_of_a_file_of_edgekits_is_one_line(file, told, name):
    place = file.parent / "build" / name
    place.mkdir(parents=True)
    assert f"mv {place} {place}.old" in told()


def test_a_pipe_in_the_place_of_the_state_is_not_waited_for(file, told):
    (file.parent / "build").mkdir()
    os.mkfifo(file.parent / "build" / ".edgekit-run.json")
    assert "mv " in told()


def test_a_directory_in_the_place_of_an_output_says_what_to_type(file, told):
    place = file.parent / "build" / "m" / "none" / "host" / "m-fp32.tflite"
    place.mkdir(parents=True)
    line = told("--dry-run")
    assert f"mv {place} {place}.old" in line
    assert "-o" not in line.split()


def test_a_file_in_the_place_of_an_output_is_replaced_with_force_alone(file, told):
    place = file.parent / "build" / "m" / "none" / "host" / "m-fp32.tflite"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    line = told("--dry-run")
    assert str(place) in line
    assert line.endswith("edgekit run --force")


def test_a_full_disk_names_the_output_and_leaves_no_empty_directory(file, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(placing.shutil, "copyfile", full)
    (tmp_path / "work").mkdir()
    stage = cases.build_types.Stage(
        name="convert build/m/none/host/m.tflite", kind="convert", where="build[0]", model="m",
        target="host", options={}, outputs=("build/m/none/host/m.tflite",),
    )  # fmt: skip
    (file.parent / "build").mkdir()
    states = placing.States(file.parent)
    with pytest.raises(OutputError) as caught:
        placing.place(
            file.parent, states, stage, tmp_path / "work", cases.build_types.StageState("k")
        )
    assert str(file.parent / "build" / "m" / "none" / "host") in caught.value.message
    assert str(tmp_path / "work") not in caught.value.message
    assert caught.value.fix == "free some space there"
    assert list((file.parent / "build").iterdir()) == []


def test_a_directory_of_the_users_is_no_cache(file, tmp_path, capsys):
    mine = tmp_path / "mine" / "work" / "precious" / "a"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for words in ([], ["--dry-run"]):
        assert main(["run", str(file), "-q", "--cache-dir", str(tmp_path / "mine"), *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "name an empty directory" in line
    assert mine.read_text() == "mine"
    assert not (file.parent / "build").exists()


@pytest.mark.parametrize("key", ["path", "data", "teacher"])
def test_a_device_that_has_no_end_is_not_read(file, told, key):
    other = TEXT.replace("models/m.tflite", "/dev/zero")
    added = TEXT.replace("[[build]]", f'{key} = "/dev/zero"\n[[build]]')
    file.write_text(other if key == "path" else added)
    line = told("--dry-run")
    assert "neither a file nor a directory" in line
    assert f"model.m.{key}" in line
    assert ", line " in line


def test_a_recipes_teacher_that_has_no_end_is_not_read(file, told):
    shutil.copy(file.parent / "models" / "m.tflite", file.parent / "d.npz")
    (file.parent / "r.toml").write_text(
        'name = "r"\n[[step]]\nkind = "distill"\nteacher = "/dev/zero"\n'
    )
    text = TEXT.replace("[[build]]", 'data = "d.npz"\n[[build]]\nrecipe = "r.toml"')
    file.write_text(text.replace("models/m.tflite", "m.keras"))
    (file.parent / "m.keras").write_bytes(b"not looked at")
    assert "/dev/zero is neither a file nor a directory" in told("--dry-run")


@pytest.mark.parametrize(
    "name",
    ["edgekit.toml", "models/m.keras", "build/m/none/host/m-fp32.tflite", "recipe.toml", "f.py"],
)
def test_a_depfile_never_overwrites_what_is_read_or_made(file, told, name):
    (file.parent / "recipe.toml").write_text('name = "r"\n[[step]]\nkind = "distill"\n')
    (file.parent / "f.py").write_text("")
    (file.parent / "models" / "m.keras").write_bytes(b"not looked at")
    extra = (
        'metric = "f.py:f"\ndata = "models/m.keras"\n[[build]]\nrecipe = ["none", "recipe.toml"]'
    )
    file.write_text(TEXT.replace("[[build]]", extra).replace("m.tflite", "m.keras"))
    place = file.parent / name
    before = place.read_bytes() if place.exists() else None
    line = told("--depfile", str(place), "--force")
    assert "would overwrite" in line
    assert "Fix: --depfile " in line
    assert (place.read_bytes() if place.exists() else None) == before


def test_a_depfile_replaces_an_earlier_one_and_no_other_file_without_force(file, told):
    place = file.parent / "notes.txt"
    place.write_text("main.o: main.c \\\n  main.h\n")
    assert "--force" in told("--depfile", str(place))
    assert place.read_text().startswith("main.o")
    told("--depfile", str(place), "--force", code=0)
    written = place.read_text()
    told("--depfile", str(place), code=0)
    assert place.read_text() == written != ""


def test_a_depfile_replaces_no_device(file, told, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in told("--depfile", str(tmp_path / "pipe"), "--force")
