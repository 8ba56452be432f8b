"""What `convert` says of a model that was trained for another int8 than the target's."""

from __future__ import annotations

import pytest

from edgekit import hardware, trained_ranges
from edgekit.manifest_types import Quantization


def recorded(scheme: str, *per_tensor: str) -> Quantization:
    return Quantization(
        scheme=scheme, mode="qat", precision="int8", per_tensor=per_tensor, ranges={},
        float_layers={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "scheme"),
    [("host", "litert"), ("host-openvino", "openvino"), ("nvidia-t4", "tensorrt")],
)
def test_a_target_has_the_int8_of_its_runtime(target, scheme):
    profile = hardware.load(target)
    assert hardware.scheme(profile) == scheme
    assert not trained_ranges.other_int8(recorded(scheme), scheme, ())


def test_int8_of_another_runtime_is_warned_of():
    (said,) = trained_ranges.other_int8(recorded("litert"), "tensorrt", ())
    assert "trained for int8 as litert has it, and this target's is tensorrt" in said


def test_other_scales_of_weights_are_warned_of():
    (said,) = trained_ranges.other_int8(recorded("litert"), "litert", ("FULLY_CONNECTED",))
    assert "(FULLY_CONNECTED)" in said
