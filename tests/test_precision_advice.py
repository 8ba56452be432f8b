"""What is advised to a user in place of a precision: only what the target runs."""

from __future__ import annotations

import pytest

from edgekit import emission_plan, hardware, precision_advice


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("host", ", or use --precision int8-dynamic"),
        ("host-openvino", ", or use --precision int8-weight"),
        ("nvidia-t4", ", or use --precision fp16"),
        ("cortex-m7", ""),
    ],
)
def test_what_needs_no_data_is_named_if_the_target_runs_it(target, advice):
    assert precision_advice.without_data(hardware.load(target)) == advice


@pytest.mark.parametrize(
    ("target", "tried", "advice"),
    [
        ("nvidia-t4", "int8", "use --precision fp16, "),
        ("host", "int8", "use --precision int8-weight, "),
        ("host", "int4-weight", "use --precision int8-weight, "),
        ("host", "fp16", "use --precision fp32, "),
        ("host", "fp32", ""),
        ("cortex-m7", "int8", ""),
    ],
)
def test_a_precision_that_loses_less_is_named_if_the_target_runs_it(target, tried, advice):
    assert precision_advice.more_accurate(hardware.load(target), tried) == advice


@pytest.mark.parametrize(
    ("target", "precision", "types"),
    [
        ("cortex-m55-ethos-u55-128", "int8", ("int8", "int8")),
        ("cortex-m55-ethos-u55-128", "int16x8", ("int16", "int16")),
        ("host", "int16x8", ("float32", "float32")),
    ],
)
def test_inputs_and_outputs_fit_the_precision_unless_types_are_named(target, precision, types):
    profile = hardware.load(target)
    assert emission_plan.io_types(profile, precision, None, None, None) == types
    assert emission_plan.io_types(profile, precision, None, "int8", None)[0] == "int8"
