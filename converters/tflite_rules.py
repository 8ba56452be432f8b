"""What LiteRT Quantizer is told to do at each precision."""

from __future__ import annotations

from typing import Any

from litert_quantizer import recipe

from edgekit.converters import tflite_graph

WEIGHT_METHODS = {"minmax": "min_max_uniform_quantize", "mse": "MSE", "octav": "OCTAV"}

_FLOAT16 = [
    {
        "regex": ".*",
        "operation": "*",
        "algorithm_key": "float_casting",
        "op_config": {
            "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
        },
    }
]


def rules(
    precision: str, method: str | None, per_tensor: list[str], float_layers: list[str]
) -> list[dict[str, Any]]:
    """A recipe of LiteRT Quantizer; of several rules for an operator the last one holds.

    Args:
        precision: One of edgekit.types.PRECISIONS but fp32.
        method: How scales of int4 weights are chosen, a key of WEIGHT_METHODS.
        per_tensor: Operators whose int8 weights get one scale; "*" for all.
        float_layers: Operators to keep in float, by output tensor name.
    """
    kept = [
        {"regex": tflite_graph.scope_regex(name), "operation": "*", "algorithm_key": "no_quantize"}
        for name in float_layers
    ]
    return _of_precision(precision, method, per_tensor) + kept


def _of_precision(
    precision: str, method: str | None, per_tensor: list[str]
) -> list[dict[str, Any]]:
    if precision == "fp16":
        return list(_FLOAT16)
    if precision == "int4-weight":
        found = recipe.weight_only_wi4_afp32(algorithm_key=WEIGHT_METHODS[method or "minmax"])
    else:
        made = {
            "int8": recipe.static_wi8_ai8,
            "int16x8": recipe.static_wi8_ai16,
            "int8-dynamic": recipe.dynamic_wi8_afp32,
            "int8-weight": recipe.weight_only_wi8_afp32,
        }
        found = made[precision]()
    return [*found, *(_one_scale(rule, operator) for rule in found for operator in per_tensor)]


def _one_scale(rule: dict[str, Any], operator: str) -> dict[str, Any]:
    """The same rule for one operator, whose weights get one scale."""
    config = rule["op_config"]
    weights = {**config["weight_tensor_config"], "granularity": "TENSORWISE"}
    return {**rule, "operation": operator, "op_config": {**config, "weight_tensor_config": weights}}
