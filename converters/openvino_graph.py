"""OpenVINO graphs: their layers, names and constants; and IR files.

Names that a route generates ("Multiply_4592", counted up over the life of the process) are
replaced by ones that depend on the graph alone, so that the same model gives the same bytes and
layers can be named across runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from edgekit.errors import OutputError, one_line
from edgekit.types import TensorSpec

# OpenVINO's bindings are untyped; `Any` marks their objects.
Model = Any
Node = Any
Port = Any

LOOPS = ("Loop", "TensorIterator")
LAYERS = (
    "Convolution",
    "GroupConvolution",
    "ConvolutionBackpropData",
    "GroupConvolutionBackpropData",
    "MatMul",
)
"""Operations with weights that int8 kernels exist for."""

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""Float32 on one thread: sums have one order, so that results repeat bit by bit."""

_GENERATED = re.compile(r"([A-Z][A-Za-z0-9]*_)?\d+")


def write(model: Model, out: Path, *, half: bool, keep: Collection[str]) -> None:
    """Writes IR.

    Args:
        model: The graph; layers get their final names here.
        out: The .xml; its .bin stands beside it.
        half: Store float weights in 16 bits.
        keep: Layer names that stay as they are: those of the float model.

    Raises:
        OutputError: The files cannot be written.
    """
    name_layers(model, keep)
    plain = openvino.Model(model.get_results(), model.get_parameters(), "model")
    try:
        openvino.save_model(plain, str(out), compress_to_fp16=half)
    except RuntimeError as error:
        raise OutputError(
            f"OpenVINO cannot write {out}: {brief(error)}",
            "check the space and the permissions there",
        ) from None


def specs(ports: list[Port]) -> list[TensorSpec]:
    """Inputs or outputs of a graph."""
    return [
        TensorSpec(
            name=port.node.get_friendly_name(),
            shape=tuple(None if size.is_dynamic else size.get_length() for size in sizes_of(port)),
            dtype=np.dtype(port.get_element_type().to_dtype()).name,
        )
        for port in ports
    ]


def by_name(model: Model) -> dict[str, Node]:
    """The layers of a graph by name, in topological order."""
    return {node.get_friendly_name(): node for node in model.get_ordered_ops()}


def tensor_key(port: Port) -> str:
    """A name for an activation: its layer's, with the output's number where that is not 0."""
    index = port.get_index()
    name: str = port.get_node().get_friendly_name()
    return f"{name}:{index}" if index else name


def rank_of(port: Port) -> int:
    """The number of axes of a port."""
    length: int = port.get_partial_shape().rank.get_length()
    return length


def constant(values: NDArray[np.generic]) -> Port:
    """A new constant's output."""
    return ops.constant(np.ascontiguousarray(values)).output(0)


def constant_value(port: Port) -> NDArray[np.generic] | None:
    """The value of a port that depends on constants only, else None."""
    if port.get_node().get_type_name() == "Constant":
        return np.array(port.get_node().get_data())
    if not is_constant(port):
        return None
    folded = openvino.Core().compile_model(openvino.Model([port], []), "CPU", EXACT)
    return np.array(folded({})[0])


def is_constant(port: Port) -> bool:
    """Whether a port depends on constants only."""
    waiting, seen = [port.get_node()], set()
    while waiting:
        node = waiting.pop()
        kind = node.get_type_name()
        if kind == "Parameter" or kind in LOOPS:
            return False
        if node.get_name() not in seen:
            seen.add(node.get_name())
            waiting.extend(value.get_node() for value in node.input_values())
    return True


def graphs(model: Model) -> Iterator[Model]:
    """A graph, and the bodies of its loops."""
    yield model
    for node in model.get_ordered_ops():
        if node.get_type_name() in LOOPS:
            yield from graphs(node.get_function())


def name_layers(model: Model, keep: Collection[str] = ()) -> None:
    """Gives every layer a name that is unique and depends on the graph alone.

    A generated or repeated name becomes the kind of layer and a number, counted in topological
    order. Inputs, outputs and the names in `keep` stay.
    """
    ends = {node.get_friendly_name() for node in (*model.get_parameters(), *model.get_results())}
    taken = ends | set(keep)
    renamed: list[Node] = []
    for node in model.get_ordered_ops():
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind in LOOPS:
            name_layers(node.get_function())
        if kind in ("Parameter", "Result") or (name in keep and name not in ends):
            continue
        if name in taken or _GENERATED.fullmatch(name):
            renamed.append(node)
        else:
            taken.add(name)
    counted: dict[str, int] = {}
    for node in renamed:
        kind = node.get_type_name()
        number = counted.get(kind, 0)
        while f"{kind}_{number}" in taken:
            number += 1
        counted[kind] = number + 1
        taken.add(f"{kind}_{number}")
        node.set_friendly_name(f"{kind}_{number}")


def brief(error: BaseException) -> str:
    """A framework's message on one line, without its C++ file names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if "src/" not in line and "FrontEnd API failed" not in line]
    return one_line(" ".join(kept or lines))[:300].rstrip(".")


def sizes_of(port: Port) -> list[Any]:
    """The sizes of a port's axes, as OpenVINO's dimensions."""
    return list(port.get_partial_shape())
