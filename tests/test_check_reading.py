"""What check reads: results, artifacts and directories, and what is refused, in one line each."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import msgspec
import pytest

from edgekit import check_reading, json_files, manifest
from edgekit.errors import UserError
from edgekit.profile_types import ProfileRef
from edgekit.result_types import BenchReport, Footprint, Memory

_SPEC = importlib.util.spec_from_file_location(
    "check_cases", Path(__file__).with_name("check_cases.py")
)
cases = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def artifact(name="kws.tflite", content=b"bytes", **changes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    cases.write_manifest(path, **changes)
    return path


def refusal(*paths) -> str:
    with pytest.raises(UserError) as caught:
        check_reading.read(paths)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    return str(caught.value)


def test_the_memory_of_an_emulated_board_is_static_memory_and_stack_and_buffers(tmp_path):
    memory = Footprint(40_000, 1_500, 300, 74, "arm-none-eabi-gcc 12.2.1 -O2")
    path = cases.write_report(tmp_path / "r.json", cases.result(footprint=memory))
    (found,) = check_reading.read([path])
    assert (found.flash_bytes, found.ram_bytes) == (40_000, 1_874)


def test_the_memory_of_an_unknown_stack_is_unknown(tmp_path):
    memory = Footprint(40_000, 1_500, None, 74, "arm-none-eabi-gcc 12.2.1 -O2")
    path = cases.write_report(tmp_path / "r.json", cases.result(footprint=memory))
    (found,) = check_reading.read([path])
    assert (found.flash_bytes, found.ram_bytes) == (40_000, None)


def test_a_result_gives_what_was_measured():
    (found,) = check_reading.read([cases.write_report(Path("r.json"))])
    assert (found.model, found.target, found.device) == ("kws", "host", "local")
    assert (found.size_bytes, found.gzip_bytes, found.peak_delta_bytes) == (1000, 800, 50_000)
    assert found.process_medians_s == cases.MEDIANS_S
    assert found.accuracy == cases.top1(900, 1000)
    assert found.source_accuracy is None
    assert found.conditions == cases.CONDITIONS, "Python and NumPy do not execute the artifact"


def test_a_result_without_a_model_name_is_named_by_its_artifact():
    (found,) = check_reading.read([cases.write_report(Path("r.json"), cases.result(model=None))])
    assert found.model == "kws"


def test_an_artifact_gives_what_its_manifest_says():
    path = artifact(
        accuracy=cases.top1(9, 10), source_accuracy=cases.top1(10, 10), recipe="lossless",
        profile=ProfileRef("cortex-m7", ""),
    )  # fmt: skip
    for name in (path, manifest.path_for(path)):
        (found,) = check_reading.read([name])
        assert (found.model, found.recipe, found.target, found.device) == (
            "kws", "lossless", "cortex-m7", None,
        )  # fmt: skip
        assert (found.size_bytes, found.median_s) == (5, None)
        assert (found.accuracy.value, found.source_accuracy.value) == (0.9, 1.0)


def test_the_manifest_of_what_was_measured_brings_the_sources_accuracy():
    path = artifact(accuracy=cases.top1(8, 10), source_accuracy=cases.top1(9, 10))
    sha256 = manifest.read(path).artifact.sha256
    measured = cases.result(artifact={"sha256": sha256}, accuracy=None)
    (found,) = check_reading.read([cases.write_report(Path("r.json"), measured)])
    assert (found.accuracy.value, found.source_accuracy.value) == (0.8, 0.9)
    elsewhere = cases.result(
        artifact={"sha256": sha256}, accuracy=None, device={"measured_here": False}
    )
    (found,) = check_reading.read([cases.write_report(Path("r.json"), elsewhere)])
    assert found.accuracy is None, "another machine's kernels may answer otherwise"


def test_the_manifest_of_other_bytes_is_not_taken():
    artifact(source_accuracy=cases.top1(9, 10))
    (found,) = check_reading.read([cases.write_report(Path("r.json"))])
    assert found.source_accuracy is None


def test_an_artifact_that_moved_with_its_result_is_found_beside_it():
    Path("moved").mkdir()
    Path("moved/kws.tflite").write_bytes(b"x")
    gone = cases.result(artifact={"path": "build/kws.tflite"})
    (found,) = check_reading.read([cases.write_report(Path("moved/r.json"), gone)])
    assert found.artifact == "moved/kws.tflite"
    (found,) = check_reading.read([cases.write_report(Path("r.json"), gone)])
    assert found.artifact == "build/kws.tflite"


def test_the_float_artifact_stands_in_for_a_source_that_nothing_tells_of():
    accuracy = {"accuracy": cases.top1(95, 100)}
    float_ = cases.result(artifact={"precision": "fp32", "path": "float.tflite"}, **accuracy)
    pi = cases.result(
        artifact={"precision": "fp32", "path": "pi.tflite"}, device={"target": "pi"}, **accuracy
    )
    small = cases.result()
    path = cases.write_report(Path("r.json"), pi, float_, small)
    *_, found = check_reading.read([path])
    assert found.source_accuracy == cases.top1(95, 100)
    assert found.float_artifact == "float.tflite", "of the same target and device"
    (alone,) = check_reading.read([cases.write_report(Path("s.json"), small)])
    assert (alone.source_accuracy, alone.float_artifact) == (None, None)
    compressed = cases.result(recipe="lossless", artifact={"precision": "fp32"})
    *_, found = check_reading.read([cases.write_report(Path("t.json"), compressed, small)])
    assert found.source_accuracy is None, "a compressed model is not the source"


def test_a_directory_gives_each_result_and_each_artifact_that_has_none():
    measured = artifact("build/kws/none/host/kws-int8.tflite", b"one")
    sha256 = manifest.read(measured).artifact.sha256
    cases.write_report(
        measured.with_name("kws-int8.local.result.json"), cases.result(artifact={"sha256": sha256})
    )
    artifact(
        "build/kws/none/cortex-m7/kws-int8.tflite", b"two", profile=ProfileRef("cortex-m7", "")
    )
    for name, kind in (("kws.keras", "keras"), ("r.json", "compare"), ("layers.svg", "compare")):
        other = artifact(f"build/kws/lossless/host/{name}", b"three")
        info = manifest.read(other).artifact
        cases.write_manifest(other, artifact=msgspec.structs.replace(info, format=kind))
    (Path("build") / "notes.json").write_text("[1, 2]")
    found = check_reading.read(["build"])
    assert sorted((one.target, one.device) for one in found) == [
        ("cortex-m7", None), ("host", "local"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "elsewhere"),
    [
        ({"target": "cortex-m7"}, True),
        ({"target": "raspberry-pi-4"}, True),
        ({"target": "raspberry-pi-4", "arch": "aarch64"}, False),
        ({"target": "raspberry-pi-4", "measured_here": False}, False),
        ({"target": "x86-64-avx2"}, False),
        ({"target": "host"}, False),
        ({"target": None}, False),
        ({"target": "/etc/passwd"}, False),
    ],
)
def test_what_was_measured_on_another_architecture_than_its_target_is_known(device, elsewhere):
    path = cases.write_report(Path("r.json"), cases.result(device=device))
    (found,) = check_reading.read([path])
    assert found.elsewhere == elsewhere


def test_a_label_says_what_and_where():
    assert check_reading.label(
        cases.figures(recipe="channels50-int8", target="pi", device=None)
    ) == ("kws int8 (channels50-int8) for pi")


# -------------------------------------------------------------------------------- hostile input


def test_what_is_not_there_is_named():
    assert "there is no gone.json" in refusal("gone.json")
    Path("empty").mkdir()
    assert "empty holds no result and no artifact" in refusal("empty")
    Path("m.tflite").write_bytes(b"x")
    assert "m.tflite has no manifest (m.tflite.edgekit.json)" in refusal("m.tflite")


def test_a_result_from_a_newer_edgekit_says_so():
    Path("r.json").write_text('{"schema": "edgekit.bench/2", "results": {}}')
    told = refusal("r.json")
    assert "was written by a newer edgekit: its schema is edgekit.bench/2" in told
    assert told.endswith("Fix: pip install --upgrade edgekit")


def test_a_manifest_from_a_newer_edgekit_says_so():
    path = artifact()
    seal = manifest.path_for(path)
    seal.write_text(seal.read_text().replace("edgekit.manifest/1", "edgekit.manifest/12"))
    assert "its schema is edgekit.manifest/12, this one reads edgekit.manifest/1" in refusal(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no edgekit.bench/1 file"),
        (b"{", "is no edgekit.bench/1 file"),
        (b"[]", "is no edgekit.bench/1 file"),
        (b"\xff\xfe", "is no edgekit.bench/1 file"),
        (b'{"schema": "edgekit.doctor/1"}', "states schema edgekit.doctor/1"),
        (b'{"schema": "edgekit.bench/1"}', "`results`"),
        (b'{"schema": "edgekit.bench/1", "results": [], "more": 1}', "unknown field `more`"),
        (b'{"schema": "edgekit.bench/1", "results": []}', "holds no result"),
        (b'{"schema": ' + b"[" * 100_000, "is no edgekit.bench/1 file"),
    ],
)
def test_a_result_that_is_none_is_one_line(content, told):
    Path("r.json").write_bytes(content)
    assert told in refusal("r.json")


def test_the_key_that_is_wrong_is_named():
    body = json.loads(msgspec.json.encode(BenchReport("edgekit.bench/1", (cases.result(),))))
    body["results"][0]["latency"]["median_s"] = "fast"
    Path("r.json").write_text(json.dumps(body))
    assert "$.results[0].latency.median_s" in refusal("r.json")


@pytest.mark.parametrize("medians_s", [(0.0,) * 6, (-1.0, 1, 1, 1, 1, 1)])
def test_a_time_that_is_not_above_zero_is_refused(medians_s):
    measured = cases.result(latency=cases.latency(medians_s))
    cases.write_report(Path("r.json"), measured)
    assert "kws.tflite has a latency that is not above 0 s" in refusal("r.json")


def test_a_result_that_was_edited_is_refused():
    path = cases.write_report(Path("r.json"))
    cases.write_manifest(path)
    info = manifest.read(path).artifact
    cases.write_manifest(path, artifact=msgspec.structs.replace(info, format="bench"))
    assert check_reading.read([path])
    cases.write_report(path, cases.result(memory=Memory(1, None)))
    assert "was changed after it was measured" in refusal(path)


def test_an_artifact_that_changed_after_its_manifest_is_refused():
    path = artifact()
    path.write_bytes(b"other")
    assert "is not the artifact that kws.tflite.edgekit.json describes" in refusal(path)


def test_a_file_that_is_too_large_to_be_a_result_is_not_read(monkeypatch):
    monkeypatch.setattr(json_files, "MAX_BYTES", 10)
    assert "it is no edgekit.bench/1 file" in refusal(cases.write_report(Path("r.json")))


def test_the_latency_of_a_measurement_that_broke_off_is_not_taken(tmp_path):
    path = cases.write_report(tmp_path / "r.json", cases.result(complete=False))
    (found,) = check_reading.read([path])
    assert (found.median_s, found.ci95_s, found.process_medians_s) == (None, None, ())
    assert found.why_no_latency == "the measurement was interrupted before its end"
    assert not found.complete
