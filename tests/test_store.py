"""The cache of `edgekit run`: whole entries or none, and one maker for each."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

from edgekit import locking
from edgekit.errors import OutputError, UserError
from edgekit.store import Store

KEY = "a" * 64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


def put(store, key, content=b"content", gate=None):
    with store.work() as work, store.locked(key):
        (work / "m.tflite").write_bytes(content)
        store.put(key, "convert", "convert m.tflite", work, ["m.tflite"], gate)


def take(store, key, to):
    to.mkdir(exist_ok=True)
    said = []
    with store.locked(key):
        return store.take(key, to, said.append), said


def test_what_is_put_is_taken_with_its_hash(store, tmp_path):
    put(store, KEY, gate="a drop of 0.1")
    record, said = take(store, KEY, tmp_path / "to")
    assert (tmp_path / "to" / "m.tflite").read_bytes() == b"content"
    assert record.files[0].sha256 == hashlib.sha256(b"content").hexdigest()
    assert record.gate == "a drop of 0.1"
    assert not said


def test_nothing_is_taken_from_an_empty_cache_and_nothing_is_made(store, tmp_path):
    assert store.record(KEY) is None
    assert store.entries() == []
    assert store.gc(0) == []
    assert not (tmp_path / "cache").exists()


def test_a_changed_byte_is_found_said_and_removed(store, tmp_path):
    put(store, KEY)
    file = tmp_path / "cache" / "entries" / KEY / "files" / "m.tflite"
    file.write_bytes(b"contenT")
    record, (said,) = take(store, KEY, tmp_path / "to")
    assert record is None
    assert "m.tflite" in said
    assert store.entries() == []


def test_putting_again_replaces(store, tmp_path):
    put(store, KEY, b"one")
    put(store, KEY, b"two")
    take(store, KEY, tmp_path / "to")
    assert (tmp_path / "to" / "m.tflite").read_bytes() == b"two"


def test_the_least_recently_used_entries_go_first(store, tmp_path):
    for number, name in enumerate("abc"):
        put(store, name * 64, bytes(100))
        record = tmp_path / "cache" / "entries" / (name * 64) / "record.json"
        os.utime(record, (1000 + number, 1000 + number))
    take(store, "a" * 64, tmp_path / "to")  # used last, though made first
    assert [entry.key[0] for entry in store.excess(200)] == ["b"]
    assert [entry.key[0] for entry in store.gc(200)] == ["b"]
    assert [entry.key[0] for entry in store.entries()] == ["a", "c"]
    assert [entry.key[0] for entry in store.gc(0)] == ["a", "c"]
    assert list((tmp_path / "cache" / "entries").iterdir()) == []


def test_an_entry_that_is_in_use_stays(store):
    put(store, KEY)
    with store.locked(KEY):
        assert store.gc(0) == []
    assert len(store.gc(0)) == 1


def test_an_entry_without_a_record_is_swept_by_gc(store, tmp_path):
    put(store, KEY)
    (tmp_path / "cache" / "entries" / KEY / "record.json").unlink()
    store.gc(10**9)
    assert not (tmp_path / "cache" / "entries" / KEY).exists()


def test_a_lock_has_one_holder_at_a_time(tmp_path):
    held, most = [], []
    barrier = threading.Barrier(8)

    def hold():
        barrier.wait()
        for _ in range(5):
            with locking.locked(tmp_path / "lock"):
                held.append(1)
                most.append(len(held))
                held.pop()
                (tmp_path / "lock").unlink()  # as gc does: whoever comes next has another file

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 40


def test_a_wait_for_a_lock_can_be_given_up_and_is_said_once(tmp_path):
    said = []
    with locking.locked(tmp_path / "lock"):
        answers = iter([False, False, True])
        waiting = locking.locked(
            tmp_path / "lock", stopped=lambda: next(answers), on_wait=lambda: said.append(1)
        )
        with pytest.raises(locking.Stopped), waiting:
            pass
    assert said == [1]


def test_work_is_removed_at_its_end_and_that_of_the_dead_by_the_next(store, tmp_path):
    with store.work() as mine:
        (tmp_path / "cache" / "work" / "edgekit-stage-dead" / "made").mkdir(parents=True)
        with store.work() as other:
            assert mine.is_dir()
            assert {place.name for place in mine.parent.iterdir()} == {mine.name, other.name}
    assert list((tmp_path / "cache" / "work").iterdir()) == []


def test_a_directory_of_the_users_is_refused_and_nothing_in_it_is_removed(tmp_path):
    mine = [tmp_path / "work" / "precious" / "a.txt", tmp_path / "entries" / "mypost" / "b.txt"]
    for file in mine:
        file.parent.mkdir(parents=True)
        file.write_text("mine")
    store = Store(tmp_path)
    work = store.work()
    with pytest.raises(OutputError, match="not empty") as caught, work:
        pass
    assert "name an empty directory or one that edgekit made" in caught.value.fix
    for attempt in (lambda: store.gc(0), lambda: store.locked(KEY)):
        with pytest.raises(OutputError, match="not empty"):
            attempt()
    assert all(file.read_text() == "mine" for file in mine)
    assert {place.name for place in tmp_path.iterdir()} == {"work", "entries"}


def test_an_empty_directory_becomes_a_cache(tmp_path):
    put(Store(tmp_path), KEY)
    assert (tmp_path / "edgekit-cache.json").is_file()
    put(Store(tmp_path), "b" * 64)
    assert len(Store(tmp_path).entries()) == 2


def test_what_has_no_name_of_edgekits_stays_in_a_cache(store):
    put(store, KEY)
    mine = [store.directory / "entries" / "mypost", store.directory / "work" / "precious"]
    for place in mine:
        place.mkdir()
    os.mkfifo(store.directory / "work" / "edgekit-stage-pipe")
    put(store, "b" * 64)
    assert len(store.gc(0)) == 2
    assert all(place.is_dir() for place in mine)


def test_an_entry_of_a_newer_edgekit_stays(store, tmp_path):
    put(store, KEY)
    record = store.directory / "entries" / KEY / "record.json"
    record.write_text(record.read_text().replace("cache-entry/1", "cache-entry/2"))
    assert store.gc(0) == []
    with pytest.raises(UserError, match="newer edgekit"):
        take(store, KEY, tmp_path / "to")
    assert record.is_file()


def test_a_cache_of_a_newer_edgekit_is_left_alone(store):
    put(store, KEY)
    mark = store.directory / "edgekit-cache.json"
    mark.write_text(mark.read_text().replace("/1", "/2"))
    with pytest.raises(UserError, match="newer edgekit"):
        store.gc(0)


def test_a_cache_below_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    work = Store(tmp_path / "file" / "cache").work()
    with pytest.raises(OutputError, match="cannot write the cache") as caught, work:
        pass
    assert "--cache-dir" in caught.value.fix
