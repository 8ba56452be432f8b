"""`edgekit cache`."""

from __future__ import annotations

import json

import pytest

from edgekit.cli import main
from edgekit.store import Store


@pytest.fixture
def cache(tmp_path):
    store = Store(tmp_path / "cache")
    for name in "ab":
        with store.work() as work, store.locked(name * 64):
            (work / "m.tflite").write_bytes(bytes(1000))
            store.put(name * 64, "convert", f"convert {name}.tflite", work, ["m.tflite"], None)
    return str(store.directory)


def told(capsys, *words):
    assert main(["cache", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ls_lists_entries_and_their_size(cache, capsys):
    found = told(capsys, "ls", "--cache-dir", cache)
    assert found["schema"] == "edgekit.cache/1"
    assert found["size_bytes"] == 2000
    assert {entry["name"] for entry in found["entries"]} == {
        "convert a.tflite",
        "convert b.tflite",
    }


def test_gc_removes_down_to_a_size_and_a_dry_run_removes_nothing(cache, capsys):
    dry = told(capsys, "gc", "--max-size", "1kB", "--dry-run", "--cache-dir", cache)
    assert (len(dry["removed"]), len(dry["entries"])) == (1, 2)
    done = told(capsys, "gc", "--max-size", "1kB", "--cache-dir", cache)
    assert (len(done["removed"]), len(done["entries"])) == (1, 1)
    assert done["size_bytes"] == 1000
    assert told(capsys, "gc", "--max-size", "0", "--cache-dir", cache)["entries"] == []


def test_the_default_cache_may_not_be_there_yet(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "no"))
    assert told(capsys, "ls")["entries"] == []
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("command", ["ls", "gc"])
def test_a_cache_that_is_named_and_is_none_is_one_line_with_a_fix(tmp_path, capsys, command):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full" / "work").mkdir(parents=True)
    for name, said in (("no", "no cache"), ("file", "not a directory"), ("full", "not empty")):
        assert main(["cache", command, "--cache-dir", str(tmp_path / name)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert "--cache-dir" in line.partition("Fix: ")[2]
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "full" / "work").is_dir()


def test_what_is_printed_names_the_entries(cache, capsys):
    assert main(["cache", "ls", "--cache-dir", cache]) == 0
    out = capsys.readouterr().out
    assert "convert a.tflite" in out
    assert "2.00 kB" in out


@pytest.mark.parametrize("size", ["-1", "ten", "1 XB", "nan", ""])
def test_a_size_that_is_none_is_a_usage_error(size, capsys):
    assert main(["cache", "gc", "--max-size", size]) == 2
    assert capsys.readouterr().err.count("\n") == 1
