"""Hashes that are remembered, and when they are not trusted any more."""

from __future__ import annotations

import hashlib

import pytest

from edgekit import hashing

LARGE = hashing.REMEMBERED_FROM_BYTES


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "remembered"))
    return tmp_path / "remembered" / "edgekit" / "hashes"


def test_a_large_file_is_read_once_and_again_after_a_change(tmp_path, memory):
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGE))
    assert hashing.sha256_file(path) == hashlib.sha256(bytes(LARGE)).hexdigest()
    (known,) = memory.iterdir()
    known.write_text("0" * 64)  # what is remembered is what is given
    assert hashing.sha256_file(path) == "0" * 64
    path.write_bytes(b"\1" + bytes(LARGE - 1))
    assert hashing.sha256_file(path) == hashlib.sha256(b"\1" + bytes(LARGE - 1)).hexdigest()


def test_a_large_directory_of_small_files_is_remembered_as_a_whole(tmp_path, memory):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        (images / f"{number}.png").write_bytes(bytes([number]) * (LARGE // 4))
    before = hashing.file_ref(images)
    (known,) = memory.iterdir()
    known.write_text("0" * 64)
    assert hashing.file_ref(images).sha256 == "0" * 64
    (images / "0.png").write_bytes(b"other" * (LARGE // 20))
    changed = hashing.file_ref(images).sha256
    assert changed not in (before.sha256, "0" * 64)
    hashing.forget_hashes()
    assert hashing.file_ref(images).sha256 == changed


def test_small_files_are_not_remembered(tmp_path, memory):
    (tmp_path / "small").write_bytes(b"x")
    assert hashing.file_ref(tmp_path / "small").sha256 == hashlib.sha256(b"x").hexdigest()
    assert not memory.exists()
