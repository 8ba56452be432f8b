"""The profiles that ship: every one loads, and every figure in them has a source."""

import re
import tomllib
from pathlib import Path

import pytest

from edgekit import hardware, profiles
from edgekit.profile_checks import leaves
from edgekit.profile_types import Gain, Hardware

PROMISED = (
    "host", "host-openvino", "host-onnxruntime",
    "raspberry-pi-zero-2w", "raspberry-pi-4", "raspberry-pi-5", "linux-arm64", "android-arm64",
    "x86-64-avx2", "x86-64-vnni",
    "intel-core-ultra-cpu", "intel-core-ultra-gpu", "intel-core-ultra-npu",
    "jetson-orin-nano", "jetson-agx-orin",
    "nvidia-t4", "nvidia-l4", "nvidia-h200", "nvidia-rtx-4090",
    "coral-edgetpu", "cortex-m4", "cortex-m7", "cortex-m55", "esp32-s3",
    "cortex-m55-ethos-u55-128", "imx93-ethos-u65-256", "corstone-320-ethos-u85-256",
)  # fmt: skip
DIRECTORY = Path(profiles.__file__).parent
FILES = sorted(DIRECTORY.glob("*.toml"))
FIGURES = re.compile(
    r"hardware\.\w+_(hz|bytes)|hardware\.cores|gain\.[^.]+\.\w+|tensorrt\.\w+|ethos_u\.\w+"
    r"|precision\.per_tensor|ops\.(allowed|accelerated|max_version.*)|channel_multiple"
)


def table(path: Path) -> dict:
    return tomllib.loads(path.read_text())


def test_every_promised_profile_ships_and_no_other():
    assert {path.stem for path in FILES if not path.name.startswith("_")} == set(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_it_loads_under_the_name_of_its_file(name):
    profile = hardware.load(name)
    assert profile.name == name
    assert profile.precision.default in profile.precision.supported
    assert profile.source.startswith("https://")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_figure_has_a_source_in_the_same_file(path):
    given = table(path)
    sources = given.pop("sources", {})
    figures = [key for key in leaves(given) if FIGURES.fullmatch(key)]
    assert set(figures) == set(sources)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_source_is_a_url_or_says_what_was_measured(path):
    for text in table(path).get("sources", {}).values():
        assert "https://" in text or text.startswith(("measured: ", "by definition: "))
        assert not re.search(r"(^|\s)/\w+/", text), "a path of somebody's machine"


@pytest.mark.parametrize(
    ("target", "key", "before", "after"),
    [
        ("host-openvino", "fp16.raw_size", "13,960,656", "7,051,618"),
        ("host-openvino", "fp16.zipped_size", "291,451", "146,891"),
        ("host-openvino", "int8.raw_size", "13,960,656", "3,829,771"),
        ("host-openvino", "int8.zipped_size", "291,451", "75,976"),
        ("cortex-m7", "int8.raw_size", "13,924,564", "3,996,112"),
        ("cortex-m7", "int8.zipped_size", "142 kB", "40 kB"),
        ("cortex-m7", "channels.raw_size", "13,921,760", "4,853,172"),
        ("cortex-m7", "channels.zipped_size", "12,766,398", "4,432,664"),
        ("host", "fp16.latency", "6.7 ms", "6.7 ms"),
        ("host", "int8.latency", "6.7 ms", "3.1 ms"),
        ("host", "int8-dynamic.latency", "6.7 ms", "13 ms"),
        ("host", "int4-weight.latency", "6.7 ms", "19 ms"),
        ("host", "int16x8.latency", "6.7 ms", "214 ms"),
        ("host", "channels.latency", "6.7 ms", "2.0 ms"),
        ("host", "channels.raw_size", "13,921,760", "4,853,172"),
        ("host", "channels.zipped_size", "12,766,398", "4,432,664"),
        ("host", "fp16.raw_size", "13,924,564", "6,995,872"),
        ("host", "int8.raw_size", "13,924,564", "3,996,112"),
        ("host", "int8-dynamic.raw_size", "13,924,564", "3,733,184"),
        ("host", "int8-weight.raw_size", "13,924,564", "3,743,904"),
        ("host", "int4-weight.raw_size", "13,924,564", "2,142,464"),
        ("host", "int16x8.raw_size", "13,924,564", "4,064,496"),
        ("host", "int8.zipped_size", "142 kB", "40 kB"),
        ("host", "int4-weight.zipped_size", "142 kB", "20 kB"),
        ("host", "prune.raw_size", "45 kB", "45 kB"),
        ("host", "prune.zipped_size", "40 kB", "16 kB"),
    ],
)
def test_a_measured_gain_is_the_ratio_of_the_figures_in_its_source(target, key, before, after):
    profile = hardware.load(target)
    technique, figure = key.split(".")
    source = profile.sources[f"gain.{key}"]
    assert before in source
    assert after in source
    first, second = (float(re.sub(r"[ ,a-zA-Z]", "", text)) for text in (before, after))
    assert getattr(profile.gain[technique], figure) == pytest.approx(first / second, rel=0.01)


@pytest.mark.parametrize("name", [name for name in PROMISED if name.startswith("host")])
def test_this_machine_has_no_fixed_hardware_figures(name):
    assert hardware.load(name).hardware == Hardware()


def test_the_float_baseline_gains_nothing():
    assert hardware.load("host").gain["fp32"] == Gain(1.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m7", "cortex-m55", "esp32-s3"])
def test_microcontrollers_take_int8_with_int8_inputs_and_a_static_batch(name):
    profile = hardware.load(name)
    rules = profile.precision
    assert rules.supported == ("int8",)
    assert (rules.input_type, rules.output_type) == ("int8", "int8")
    assert profile.static_batch_only
    assert {"CONV_2D", "FULLY_CONNECTED", "UNIDIRECTIONAL_SEQUENCE_LSTM"} <= set(
        profile.ops.allowed
    )
    assert "GELU" not in profile.ops.allowed


def test_an_ethos_u_beside_a_microcontroller_knows_both_lists():
    profile = hardware.load("cortex-m55-ethos-u55-128")
    assert (profile.format, profile.runtime, profile.kind) == ("ethos_u", "ethos-u", "npu")
    assert "GELU" in profile.ops.accelerated
    assert "DEQUANTIZE" in profile.ops.allowed
    assert "DEQUANTIZE" not in profile.ops.accelerated


def test_a_linux_cpu_beside_the_npu_limits_no_operator():
    assert hardware.load("imx93-ethos-u65-256").ops.allowed is None
