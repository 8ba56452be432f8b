"""Baselines: what is written, what is matched, and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import pytest

from edgekit import baselines, hashing, manifest
from edgekit.check_types import Baseline, BaselineEntry
from edgekit.errors import OutputError, UserError

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)
tiny = cases.load("targets/tiny_models")

EDGEKIT_TOML = """
[model.kws]
path = "kws.keras"
[[build]]
model = "kws"
[check]
baseline = "baselines/kws.json"
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def measured(name="kws.tflite", **changes) -> Path:
    """A result on disk of an artifact that is on disk."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    tiny.dense_tflite(path, changes.pop("batch", 1))
    about = {"path": str(path), "sha256": hashing.sha256_file(path)}
    return cases.write_report(
        path.with_suffix(".result.json"),
        cases.result(artifact={**about, **changes.pop("artifact", {})}, **changes),
    )


def entry(**changes) -> BaselineEntry:
    return BaselineEntry(cases.figures(**changes))


def matched(checked, *entries):
    found = baselines.match(checked, Baseline("edgekit.baseline/1", entries))
    return [entries.index(one) if one else None for one in found]


def test_an_update_writes_what_was_measured():
    done = baselines.update([measured()], "b/kws.json")
    assert (done.path, done.added) == ("b/kws.json", ("kws int8 for host on local",))
    (stored,) = baselines.read("b/kws.json").entries
    assert stored.figures.process_medians_s == cases.MEDIANS_S
    assert stored.figures.accuracy == cases.top1(900, 1000)
    assert stored.figures.conditions == cases.CONDITIONS
    assert stored.figures.sha256 == hashing.sha256_file(Path("kws.tflite"))
    assert stored.kept is None
    assert [path.name for path in Path("b").iterdir()] == ["kws.json"]


def test_an_update_replaces_the_same_thing_and_leaves_the_others():
    baselines.update([measured("a/kws.tflite"), measured("b/vww.tflite", model="vww")], "b.json")
    faster = measured("c/kws.tflite", latency=cases.latency((1e-4,) * 6))
    done = baselines.update([faster], "b.json")
    assert (done.added, done.replaced, done.unchanged) == (
        (), ("kws int8 for host on local",), ("vww int8 for host on local",),
    )  # fmt: skip
    stored = baselines.read("b.json").entries
    assert [one.figures.model for one in stored] == ["kws", "vww"]
    assert stored[0].figures.median_s == 1e-4


def test_the_same_results_give_the_same_bytes():
    result = measured()
    baselines.update([result], "one.json")
    baselines.update([result], "two.json")
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_a_dry_run_writes_nothing():
    done = baselines.update([measured()], "b/kws.json", keep_artifacts=True, dry_run=True)
    assert done.added
    assert not Path("b").exists()


def test_two_results_of_the_same_thing_are_refused():
    with pytest.raises(UserError, match="are both kws int8 for host on local"):
        baselines.update([measured("a/kws.tflite"), measured("b/kws.tflite")], "b.json")
    assert not Path("b.json").exists()


def test_the_default_is_what_edgekit_toml_names():
    result = measured()
    with pytest.raises(UserError, match=r"no -o, and no edgekit\.toml here"):
        baselines.update([result])
    Path("edgekit.toml").write_text(EDGEKIT_TOML)
    assert baselines.update([result]).path == "baselines/kws.json"
    Path("edgekit.toml").write_text(EDGEKIT_TOML.partition("[check]")[0])
    with pytest.raises(UserError, match="names no one baseline"):
        baselines.update([result])


# ---------------------------------------------------------------------------- kept artifacts


def test_kept_artifacts_stand_beside_the_baseline_and_are_found():
    result = measured()
    cases.write_manifest(Path("kws.tflite"))
    baselines.update([result], "b/kws.json", keep_artifacts=True)
    sha256 = hashing.sha256_file(Path("kws.tflite"))
    kept = Path("b/kws.artifacts") / sha256[:16] / "kws.tflite"
    assert kept.read_bytes() == Path("kws.tflite").read_bytes()
    assert manifest.matches(kept, manifest.read(kept))
    (stored,) = baselines.read("b/kws.json").entries
    Path("kws.tflite").unlink()
    assert baselines.artifact(stored, Path("b/kws.json")) == kept


def test_a_kept_artifact_that_changed_or_went_is_told():
    baselines.update([measured()], "kws.json", keep_artifacts=True)
    (stored,) = baselines.read("kws.json").entries
    kept = Path(stored.kept)
    for spoil in (lambda: kept.write_bytes(b"version https://git-lfs"), kept.unlink):
        spoil()
        with pytest.raises(UserError, match=r"which is not there as it was") as caught:
            baselines.artifact(stored, Path("kws.json"))
        assert "git lfs pull" in caught.value.fix


def test_a_baseline_cannot_name_an_artifact_outside_its_directory(tmp_path):
    outside = tiny.dense_tflite(tmp_path / "m.tflite")
    sly = BaselineEntry(cases.figures(sha256=hashing.sha256_file(outside)), "../m.tflite")
    with pytest.raises(UserError, match="is not there as it was"):
        baselines.artifact(sly, Path("b/kws.json"))


def test_without_a_kept_one_the_artifact_is_found_where_it_lay_until_it_is_made_anew():
    baselines.update([measured()], "kws.json")
    (stored,) = baselines.read("kws.json").entries
    assert baselines.artifact(stored, Path("kws.json")) == Path("kws.tflite")
    tiny.dense_tflite(Path("kws.tflite"), None)
    assert baselines.artifact(stored, Path("kws.json")) is None


def test_a_kept_artifact_goes_when_another_takes_its_place():
    baselines.update([measured(), measured("vww.tflite", model="vww", batch=2)], "b.json",
                     keep_artifacts=True)  # fmt: skip
    first = {path.name for path in Path("b.artifacts").iterdir()}
    mine = Path("b.artifacts/mine")
    mine.mkdir()
    baselines.update([measured(batch=3)], "b.json", keep_artifacts=True)
    kept = {one.kept for one in baselines.read("b.json").entries}
    assert {path.parent.name for path in Path("b.artifacts").glob("*/*.tflite")} == {
        Path(one).parent.name for one in kept
    }
    assert len(first & {path.name for path in Path("b.artifacts").iterdir()}) == 1
    assert mine.is_dir()


def test_an_artifact_that_is_away_cannot_be_kept():
    result = measured()
    Path("kws.tflite").unlink()
    with pytest.raises(UserError, match=r"kws\.tflite is not there as it was measured"):
        baselines.update([result], "b.json", keep_artifacts=True)
    assert not Path("b.json").exists()


# ----------------------------------------------------------------------------------- matching


def test_model_target_and_device_match():
    now = cases.figures(sha256="b" * 64, recipe="channels50-int8", precision="fp32")
    assert matched([now], entry()) == [0], "whatever was changed to make it"
    for change in ({"model": "vww"}, {"target": "pi"}, {"device": "ssh://pi"}):
        assert matched([now], entry(**change)) == [None]


def test_recipe_and_precision_tell_several_apart():
    both = entry(precision="fp32"), entry(precision="int8")
    now = [cases.figures(precision="int8"), cases.figures(precision="fp32")]
    assert matched(now, *both) == [1, 0]
    assert matched([cases.figures(precision="fp16")], *both) == [None]
    assert matched(now, both[0]) == [None, 0], "two cannot both be what one was"


# ------------------------------------------------------------------------------ hostile input


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no edgekit.baseline/1 file"),
        ('{"schema": "edgekit.baseline/3"}', "written by a newer edgekit"),
        ('{"schema": "edgekit.bench/1"}', "states schema edgekit.bench/1"),
    ],
)
def test_a_file_that_is_no_baseline_is_neither_read_nor_replaced(content, told):
    Path("b.json").write_text(content)
    with pytest.raises(UserError, match=told):
        baselines.read("b.json")
    result = measured()
    with pytest.raises(OutputError, match=told) as caught:
        baselines.update([result], "b.json")
    assert "--force" in caught.value.fix
    assert Path("b.json").read_text() == content
    baselines.update([result], "b.json", force=True)
    assert len(baselines.read("b.json").entries) == 1


def test_a_missing_baseline_and_a_directory_are_named():
    with pytest.raises(UserError, match=r"there is no baseline gone\.json"):
        baselines.read("gone.json")
    Path("d").mkdir()
    with pytest.raises(OutputError, match="d is a directory"):
        baselines.update([measured()], "d")


def test_a_baseline_is_what_its_schema_says():
    jsonschema = pytest.importorskip("jsonschema")
    from edgekit import schemas  # noqa: PLC0415

    baselines.update([measured()], "b.json", keep_artifacts=True)
    body = msgspec.json.decode(Path("b.json").read_bytes())
    jsonschema.Draft202012Validator(schemas.json_schema("baseline")).validate(body)


def test_convert_names_the_recipe_that_made_its_source(tmp_path):
    from edgekit import conversion  # noqa: PLC0415

    source = tiny.dense_tflite(tmp_path / "small.tflite")
    cases.write_manifest(source, recipe="channels50-int8", recipe_sha256="c" * 64)
    made = conversion.convert(source, output=tmp_path / "m.tflite")
    assert (made.model_name, made.recipe, made.recipe_sha256) == (
        "kws", "channels50-int8", "c" * 64,
    )  # fmt: skip


def test_a_measurement_that_broke_off_makes_no_baseline():
    with pytest.raises(UserError, match="no baseline is made of a part") as caught:
        baselines.update([measured(complete=False)], "b/kws.json")
    assert "edgekit bench kws.tflite" in caught.value.fix
    assert not Path("b/kws.json").exists()
