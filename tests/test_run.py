"""`edgekit run` on a real project of the smallest kind: a dense net of 528 bytes, as .tflite."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit import manifest, schemas
from edgekit.cli import main
from edgekit.errors import BuildFileError, UserError

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
    script = (
        "import sys\nfrom edgekit.cli import main\n"
        f"assert main(['run', {str(place / 'project' / 'edgekit.toml')!r}, '-q', '--cache-dir',"
        f" {str(place / 'cache')!r}]) == 0\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "", done.stdout


def test_the_json_of_a_run_is_its_schema_and_its_log(place, capsys):
    file = place / "project" / "edgekit.toml"
    assert main(["run", str(file), "--json", "--cache-dir", str(place / "cache")]) == 0
    told = json.loads(capsys.readouterr().out)
    pytest.importorskip("jsonschema").validate(told, schemas.json_schema("run"))
    assert told["schema"] == "edgekit.run/1"
    assert told["error"] is None
    assert {stage["status"] for stage in told["stages"]} == {"up to date"}
    assert [one["size_bytes"] for one in told["artifacts"]] == [
        artifact(place, precision).stat().st_size for precision in ("fp32", "fp16")
    ]


def test_another_project_takes_what_the_cache_has_and_names_its_own_files(place):
    other = cases.project(
        place / "other", cases.fp32_and_fp16("nets/other.tflite"), model="nets/other.tflite"
    )
    report = cases.run(other, place / "cache")
    assert set(cases.statuses(report).values()) == {"cached"}
    taken = place / "other" / "build" / "m" / "none" / "host" / "m-fp32.tflite"
    assert taken.read_bytes() == artifact(place).read_bytes()
    assert manifest.read(taken).source.path == "nets/other.tflite"
    assert manifest.read(taken).command[2] == "nets/other.tflite"


def test_another_name_of_the_same_model_is_another_output(place):
    text = cases.fp32_and_fp16().replace("[model.m]", "[model.renamed]")
    text = text.replace('model = "m"', 'model = "renamed"')
    report = cases.run(cases.project(place / "other", text), place / "cache")
    assert set(cases.statuses(report).values()) == {"built"}
    taken = place / "other" / "build" / "renamed" / "none" / "host" / "renamed-fp32.tflite"
    assert taken.read_bytes() == artifact(place).read_bytes()


def test_a_missing_output_comes_back_from_the_cache_and_says_why(place):
    artifact(place).unlink()
    report = again(place)
    assert cases.statuses(report) == {FP32: "cached", FP16: "up to date"}
    assert why(report, FP32) == "build/m/none/host/m-fp32.tflite is missing"


def test_an_output_that_was_changed_by_hand_is_not_replaced_without_force(place):
    artifact(place).write_bytes(b"mine")
    report = again(place)
    assert cases.statuses(report) == {FP32: "failed", FP16: "up to date"}
    assert "--force" in report.error.fix
    assert report.error.code == 1
    assert artifact(place).read_bytes() == b"mine"


@pytest.mark.parametrize("damage", ["content", "record", "missing", "escape"])
def test_a_damaged_cache_entry_is_said_removed_and_made_again(place, damage):
    before = artifact(place).read_bytes()
    report = again(place)
    key = next(one.key for one in report.stages if one.name.endswith("fp32.tflite"))
    entry = place / "cache" / "entries" / key
    match damage:
        case "content":
            (entry / "files" / "m-fp32.tflite").write_bytes(before[:-1] + b"\xff")
        case "record":
            (entry / "record.json").write_text("{")
        case "missing":
            (entry / "files" / "m-fp32.tflite").unlink()
        case "escape":
            told = json.loads((entry / "record.json").read_text())
            told["files"][0]["name"] = "../../../../escaped"
            (entry / "record.json").write_text(json.dumps(told))
    shutil.rmtree(place / "project" / "build")
    said = []
    report = again(place, on_progress=said.append)
    assert cases.statuses(report) == {FP32: "built", FP16: "cached"}
    assert any("is damaged" in line and "made again" in line for line in said)
    assert artifact(place).read_bytes() == before
    assert not list(place.rglob("escaped"))


def test_a_new_option_runs_only_the_stage_that_has_it_and_names_it(place):
    file = place / "project" / "edgekit.toml"
    file.write_text(
        file.read_text().replace('"fp32", ', "") + '[[build]]\nmodel = "m"\nbatch = 2\n'
    )
    report = again(place, dry_run=True)
    assert cases.statuses(report) == {FP32: "would run", FP16: "up to date"}
    assert why(report, FP32) == "batch was 1, is 2"


def test_a_dry_run_writes_nothing_and_says_what_changed(place):
    model = place / "project" / "models" / "m.tflite"
    cases.tiny_models().dense_tflite(model, batch=None)
    before = cases.contents(place, ())
    report = again(place, dry_run=True)
    assert set(cases.statuses(report).values()) == {"would run"}
    assert why(report, FP32) == "model models/m.tflite changed"
    assert cases.contents(place, ()) == before


def test_force_runs_everything_again(place):
    report = again(place, force=True, dry_run=True)
    assert {(one.status, one.why) for one in report.stages} == {("would run", "--force")}


def test_a_target_that_changes_reruns_what_is_built_for_it_alone(place, tmp_path):
    project = place / "project"
    board = project / "board.toml"
    board.write_text('name = "board"\nextends = "host"\ntitle = "one"\n')
    file = project / "edgekit.toml"
    file.write_text('[model.m]\npath = "models/m.tflite"\n[[build]]\nmodel = "m"\n'
                    'precision = "fp32"\ntarget = ["host", "./board.toml"]\n')  # fmt: skip
    ours = "convert none/board/m-fp32.tflite"
    assert cases.statuses(again(place)) == {FP32: "up to date", ours: "built"}
    board.write_text('name = "board"\nextends = "host"\ntitle = "two"\n')
    report = again(place)
    assert cases.statuses(report) == {FP32: "up to date", ours: "built"}
    assert why(report, ours) == "target ./board.toml changed"


def test_a_failed_stage_names_what_it_stops_and_the_others_go_on(place, tmp_path):
    project = place / "project"
    (project / "models" / "bad.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 64)
    file = project / "edgekit.toml"
    file.write_text(
        '[model.bad]\npath = "models/bad.tflite"\n' + cases.fp32_and_fp16()
        + '[[build]]\nmodel = "bad"\nprecision = "fp32"\n'
        '[[bench]]\ntarget = "host"\nmodel = "bad"\n'
    )  # fmt: skip
    report = again(place)
    found = {one.name: one for one in report.stages}
    bad, bench = found["convert build/bad/none/host/bad-fp32.tflite"], found[
        "bench build/bad/*/host on local"
    ]  # fmt: skip
    assert (bad.status, bad.exit_code) == ("failed", 1)
    assert "bad.tflite" in bad.why
    assert (bench.status, bench.why) == ("skipped", f"needs {bad.name}")
    assert {found[f"convert build/m/{name[8:]}"].status for name in (FP32, FP16)} == {"up to date"}
    assert report.error.code == 1
    assert "skipped" in report.error.message


def test_a_failure_ends_with_its_code_and_one_line(place, capsys):
    artifact(place).write_bytes(b"mine")
    file = str(place / "project" / "edgekit.toml")
    assert main(["run", file, "-q", "--json", "--cache-dir", str(place / "cache")]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == 1
    assert err.count("\n") == 1
    assert err.startswith("error: convert build/m/none/host/m-fp32.tflite: ")


def test_measurements_are_written_for_each_artifact_and_not_taken_twice(place):
    file = place / "project" / "edgekit.toml"
    file.write_text(file.read_text() + '[[bench]]\ntarget = "host"\nbudget = 0.5\n')
    report = again(place)
    assert cases.statuses(report)["bench */host on local"] == "built"
    for precision in ("fp32", "fp16"):
        result = artifact(place, f"{precision}.local").with_suffix(".result.json")
        told = json.loads(result.read_text())
        assert [one["artifact"]["precision"] for one in told["results"]] == [precision]
        assert manifest.matches(result, manifest.read(result))
    assert all(one.latency_s > 0 for one in report.artifacts)
    assert len(told["comparison"]) <= 1
    assert set(cases.statuses(again(place)).values()) == {"up to date"}


def test_what_a_killed_run_leaves_is_removed_and_made_good(place):
    project = place / "project"
    stale = place / "cache" / "work" / "edgekit-stage-stale"
    (stale / "made").mkdir(parents=True)
    (project / "build" / ".edgekit-placing").mkdir()
    (project / "build" / ".edgekit-placing" / "0").write_bytes(b"half")
    artifact(place).unlink()
    report = again(place)
    assert cases.statuses(report) == {FP32: "cached", FP16: "up to date"}
    assert not stale.exists()
    assert not (project / "build" / ".edgekit-placing").exists()


def test_outputs_through_a_link_that_leads_elsewhere_are_refused(place):
    build = place / "project" / "build"
    shutil.rmtree(build)
    (place / "elsewhere").mkdir()
    build.symlink_to(place / "elsewhere", target_is_directory=True)
    report = again(place)
    assert set(cases.statuses(report).values()) == {"failed"}
    assert "through a link" in report.error.message


def test_a_file_in_the_place_of_a_directory_is_one_line(place):
    build = place / "project" / "build"
    shutil.rmtree(build / "m" / "none")
    (build / "m" / "none").write_text("mine")
    report = again(place)
    assert set(cases.statuses(report).values()) == {"failed"}
    assert "is a file, where a directory is to be" in report.error.message
    shutil.rmtree(build)
    build.write_text("mine")
    with pytest.raises(UserError, match="it is no directory"):
        again(place)
    assert build.read_text() == "mine"


def test_a_manifest_of_a_newer_schema_is_no_known_output(place):
    seal = manifest.path_for(artifact(place))
    seal.write_text(seal.read_text().replace("edgekit.manifest/1", "edgekit.manifest/9"))
    report = again(place)
    assert cases.statuses(report) == {FP32: "failed", FP16: "up to date"}
    assert "--force" in report.error.fix
    forced = again(place, force=True, dry_run=True)
    assert cases.statuses(forced)[FP32] == "would run"


def test_a_state_of_an_unknown_schema_counts_as_none(place):
    (place / "project" / "build" / ".edgekit-run.json").write_text('{"schema": "x"}')
    assert set(cases.statuses(again(place)).values()) == {"cached"}


def test_a_cache_that_cannot_be_made_is_one_line(place, tmp_path):
    artifact(place).unlink()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the cache"):
        cases.run(place / "project" / "edgekit.toml", tmp_path / "file" / "cache")


@pytest.mark.parametrize(("full", "pages"), [("cache", 5), ("build", 3), ("build", 5)])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(place, full, pages):
    namespace = ["-m"] if os.geteuid() == 0 else ["-m", "-U", "-r"]
    probe = subprocess.run(["unshare", *namespace, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no mount namespaces here")
    project = place / "project"
    shutil.rmtree(project / "build")
    where = {"cache": place / "full", "build": project / "build"}[full]
    where.mkdir()
    script = (
        f'mount -t tmpfs -o size={pages * os.sysconf("SC_PAGE_SIZE")} none "$0" && "$@";'
        ' echo "rc $?"; find "$0" -type f -size +0'
    )
    done = subprocess.run(
        ["unshare", *namespace, "sh", "-c", script, where, sys.executable, "-P", "-m", "edgekit",
         "run", project / "edgekit.toml", "-q", "--cache-dir",
         {"cache": where / "cache", "build": place / "cache"}[full]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    _, ended, left = done.stdout.partition("rc 1\n")
    assert ended, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
    names = [Path(line).name for line in left.splitlines()]
    assert not [name for name in names if name.startswith(".edgekit-placing") or ".part" in name]
    artifacts = [name for name in names if name.endswith(".tflite")]
    assert {f"{name}.edgekit.json" for name in artifacts} <= set(names)


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
