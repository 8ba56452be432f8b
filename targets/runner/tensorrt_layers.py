"""The engine inspector's JSON as a list of layers: what ran together, and in which precision.

The inspector has no field for it: the precision is that in which a layer takes its first input,
read from the words that TensorRT describes a tensor's format with.
"""

from __future__ import annotations

import json
import re
from typing import Any, Optional

_PRECISIONS = (
    (r"fp8|e4m3", "fp8"), (r"fp4|e2m1", "fp4"), (r"int4", "int4"), (r"int8", "int8"),
    (r"bf16|bfloat16", "bf16"), (r"fp16|half", "fp16"), (r"fp32|float", "fp32"),
    (r"int32", "int32"), (r"int64", "int64"), (r"bool", "bool"),
)  # fmt: skip
_KNOWN = [(re.compile(pattern), name) for pattern, name in _PRECISIONS]


def read(text: str) -> list[dict[str, Any]]:
    """Layers in the order in which they run.

    Args:
        text: `get_engine_information` in JSON; with detailed verbosity a layer is an object, else
            no more than its name.
    """
    found = json.loads(text)
    return [_layer(entry) for entry in found.get("Layers", [])]


def precision(described: str) -> Optional[str]:
    """The element type in a tensor's format, as "Row major linear FP32"; None for none known."""
    for pattern, name in _KNOWN:
        if pattern.search(described.lower()):
            return name
    return None


def _layer(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        return {"name": str(entry), "kind": None, "precision": None, "output": None, "tactic": None}
    return {
        "name": str(entry.get("Name", "")),
        "kind": entry.get("LayerType"),
        "precision": _of_first(entry.get("Inputs")),
        "output": _of_first(entry.get("Outputs")),
        "tactic": entry.get("TacticName") or None,
    }


def _of_first(tensors: Any) -> Optional[str]:
    if not tensors or not isinstance(tensors[0], dict):
        return None
    return precision(str(tensors[0].get("Format/Datatype") or tensors[0].get("Datatype") or ""))
