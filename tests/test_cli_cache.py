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


def test_a_cache_that_is_not_there_is_empty(tmp_path, capsys):
    assert told(capsys, "ls", "--cache-dir", str(tmp_path / "no"))["entries"] == []
    assert not (tmp_path / "no").exists()


def test_what_is_printed_names_the_entries(cache, capsys):
    assert main(["cache", "ls", "--cache-dir", cache]) == 0
    out = capsys.readouterr().out
    assert "convert a.tflite" in out
    assert "2.00 kB" in out


@pytest.mark.parametrize("size", ["-1", "ten", "1 XB", "nan", ""])
def test_a_size_that_is_none_is_a_usage_error(size, capsys):
    assert main(["cache", "gc", "--max-size", size]) == 2
    assert capsys.readouterr().err.count("\n") == 1
