"""Bench end to end on tiny real artifacts: structure and counted numbers, never speeds."""

from __future__ import annotations

import importlib.util
import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgekit import bench_rounds, benching, hashing, manifest
from edgekit.bench_rounds import Observed, Plan
from edgekit.errors import (
    DataError,
    ModelError,
    OutputError,
    ProfileError,
    UsageError,
    UserError,
)
from edgekit.manifest_types import Manifest
from edgekit.profile_types import Gain, ProfileRef
from edgekit.recipe_types import Claim
from edgekit.result_types import BenchReport
from edgekit.types import DataRef, TensorSpec

_SPEC = importlib.util.spec_from_file_location(
    "tiny_models", Path(__file__).parent / "targets" / "tiny_models.py"
)
tiny = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny)

SHORT_S = 0.01


def write_manifest(artifact: Path, target: str, **changes) -> None:
    """A manifest as convert would have written it."""
    info = manifest.artifact_info((artifact,), format_name="tflite", precision="fp32", gzip_bytes=1)
    given = {
        "versions": {}, "command": (), "request_sha256": "", "seed": 0, "artifact": info,
        "source": hashing.file_ref(artifact), "model_name": "dense",
        "profile": ProfileRef(target, ""),
        "inputs": (TensorSpec("in", (1, 4), "float32"),),
        "outputs": (TensorSpec("out", (1, 3), "float32"),),
    }  # fmt: skip
    manifest.path_for(artifact).write_bytes(manifest.encode(Manifest(**{**given, **changes})))


def classes_npz(path: Path) -> tuple[Path, float]:
    """Samples of which the model gets a known share of the test role right."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4)).astype(np.float32)
    y = tiny.dense(x).argmax(1)
    y[40:45] = (y[40:45] + 1) % 3  # 5 of the 20 test samples are labelled otherwise
    np.savez(path, x_test=x[40:], y_test=y[40:], x_calib=x[:20], y_calib=y[:20],
             x_val=x[20:40], y_val=y[20:40])  # fmt: skip
    return path, 15 / 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two artifacts that were measured together, with accuracy, and the report on disk."""
    directory = tmp_path_factory.mktemp("pair")
    fixed = tiny.dense_tflite(directory / "fixed.tflite")
    varying = tiny.dense_tflite(directory / "varying.tflite", None)
    data, share = classes_npz(directory / "data.npz")
    said: list[str] = []
    report = benching.bench(
        [fixed, varying],
        budget_s=SHORT_S,
        data=str(data),
        output=directory / "r.result.json",
        on_progress=said.append,
    )
    return report, share, directory, said


def test_every_artifact_has_a_fresh_process_in_each_of_six_rounds(pair):
    report, _, _, said = pair
    for result in report.results:
        assert result.latency.processes == len(result.latency.process_medians_s) == 6
        assert result.latency.median_s == statistics.median(result.latency.process_medians_s)
    started = [text for text in said if text.startswith("measuring")]
    assert len(started) == 12
    assert sum(text.startswith("measuring fixed.tflite") for text in started) == 6


def test_the_result_says_what_ran_where_and_how(pair):
    result = pair[0].results[0]
    assert result.artifact.sha256 == hashing.sha256_file(Path(result.artifact.path))
    assert result.artifact.size_bytes == Path(result.artifact.path).stat().st_size
    assert (result.artifact.format, result.artifact.precision) == ("tflite", None)
    assert (result.device.url, result.device.measured_here) == ("local", True)
    assert result.delegate.total_nodes == 1
    assert {"python", "numpy", "ai-edge-litert"} <= set(result.environment["versions"])
    assert result.environment["inputs"] == "the first sample of the data"
    assert result.environment["precision"] == "float32"
    assert result.throughput_per_s == pytest.approx(1 / result.latency.median_s)
    assert result.energy is None
    assert result.operators is None


def test_accuracy_is_that_of_the_test_role(pair):
    report, share, _, _ = pair
    for result in report.results:
        assert (result.accuracy.metric, result.accuracy.n) == ("top1", 20)
        assert result.accuracy.value == pytest.approx(share)


def test_the_comparison_is_the_median_of_the_rounds_ratios(pair):
    report = pair[0]
    first, second = (result.latency.process_medians_s for result in report.results)
    ratios = sorted(b / a for a, b in zip(first, second, strict=True))
    (found,) = report.comparison
    assert found.ratio == pytest.approx(statistics.median(ratios))
    assert found.ratio_ci95 == pytest.approx((ratios[0], ratios[-1]))
    assert found.different == (ratios[0] > 1 or ratios[-1] < 1)
    assert found.rounds == 6
    assert (found.baseline, found.candidate) == tuple(
        result.artifact.sha256 for result in report.results
    )


def test_the_file_holds_the_report(pair):
    report, _, directory, _ = pair
    text = (directory / "r.result.json").read_bytes()
    assert msgspec.json.decode(text, type=BenchReport) == report
    assert json.loads(text)["schema"] == "edgekit.bench/1"


def test_a_manifest_stands_beside_the_report(pair):
    _, _, directory, _ = pair
    output = directory / "r.result.json"
    made = manifest.read(output)
    assert manifest.matches(output, made)
    assert (made.artifact.format, made.artifact.path) == ("bench", "r.result.json")
    artifacts = [directory / "fixed.tflite", directory / "varying.tflite"]
    assert (made.source, *made.parents) == tuple(hashing.file_ref(path) for path in artifacts)
    assert made.model_name == "fixed"


def test_an_unchanged_report_is_replaced_by_a_new_measurement_and_a_changed_one_is_not(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    output = tmp_path / "r.json"
    requests, reports = [], []
    for _ in range(2):
        benching.bench([artifact], budget_s=SHORT_S, output=output)
        requests.append(manifest.read(output).request_sha256)
        reports.append(output.read_bytes())
    assert requests[0] == requests[1]
    assert reports[0] != reports[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.tflite", "r.json", "r.json.edgekit.json",
    ]  # fmt: skip
    output.write_bytes(reports[1] + b" ")
    with pytest.raises(OutputError, match="add --force"):
        benching.bench([artifact], budget_s=SHORT_S, output=output)


def test_a_report_cannot_take_the_place_of_what_is_measured(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    write_manifest(artifact, "host")
    before = artifact.read_bytes()
    with pytest.raises(OutputError, match="is what is to be measured"):
        benching.bench([artifact], output=artifact, force=True)
    assert artifact.read_bytes() == before


@pytest.mark.parametrize("form", [str, Path])
def test_one_artifact_and_one_device_need_no_list(form, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    (result,) = benching.bench(form(artifact), budget_s=SHORT_S, devices="local").results
    assert (result.artifact.path, result.device.url) == (str(artifact), "local")


def test_what_manifests_claim_stands_beside_what_was_measured(tmp_path):
    first = tiny.dense_tflite(tmp_path / "first.tflite")
    second = tiny.dense_tflite(tmp_path / "second.tflite", None)
    write_manifest(first, "host", claims=(Claim("convert", "fp32", "host", 1.0, 1.0, 1.0),))
    impossible = Claim("convert", "int8", "host", 1000.0, 4.0, None)
    write_manifest(second, "host", claims=(impossible,))
    (compared,) = benching.bench([first, second], budget_s=SHORT_S).comparison
    assert compared.claim.claimed == Gain(1000.0, 4.0, None)
    assert compared.claim.measured.latency == pytest.approx(1 / compared.ratio)
    sizes = [path.stat().st_size for path in (first, second)]
    assert compared.claim.measured.raw_size == pytest.approx(sizes[0] / sizes[1])
    speed, size = compared.claim.shortfalls
    assert "expected was 1000× as fast" in speed
    assert "expected was 4.00× smaller" in size


def test_artifacts_that_infer_another_number_of_samples_are_not_compared(tmp_path):
    varying = tiny.dense_tflite(tmp_path / "varying.tflite", None)
    four = tiny.dense_tflite(tmp_path / "four.tflite", 4)
    report = benching.bench([varying, four], budget_s=SHORT_S)
    first, second = report.results
    assert report.comparison == ()
    assert not any("not compared" in text for text in first.warnings)
    assert f"not compared with {varying}: it infers 1 sample at once, this one 4" in second.warnings
    assert second.throughput_per_s == pytest.approx(4 / second.latency.median_s)


@pytest.mark.parametrize("roles", [("train", "test"), ("calib", "test")])
def test_how_val_came_about_is_not_told_since_bench_does_not_read_it(roles, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    arrays = {f"x_{role}": part for role, part in zip(roles, (x[:20], x[20:]), strict=True)}
    np.savez(tmp_path / "d.npz", y_test=tiny.dense(x[20:]).argmax(1), index=x, **arrays)
    (result,) = benching.bench(artifact, budget_s=SHORT_S, data=str(tmp_path / "d.npz")).results
    assert "ignored keys: index" in result.warnings
    assert not any(text.startswith(("val", "no val")) for text in result.warnings)


def test_the_budget_is_named_when_it_ends_the_measurement():
    observed = Observed(frames={})
    observed.replicates = [_Replicate(median) for median in (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)]
    found = bench_rounds.stopped(observed, Plan(30.0, 0.5, 4.0))
    assert found == "budget of 30 s used, interval ±20.0 %"
    observed.replicates = [_Replicate(1.0) for _ in range(6)]
    assert bench_rounds.stopped(observed, Plan(30.0, 0.5, 4.0)) == "interval within ±2 %"


class _Replicate:
    def __init__(self, median_s):
        self.median_s = median_s


def test_no_artifact_always_comes_first():
    orders = [order for order, _ in zip(bench_rounds._orders(3, seed=0), range(20), strict=False)]
    for at in range(3):
        places = [order.index(at) for order in orders]
        assert statistics.mean(places) == 1.0
    assert orders != [
        order for order, _ in zip(bench_rounds._orders(3, 1), range(20), strict=False)
    ]


@pytest.mark.parametrize(
    ("count", "budget_s", "least_s"), [(1, 30.0, 0.5), (6, 20.0, 0.1), (2, 0.01, 0.1)]
)
def test_processes_are_short_where_the_budget_is_small(count, budget_s, least_s):
    found = bench_rounds.plan(count, budget_s)
    assert found.least_s == pytest.approx(least_s)
    assert found.most_s >= found.least_s


def test_an_artifact_for_another_target_says_that_it_was_measured_here(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    write_manifest(artifact, "cortex-m7")
    (result,) = benching.bench([artifact], budget_s=SHORT_S).results
    assert (result.device.target, result.device.measured_here) == ("cortex-m7", True)
    assert result.artifact.precision == "fp32"
    assert any("made for cortex-m7 and measured on this machine" in w for w in result.warnings)


def test_the_manifests_preprocessing_is_used_and_another_one_warned_about(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    write_manifest(artifact, "host", data=DataRef("d", "", "mean=1,std=2"))
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    y = tiny.dense((x - 1) / 2).argmax(1)
    np.savez(tmp_path / "d.npz", x_test=x[:20], y_test=y[:20], x_calib=x[20:], x_val=x[20:])
    data = str(tmp_path / "d.npz")
    (recorded,) = benching.bench([artifact], budget_s=SHORT_S, data=data).results
    assert recorded.accuracy.value == 1.0
    (other,) = benching.bench([artifact], budget_s=SHORT_S, data=data, preprocess="none").results
    assert other.accuracy.value < 1.0
    assert any("manifest recorded mean=1,std=2" in text for text in other.warnings)


def test_the_linter_looks_at_the_data(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    np.savez(tmp_path / "d.npz", x=np.ones((40, 4), np.float32), y=np.arange(40) % 3)
    (result,) = benching.bench([artifact], budget_s=SHORT_S, data=str(tmp_path / "d.npz")).results
    assert any("identical" in text for text in result.warnings)


def test_operators_are_timed_where_openvino_tells_and_said_not_to_be_elsewhere(tmp_path):
    pytest.importorskip("openvino")
    ir = tiny.dense_ir(tmp_path / "m.xml")
    flat = tiny.dense_tflite(tmp_path / "m.tflite")
    found = benching.bench([ir, flat], budget_s=SHORT_S, profile_ops=True).results
    assert found[0].operators
    assert found[0].artifact.size_bytes == sum(
        path.stat().st_size for path in (ir, ir.with_suffix(".bin"))
    )
    assert found[0].environment["options"] == {"INFERENCE_PRECISION_HINT": "f32"}
    assert found[1].operators is None
    assert "litert does not tell the time per operator" in found[1].warnings


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.keras", b"x", "is a model, not an artifact"),
        ("m.txt", b"x", "is not an artifact that can be measured"),
        ("m.xml", b"x", "has no weights beside it"),
        ("m.tflite", b"", "LiteRT cannot load"),
        ("m.tflite", b"TFL3" * 40, "m.tflite"),
    ],
)
def test_what_cannot_be_measured_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        benching.bench([tmp_path / name], budget_s=SHORT_S)
    assert "\n" not in str(caught.value)


def test_a_model_is_told_which_conversion_leads_to_an_artifact(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"x")
    with pytest.raises(ModelError) as caught:
        benching.bench([tmp_path / "m.h5"])
    assert caught.value.fix.startswith(f"edgekit convert {tmp_path / 'm.h5'} --target host -o")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.tflite does not exist"):
        benching.bench([tmp_path / "gone.tflite"])


def test_an_artifact_that_changed_after_its_manifest_is_refused(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    write_manifest(artifact, "host")
    tiny.dense_tflite(artifact, None)
    with pytest.raises(UserError, match=r"is not the artifact that m\.tflite\.edgekit"):
        benching.bench([artifact])


def test_a_target_that_takes_another_format_is_refused(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    with pytest.raises(ProfileError, match="host-openvino takes openvino artifacts"):
        benching.bench([artifact], target="host-openvino")


def test_a_device_that_cannot_be_reached_yet_says_so(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    with pytest.raises(
        UserError, match="unknown device 'carrier-pigeon'; known: adb, local, qemu, ssh"
    ):
        benching.bench([artifact], devices=["carrier-pigeon://x"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 0}, "--threads 0"),
        ({"threads": 100_000}, "--threads 100000 is not in 1 to 1024"),
        ({"metric": "top0"}, "--metric 'top0'"),
        ({"metric": "top1"}, "--metric top1 was given without --data"),
        ({"preprocess": "none"}, "--preprocess none was given without --data"),
        ({"preprocess": "signd"}, "--preprocess 'signd'"),
        ({"budget_s": 0.0}, "--budget 0"),
        ({"budget_s": float("nan")}, "--budget nan"),
        ({"devices": ()}, "no device"),
    ],
)
def test_arguments_outside_their_range_are_usage_errors(changes, message, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match=message):
        benching.bench([artifact], **changes)
    with pytest.raises(UsageError, match="no artifact"):
        benching.bench([])


def test_what_stands_in_the_way_of_the_report_is_found_before_measuring(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    (tmp_path / "r.json").write_text("mine")
    said: list[str] = []
    with pytest.raises(OutputError, match="add --force"):
        benching.bench([artifact], output=tmp_path / "r.json", on_progress=said.append)
    assert not said
    assert (tmp_path / "r.json").read_text() == "mine"


def test_data_that_does_not_fit_is_found_before_measuring(tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    np.savez(tmp_path / "d.npz", x=np.ones((10, 9), np.float32), y=np.zeros(10, int))
    said: list[str] = []
    with pytest.raises(DataError):
        benching.bench([artifact], data=str(tmp_path / "d.npz"), on_progress=said.append)
    assert not said


def test_nothing_heavy_is_imported_to_bench():
    heavy = ("tensorflow", "keras", "tf_keras", "openvino", "nncf", "onnx", "ai_edge_litert")
    script = f"import sys, edgekit.benching; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
def test_no_process_is_left_however_bench_ends(number, tmp_path):
    artifact = tiny.dense_tflite(tmp_path / "m.tflite")
    script = f"from edgekit.benching import bench; bench([{str(artifact)!r}], on_progress=print)"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        process.stdout.readline()
        runners = _wait_for(lambda: _children(process.pid))
        process.send_signal(number)
        process.wait(timeout=60)
    assert runners
    assert _wait_for(lambda: not any(_is_running(pid) for pid in runners))


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(text) for text in found]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(condition):
    """The condition's first true answer within twenty seconds, else its last."""
    end = time.monotonic() + 20
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer
