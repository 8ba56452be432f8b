"""Names of inputs and outputs, and of files, that every emitted artifact shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edgekit.converters.c_operands import shape
from edgekit.converters.c_types import Port
from edgekit.tflite_file import Model
from edgekit.types import TensorSpec


class Names(NamedTuple):
    """Names of a model's inputs and outputs, in the order of its graph."""

    inputs: list[str]
    outputs: list[str]


def names(model: Model) -> Names:
    """The names of a model's signature, or else of its tensors."""
    signature = next((entry for entry in model.signatures if entry.graph == 0), None)
    graph = model.main

    def of(indices: Sequence[int], named: dict[str, int]) -> list[str]:
        known = {index: name for name, index in named.items()}
        return [known.get(index, graph.tensors[index].name) for index in indices]

    return Names(
        of(graph.inputs, signature.inputs if signature else {}),
        of(graph.outputs, signature.outputs if signature else {}),
    )


def specs(ports: Sequence[Port], given: Sequence[str]) -> list[dict[str, Any]]:
    """Ports as plain TensorSpecs."""
    return [msgspec.to_builtins(_spec(port, name)) for port, name in zip(ports, given, strict=True)]


def sibling(main: Path, ending: str) -> Path:
    """The file beside the main one: its stem with an ending."""
    return main.with_name(f"{main.stem}{ending}")


def write(texts: Mapping[Path, str]) -> tuple[Path, ...]:
    """Writes files; returns where, in the order in which they came."""
    for place, text in texts.items():
        place.write_text(text, encoding="ascii")
    return tuple(texts)


def _spec(port: Port, name: str) -> TensorSpec:
    tensor = port.tensor
    quantized = tensor.scales.size == 1
    return TensorSpec(
        name=name,
        shape=shape(tensor),
        dtype=tensor.dtype,
        scale=float(tensor.scales[0]) if quantized else None,
        zero_point=int(tensor.zero_points[0]) if quantized and tensor.zero_points.size else None,
    )
