"""What is shown of a step: the keys that make a difference to it, and no others."""

from __future__ import annotations

import pytest

from edgekit import step_settings
from edgekit.recipe_types import (
    ChannelsStep,
    ClusterStep,
    DistillStep,
    PruneStep,
    QuantizeStep,
    SimplifyStep,
)


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (QuantizeStep(), "mode ptq, precision int8, refine False"),
        (QuantizeStep(scheme="openvino"), "mode ptq, precision int8, refine False"),
        (
            QuantizeStep(scheme="openvino", refine=True),
            "mode ptq, precision int8, refine True, scheme openvino",
        ),
        (QuantizeStep(refine=True, learning_rate=0.1), "mode ptq, precision int8, refine True"),
        (
            QuantizeStep(mode="qat"),
            "mode qat, precision int8, engine own, temperature 4.0, weight 0.9, epochs 5",
        ),
        (
            QuantizeStep(mode="qat", weight=0, learning_rate=0.1),
            "mode qat, precision int8, engine own, weight 0, epochs 5, learning_rate 0.1",
        ),
        (
            QuantizeStep(mode="qat", engine="tfmot"),
            "mode qat, precision int8, engine tfmot, epochs 5",
        ),
        (
            PruneStep(0.5, epochs=0),
            "sparsity 0.5, pattern unstructured, scope layer, engine own, epochs 0",
        ),
        (
            PruneStep(0.5, engine="tfmot"),
            (
                "sparsity 0.5, schedule polynomial, pattern unstructured, scope layer,"
                " engine tfmot, epochs 10"
            ),
        ),
        (ClusterStep(16, epochs=0), "clusters 16, init density, engine own, epochs 0"),
        (
            ClusterStep(16, patience=2),
            (
                "clusters 16, init density, engine own, temperature 4.0, weight 0.9, epochs 10,"
                " patience 2"
            ),
        ),
        (ChannelsStep(ratio=0.5), "ratio 0.5, criterion l1, scope layer, iterations 1"),
        (
            ChannelsStep(ratio=0.5, iterations=3),
            "ratio 0.5, criterion l1, scope layer, iterations 3, epochs 1",
        ),
        (DistillStep(), "temperature 4.0, weight 0.9, features False, epochs 10"),
        (SimplifyStep(), "for_inference True"),
    ],
)
def test_only_keys_that_say_something_are_shown(step, shown):
    assert step_settings.line(step) == shown
