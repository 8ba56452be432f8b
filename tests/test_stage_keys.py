"""What a stage's identity depends on, and what it does not."""

from __future__ import annotations

import pytest

from edgekit import build_file, hashing, pipeline_plan, stage_keys
from edgekit.build_types import StageInput
from edgekit.errors import UserError
from edgekit.stage_keys import Hashes

FILE = '[model.m]\npath = "m.tflite"\ndata = "d.py:f"\n[[build]]\nmodel = "m"\nprecision = "fp16"\n'


@pytest.fixture
def key(tmp_path):
    def key(text=FILE, *, place="a", model=b"model", data="1", name="m.tflite", **options):
        directory = tmp_path / place
        directory.mkdir(exist_ok=True)
        (directory / name).write_bytes(model)
        (directory / "d.py").write_text(f"def f(role): return {data}\ndef g(role): return {data}\n")
        (directory / "edgekit.toml").write_text(text)
        file = build_file.read(directory / "edgekit.toml")
        (stage,) = pipeline_plan.stages(file, **options)
        hashes = Hashes(directory)
        return stage_keys.key(stage, stage_keys.inputs(stage, hashes, {}))

    return key


def test_a_key_is_the_same_in_another_place_and_under_another_name(key):
    moved = FILE.replace('"m.tflite"', '"other.tflite"')
    assert key() == key(place="b") == key(moved, place="c", name="other.tflite")


def test_a_key_changes_with_whatever_the_outputs_depend_on(key):
    keys = [
        key(),
        key(model=b"other"),
        key(data="2"),
        key(FILE.replace("d.py:f", "d.py:g")),
        key(FILE.replace("fp16", "fp32")),
        key(FILE + "batch = 2\n"),
        key(FILE + 'target = "raspberry-pi-4"\n'),
        key(FILE.replace("data =", 'preprocess = "unit"\ndata =')),
        key(FILE.replace("data =", 'metric = "top5"\ndata =')),
        key(FILE + "max_drop = 0.1\n"),
        key(seed=1),
        key(trust=True),
    ]
    assert len(set(keys)) == len(keys)


def test_another_version_of_a_library_is_another_key(key, monkeypatch):
    before = key()
    monkeypatch.setattr("edgekit.manifest.versions", lambda: {"tensorflow": "9.9"})
    assert key() != before


def test_changes_are_said_in_words_and_not_all_of_them():
    now = [
        StageInput("recipe", "aa", "recipe half.toml"),
        StageInput("option seed", "1", "seed", hashed=False),
        StageInput("version keras", "4.0", "keras", hashed=False),
        StageInput("data", "cc", "data d.npz"),
    ]
    before = {"recipe": "bb", "option seed": "0", "version keras": "4.0", "target": "dd"}
    assert stage_keys.changes(before, now) == (
        "recipe half.toml changed, seed was 0, is 1, data d.npz is new and 1 more"
    )
    assert stage_keys.changes({one.role: one.value for one in now}, now) == ""


def test_a_manifest_of_a_newer_schema_beside_the_model_is_said(key, tmp_path):
    key()
    (tmp_path / "a" / "m.tflite.edgekit.json").write_text('{"schema": "edgekit.manifest/9"}')
    with pytest.raises(UserError, match="was written by a newer edgekit"):
        key()


def test_the_model_of_a_key_is_its_bytes(key, tmp_path):
    key()
    hashes = Hashes(tmp_path / "a")
    expected = hashing.sha256_json([hashing.sha256_bytes(b"model"), None])
    assert hashes.model("m.tflite") == expected
    assert list(hashes.paths) == [tmp_path / "a" / "m.tflite"]


def test_models_are_shared_by_targets_whose_int8_is_not_looked_at(tmp_path):
    taken = Hashes(tmp_path).taken_by_compression
    targets = ("host", "host-openvino", "jetson-orin-nano", "cortex-m4")
    assert len({taken(target, "channels50-int8") for target in targets}) < len(targets)
    for recipe in ("qat-int8", "int8-refined", "pcqat"):
        assert len({taken(target, recipe) for target in targets}) == len(targets)
