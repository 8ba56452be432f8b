"""Which engines run on which devices, by NVIDIA's support matrix."""

from __future__ import annotations

import pytest

from edgekit.targets.runner import tensorrt_layers, tensorrt_match
from edgekit.targets.runner.protocol import RunnerError

L4 = {
    "os": "Linux", "arch": "x86_64", "compute_capability": "8.9", "gpu": "NVIDIA L4",
    "tensorrt": "10.9.0.34",
}  # fmt: skip
PLAIN = {"hardware_compatible": False, "version_compatible": False}


def runs(built, now):
    try:
        tensorrt_match.check({**L4, **PLAIN, **built}, {**L4, **now})
    except RunnerError:
        return False
    return True


@pytest.mark.parametrize(
    ("built", "now", "expected"),
    [
        ({}, {}, True),
        ({}, {"tensorrt": "10.9.0.99"}, True),
        ({}, {"tensorrt": "10.9.1"}, False),
        ({}, {"compute_capability": "8.6"}, False),
        ({"hardware_compatible": True}, {"compute_capability": "8.6"}, True),
        ({"hardware_compatible": True}, {"compute_capability": "12.0"}, True),
        ({"hardware_compatible": True}, {"compute_capability": "7.5"}, False),
        ({"version_compatible": True}, {"tensorrt": "10.16.1"}, True),
        ({"version_compatible": True}, {"tensorrt": "11.4.0"}, True),
        ({"version_compatible": True}, {"tensorrt": "10.3.0"}, False),
        ({"version_compatible": True, "tensorrt": "8.6.1"}, {"tensorrt": "11.4.0"}, False),
        ({"version_compatible": True, "hardware_compatible": True}, {"arch": "aarch64"}, False),
    ],
)
def test_an_engine_runs_where_the_support_matrix_says(built, now, expected):
    assert runs(built, now) == expected


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ("Row major linear FP32", "fp32"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Row major linear Int32", "int32"),
        ("Row major linear BFloat16 format", "bf16"),
        ("Half", "fp16"),
        ("Float", "fp32"),
        ("FP8", "fp8"),
        ("N/A due to dynamic shapes", None),
    ],
)
def test_a_tensors_format_tells_its_precision(described, expected):
    assert tensorrt_layers.precision(described) == expected


def test_without_details_layers_have_names_alone():
    found = tensorrt_layers.read('{"Layers": ["dense", "softmax"], "Bindings": ["in"]}')
    assert [layer["name"] for layer in found] == ["dense", "softmax"]
    assert {layer["precision"] for layer in found} == {None}
