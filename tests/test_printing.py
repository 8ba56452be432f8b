"""What the tables say: figures with their units and intervals, and nothing beyond the width."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.console import RenderableType

from edgekit import (
    hardware,
    printing,
    printing_bench,
    printing_compress,
    printing_convert,
    printing_inspect,
    printing_profiles,
)
from edgekit.inspect_types import (
    Finding,
    InspectReport,
    RecipeFindings,
    StepFindings,
    TargetFindings,
)
from edgekit.manifest_types import (
    ArtifactInfo,
    Calibration,
    CalibrationCandidate,
    Manifest,
    Parity,
    Rung,
    Step,
)
from edgekit.profile_types import Gain, ProfileList, ProfileRef, ProfileReport
from edgekit.recipe_types import Claim, Removal
from edgekit.result_types import (
    BenchReport,
    ClaimCheck,
    ColdStart,
    Comparison,
    Delegate,
    DeviceInfo,
    Latency,
    Memory,
    OperatorTime,
    Result,
)
from edgekit.types import Accuracy, FileRef, LayerInfo, ModelInfo, TensorSpec

LATENCY = Latency(
    median_s=250e-6, ci95_s=(248e-6, 251e-6), p90_s=260e-6, p99_s=None, min_s=240e-6, runs=5000,
    processes=7, cpu_median_s=249e-6, contended=False, stopped="interval within 2 %",
)  # fmt: skip


def result(path: str, sha256: str, latency: Latency = LATENCY, **other: object) -> Result:
    made = Result(
        artifact=ArtifactInfo(path, sha256, "tflite", "fp32", 318_144, 292_000),
        device=DeviceInfo("local", "host", "x86_64", "A CPU", 2, threads=1, measured_here=True),
        latency=latency,
        throughput_per_s=4000.0,
        cold_start=ColdStart(0.3, 0.002, 0.001),
        memory=Memory(3_200_000, None),
        accuracy=Accuracy("top1", 0.881, (0.8745, 0.8871), 10_000),
        delegate=Delegate("XNNPACK", 3, 3),
    )
    return msgspec.structs.replace(made, **other)


FLOAT = result("build/m.tflite", "a")
INT8 = result(
    "build/m_int8.tflite",
    "b",
    msgspec.structs.replace(LATENCY, median_s=80e-6, cpu_median_s=78e-6, contended=True),
    accuracy=None,
    warnings=("data: one class only",),
)
COMPARISON = Comparison("a", "b", "local", 0.3125, (0.31, 0.32), different=True, rounds=7)
REPORT = BenchReport("edgekit.bench/1", (FLOAT, INT8), (COMPARISON,))

MANIFEST = Manifest(
    versions={},
    command=(),
    request_sha256="",
    seed=0,
    artifact=ArtifactInfo("m.tflite", "x", "tflite", "int8", 98_496, 80_000),
    source=FileRef("m.h5", "s", 3),
    model_name="m",
    profile=ProfileRef("host", "d"),
    inputs=(TensorSpec("image", (1, 32, None, 3), "int8", 1.0, -128),),
    outputs=(TensorSpec("probabilities", (1, 10), "float32"),),
    calibration=Calibration(
        200,
        0,
        "min-max",
        (CalibrationCandidate("min-max", 31.23), CalibrationCandidate("mse", None, "it failed")),
    ),
    parity=Parity(20, True, 0.031, 0.052, 31.2, "sqnr_db >= -0.5", 0.985),
    accuracy=Accuracy("top1", 0.878, (0.8714, 0.8843), 10_000),
    source_accuracy=Accuracy("top1", 0.881, None, 10_000),
    ladder=(Rung("min-max", "holds", Accuracy("top1", 0.88, None, 100), 0.001),),
    float_layers=("dense_1",),
    warnings=("int8 is slower here",),
)
INSPECTED = InspectReport(
    "edgekit.inspect/1",
    ModelInfo(
        path="m.keras",
        format="keras",
        sha256="0" * 64,
        size_bytes=157_000,
        inputs=(TensorSpec("image", (None, 8, 8, 1), "float32"),),
        outputs=(TensorSpec("class", (None, 10), "float32"),),
        layers=(
            LayerInfo("conv", "Conv2D", (None, 6, 6, 8), 80, 2592),
            LayerInfo("odd", "Odd", None, 0, None),
        ),
        parameters=75_866,
        macs=12_500_000,
        generation="keras3",
        uncounted=("Odd",),
    ),
    (
        TargetFindings("host", "fp32", ()),
        TargetFindings("cortex-m7", "int8", (Finding("odd", "no kernel", "replace it"),)),
    ),
)


CLAIM = ClaimCheck(
    "host",
    Gain(2.16, None, 3.55),
    Gain(0.725, 3.29, 3.72),
    macs=4.0,
    shortfalls=("expected was 2.16×",),
)
CLAIMED = msgspec.structs.replace(
    REPORT, comparison=(msgspec.structs.replace(COMPARISON, claim=CLAIM),)
)
EXPLAINED_STEP = StepFindings(
    "channels",
    "ratio 0.5",
    applies=(Removal("conv", "Conv2D", 4, 4, "least important by l1"),),
    stays=(Removal("odd", "Odd", None, None, "it is not known"),),
    findings=(Finding(None, "too large", "make it smaller"),),
    notes=("rounded up",),
    claim=Claim("channels", "channels", "host", 3.0, sources={"latency": "measured: m"}),
)
EXPLAINED = msgspec.structs.replace(
    INSPECTED,
    recipe=RecipeFindings("half", "Half of them", "0" * 64, "host", (EXPLAINED_STEP,)),
)


def shown(rendered: RenderableType) -> str:
    return printing.render(rendered)


def words(rendered: RenderableType) -> str:
    """The text with its line breaks folded."""
    return " ".join(shown(rendered).split())


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize(
    "rendered",
    [
        printing_bench.bench(REPORT, detailed=True),
        printing_convert.convert(MANIFEST, Path("build/m.tflite")),
        printing_inspect.inspect(INSPECTED),
        printing_bench.bench(CLAIMED),
        printing_inspect.inspect(EXPLAINED),
    ],
    ids=["bench", "convert", "inspect", "claims", "recipe"],
)
def test_nothing_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, rendered: RenderableType, width: int
) -> None:
    monkeypatch.setattr(printing, "WIDTH_WITHOUT_TERMINAL", width)
    lines = shown(rendered).splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)
    assert "…" not in "".join(lines), "nothing is cut off"


def test_bench_shows_figures_with_their_intervals() -> None:
    text = words(printing_bench.bench(REPORT))
    for part in (
        "local (this machine): A CPU, x86_64, 1 thread", "318 kB", "292 kB", "88.10 %",
        "[87.45, 88.71]", "250 µs", "[248, 251]", "3.20 MB", "top1, n = 10000",
        "5000 runs in 7 processes", "kB = 1000 bytes",
        "warning: build/m_int8.tflite: data: one class",
    ):  # fmt: skip
        assert part in text, part


def test_the_speed_up_is_the_measured_ratio_turned_over() -> None:
    text = words(printing_bench.bench(REPORT))
    assert "3.20×" in text  # 1 / 0.3125
    assert "[3.12, 3.23]" in text  # 1 / 0.32, 1 / 0.31


def test_no_speed_up_is_claimed_where_the_interval_includes_1() -> None:
    same = msgspec.structs.replace(COMPARISON, ratio=0.9, ratio_ci95=(0.8, 1.1), different=False)
    text = words(printing_bench.bench(msgspec.structs.replace(REPORT, comparison=(same,))))
    assert "same" in text
    assert "×" not in text


def test_a_contended_latency_shows_cpu_time_and_says_so() -> None:
    text = words(printing_bench.bench(REPORT))
    assert "78.0 µs*" in text
    assert "wall 80.0 µs" in text
    assert "contended" in text


def test_what_was_not_measured_is_a_dash_with_its_reason() -> None:
    failed = msgspec.structs.replace(
        LATENCY, median_s=None, ci95_s=None, cpu_median_s=None, contended=None, why="it crashed"
    )
    one = result("m.tflite", "a", failed, memory=Memory(None, None), accuracy=None, complete=False)
    text = shown(printing_bench.bench(BenchReport("edgekit.bench/1", (one,))))
    assert text.splitlines()[4].split()[-3:] == ["–", "–", "–"]
    assert "warning: no latency: it crashed" in text
    assert "within ±2 %" not in text
    assert "interrupted before its end" in text
    assert "not measured (no --data)" in text


def test_what_a_result_says_of_foreign_hardware_is_said_once() -> None:
    device = msgspec.structs.replace(FLOAT.device, target="cortex-m7")
    warning = "made for cortex-m7 and measured on this machine"
    one = msgspec.structs.replace(FLOAT, device=device, warnings=(warning,))
    text = words(printing_bench.bench(BenchReport("edgekit.bench/1", (one,))))
    assert text.count("made for cortex-m7") == 1
    assert f"warning: {warning}" in text


def test_a_warning_of_every_artifact_is_told_once_and_without_their_names() -> None:
    note = "ignored keys: index"
    told = [
        result("a.tflite", "a", warnings=(note, "slow", "odd")),
        result("b.tflite", "b", warnings=(note, "slow")),
        result("c.tflite", "c", warnings=(note,)),
    ]
    lines = shown(printing_bench.bench(BenchReport("edgekit.bench/1", tuple(told)))).splitlines()
    assert [line for line in lines if line.startswith("warning")] == [
        f"warning: {note}", "warning: a.tflite, b.tflite: slow", "warning: a.tflite: odd",
    ]  # fmt: skip


def _wide(name: str, share: float) -> Result:
    """An artifact whose interval stayed at ±share of its median."""
    interval = (250e-6 * (1 - share), 250e-6 * (1 + share))
    stopped = f"budget of 20 s used, interval ±{share * 100:.1f} %"
    return result(name, name, msgspec.structs.replace(LATENCY, ci95_s=interval, stopped=stopped))


def _legend_of_latency(*results: Result) -> list[str]:
    lines = shown(printing_bench.bench(BenchReport("edgekit.bench/1", results))).splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("latency "))
    end = next(at for at, line in enumerate(lines) if line.startswith("memory "))
    return [line.removeprefix("latency").strip() for line in lines[start:end]]


def test_the_legend_names_the_artifacts_whose_intervals_stayed_wide() -> None:
    assert _legend_of_latency(FLOAT) == ["5000 runs in 7 processes each; intervals within ±2 %"]
    assert _legend_of_latency(result("a.tflite", "a"), _wide("digits-int8.tflite", 0.182)) == [
        "5000 runs in 7 processes each; others within ±2 %",
        "digits-int8.tflite: budget of 20 s used, interval ±18.2 %",
    ]


def test_the_legend_of_many_wide_intervals_has_four_lines() -> None:
    shares = (0.05, 0.2, 0.1, 0.04, 0.3)
    assert _legend_of_latency(*(_wide(f"{share}.tflite", share) for share in shares)) == [
        "5000 runs in 7 processes each",
        "0.3.tflite: budget of 20 s used, interval ±30.0 %",
        "0.2.tflite: budget of 20 s used, interval ±20.0 %",
        "3 more: interval up to ±10.0 %",
    ]


def test_what_was_expected_stands_beside_what_was_measured() -> None:
    text = words(printing_bench.bench(CLAIMED))
    assert "2.16× → 0.725×" in text
    assert "? → 3.29×" in text
    assert "3.55× → 3.72×" in text
    assert "× 0.250" in text
    assert "edgekit profiles show host" in text
    assert "warning: build/m_int8.tflite: expected was 2.16×" in text


def test_operators_are_listed_by_their_time() -> None:
    operators = (
        OperatorTime("a", "ADD", "XNNPACK", 1e-6),
        OperatorTime("b", "CONV_2D", "XNNPACK", 3e-6),
    )
    one = msgspec.structs.replace(FLOAT, operators=operators)
    text = words(printing_bench.bench(BenchReport("edgekit.bench/1", (one,))))
    assert text.index("CONV_2D") < text.index("ADD")
    assert "3.00 µs" in text
    assert "75.0 %" in text


@pytest.mark.parametrize("name", ["[bold]m.tflite", ":smile:.tflite", "a\x1b[31mb.tflite"])
def test_a_file_name_is_shown_as_it_is_and_steers_nothing(name: str) -> None:
    text = shown(printing_bench.bench(BenchReport("edgekit.bench/1", (result(name, "a"),))))
    assert name.replace("\x1b", "\\x1b") in text
    assert "\x1b" not in text


def test_convert_shows_the_evidence() -> None:
    text = words(printing_convert.convert(MANIFEST, Path("build/m.tflite")))
    for part in (
        "build/m.tflite (98.5 kB, gzip 80.0 kB)", "build/m.tflite.edgekit.json",
        "tflite int8 for host", "image [1, 32, ?, 3] int8, real = 1 · (q + 128)",
        "probabilities [1, 10] float32", "min-max, on 200 samples (seed 0)", "31.2 dB chosen",
        "why not", "mse – it failed",
        "31.2 dB on 20 real samples largest error",
        "largest error 0.052 of the range, same class 98.5 %",
        "top1 88.10 % → 87.80 % [87.14, 88.43], n = 10000", "kept float dense_1", "holds",
        "warning: int8 is slower here",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("kept", "refined_db", "figures", "said"),
    [
        ("refined", 32.31, "refined 32.3 dB against plain 31.2 dB", "step): kept"),
        ("plain", 30.08, "refined 30.1 dB against plain 31.2 dB", "no better, the model stays"),
    ],
)
def test_compress_says_whether_refined_int8_was_kept_and_by_what(
    kept: str, refined_db: float, figures: str, said: str
) -> None:
    report = {
        "kept": kept, "sqnr_db": refined_db, "plain_sqnr_db": 31.16, "choosing": 64, "judging": 60,
    }  # fmt: skip
    steps = (
        Step("source", {"precision": "fp32", "accuracy_role": None}),
        Step("quantize", {"precision": "int8", "refined": report}),
    )
    made = msgspec.structs.replace(MANIFEST, steps=steps)
    text = words(printing_compress.compress(made, Path("m.keras")))
    assert f"int8 {figures} on 60 held-back samples (64 others" in text
    assert said in text


def test_a_calibration_without_failures_has_no_column_for_them() -> None:
    found = (CalibrationCandidate("min-max", 200.0), CalibrationCandidate("mse", -3.21))
    made = msgspec.structs.replace(MANIFEST, calibration=Calibration(20, 0, "min-max", found))
    text = words(printing_convert.convert(made, Path("m.tflite")))
    assert "why not" not in text
    assert "min-max identical chosen" in text
    assert "mse −3.2 dB" in text


def test_a_long_reason_of_a_failed_calibration_wraps_in_its_own_column() -> None:
    reason = "the range of layer block_3 is empty " * 6
    found = (CalibrationCandidate("min-max", 31.2), CalibrationCandidate("mse", None, reason))
    made = msgspec.structs.replace(MANIFEST, calibration=Calibration(20, 0, "min-max", found))
    lines = shown(printing_convert.convert(made, Path("m.tflite"))).splitlines()
    start = next(line for line in lines if "why not" in line).index("why not")
    reasons = [line for line in lines if "empty" in line]
    assert len(reasons) > 1
    assert all(line[start - 1] == " " and line[start] != " " for line in reasons)


def test_the_parity_of_a_float_artifact_says_what_its_error_may_be() -> None:
    near = Parity(200, False, 1e-7, 1e-7, 200.0, "max_rel <= 0.001")
    made = msgspec.structs.replace(MANIFEST, parity=near)
    text = words(printing_convert.convert(made, Path("m.tflite")))
    assert "identical on 200 generated samples largest error 1e-7 of the range" in text
    assert "of the range (allowed: 0.001)" in text


def test_inspect_shows_layers_and_what_each_target_says() -> None:
    text = words(printing_inspect.inspect(INSPECTED))
    for part in (
        "keras, keras3", "157 kB", "image [?, 8, 8, 1] float32", "75,866", "12.5 M for one sample",
        "conv Conv2D [?, 6, 6, 8] 80 2.59 k", "odd Odd –", "host, fp32: nothing stands in the way",
        "cortex-m7, int8", "odd error no kernel", "replace it",
        "warning: the MACs leave out layers that no rule covers: Odd",
    ):  # fmt: skip
        assert part in text, part


def test_inspect_shows_equal_problems_once_with_their_number_and_a_verdict() -> None:
    zero = [Finding(f"q{at}", f"a zero point that is not 0 ({at})", "do") for at in range(1, 41)]
    other = Finding("bias", "an int32 input (7)", "do")
    told = TargetFindings("nvidia-t4", "int8", (*zero, other))
    report = msgspec.structs.replace(INSPECTED, targets=(told,))
    lines = printing.render(printing_inspect.inspect(report))
    assert lines.count("zero point") == 1
    text = words(printing_inspect.inspect(report))
    for part in (
        "q1 error 40 × a zero point that is not 0 q2 do q3 and 37 more",
        "bias error an int32 input (7)",
        "nvidia-t4 does not run it as it is: 41 problems",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        (("cpu", "cpu"), "it, 2 layers on the CPU beside the accelerator"),
        (("cpu", "unknown"), "may run it: 1 question left open until it is converted"),
        (("cpu", "error"), "does not run it as it is: 1 problem"),
    ],
)
def test_the_verdict_on_a_target_follows_the_worst_finding(severities, verdict) -> None:
    found = tuple(Finding(f"l{at}", "p", "f", one) for at, one in enumerate(severities))
    report = msgspec.structs.replace(INSPECTED, targets=(TargetFindings("npu-1", "int8", found),))
    assert verdict in words(printing_inspect.inspect(report))


def test_inspect_shows_the_opset_as_a_fact() -> None:
    model = msgspec.structs.replace(INSPECTED.model, opset="ai.onnx 18")
    text = words(printing_inspect.inspect(InspectReport("edgekit.inspect/1", model)))
    assert "opset ai.onnx 18" in text
    assert "warning: opset" not in text


def test_inspect_shows_what_a_recipe_would_do_layer_by_layer() -> None:
    text = words(printing_inspect.inspect(EXPLAINED))
    for part in (
        "recipe half for host: Half of them", "1. channels ratio 0.5", "goes: 4 of 8", "stays",
        "it is not known", "make it smaller", "rounded up", "3.00× as fast (measured: m)",
    ):  # fmt: skip
        assert part in text


def test_a_profile_shows_every_figure_with_its_source() -> None:
    profile = hardware.load("cortex-m7")
    report = ProfileReport(
        "edgekit.profile-report/1", profile, hardware.reference("cortex-m7"), convertible=True
    )
    text = words(printing_profiles.profile(report))
    assert "480 MHz" in text
    for origin in set(profile.sources.values()):
        assert origin.split()[0] in text
    assert f"[{len(set(profile.sources.values()))}]" in text


def test_a_profile_whose_format_no_converter_writes_says_that_none_is_installed() -> None:
    profile = msgspec.structs.replace(hardware.load("cortex-m7"), format="engines")
    report = ProfileReport(
        "edgekit.profile-report/1", profile, hardware.reference("cortex-m7"), convertible=False
    )
    assert "no converter is installed" in words(printing_profiles.profile(report))
    assert "not installed" in words(
        printing_profiles.listing(ProfileList("edgekit.profiles/1", (profile,)))
    )


def test_json_is_what_msgspec_reads_back() -> None:
    assert msgspec.json.decode(printing.to_json(REPORT), type=BenchReport) == REPORT
    assert printing.to_json(REPORT).endswith("}\n")
