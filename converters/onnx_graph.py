"""ONNX graphs: their constants, types, layers and names; and how they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, shape_inference

from edgekit.types import TensorSpec

# onnx's messages are untyped here; `Any` marks them.
Model = Any
Node = Any

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("Gemm", "MatMul")
LAYERS = (*CONVOLUTIONS, *PRODUCTS)
"""Operators with weights that int8 kernels exist for."""

STANDARD = ("", "ai.onnx")


class Weights(NamedTuple):
    """The constant that a layer multiplies with.

    `channels` are the axes of its output channels, `inputs` the axis that products are summed
    along, None where none are (depthwise).
    """

    name: str
    values: NDArray[np.generic]
    channels: int
    inputs: int | None


class Graph:
    """A model with what is looked up in it again and again.

    Args:
        model: The model; a change to its nodes needs a new Graph.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = {entry.name: entry for entry in model.graph.initializer}
        self.producers = {name: node for node in model.graph.node for name in node.output if name}
        self.consumers: dict[str, list[Node]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in model.graph.output}
        self._types = {
            value.name: value.type.tensor_type.elem_type
            for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
        }

    def is_float(self, name: str) -> bool:
        """Whether a tensor is an activation of 32-bit floats."""
        return name not in self.constants and self._types.get(name) == TensorProto.FLOAT

    def activations(self, node: Node) -> list[str]:
        """The float activations that a node takes."""
        return [name for name in node.input if name and self.is_float(name)]

    def weights(self, node: Node) -> Weights | None:
        """The float weights of a layer, or None for any other node."""
        if node.op_type not in LAYERS or node.domain not in STANDARD or len(node.input) < 2:
            return None
        entry = self.constants.get(node.input[1])
        if entry is None or entry.data_type != TensorProto.FLOAT or len(entry.dims) < 2:
            return None
        values = numpy_helper.to_array(entry)
        if node.op_type in CONVOLUTIONS:
            return _of_convolution(node, entry.name, values)
        transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
        last = values.ndim - 1
        channels, inputs = (last - 1, last) if transposed else (last, last - 1)
        return Weights(entry.name, values, channels, inputs)


def attribute(node: Node, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def nodes(graph: Any) -> Iterator[Node]:
    """The nodes of a graph, and those of the bodies of its loops and branches."""
    for node in graph.node:
        yield node
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.GRAPH:
                yield from nodes(entry.g)


def name_nodes(model: Model) -> None:
    """Gives every node a name of its own; a given name that is the only one of its kind stays."""
    taken: set[str] = set()
    for node in model.graph.node:
        wanted = node.name or (node.output[0] if node.output else node.op_type)
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name)
        node.name = name


def infer_shapes(model: Model) -> Model:
    """A copy in which every tensor's type is known, as far as ONNX can tell."""
    del model.graph.value_info[:]
    return shape_inference.infer_shapes(model, data_prop=True)


def specs(values: Sequence[Any]) -> list[TensorSpec]:
    """Inputs or outputs of a graph."""
    found = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(
            int(size.dim_value) if size.HasField("dim_value") else None for size in tensor.shape.dim
        )
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
        found.append(TensorSpec(name=value.name, shape=shape, dtype=dtype))
    return found


def add_constant(model: Model, name: str, values: NDArray[np.generic]) -> str:
    """Adds an initializer, and returns its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name


def remove_unused(model: Model) -> None:
    """Removes the initializers that nothing reads any more."""
    used = {name for node in nodes(model.graph) for name in node.input}
    used |= {value.name for value in model.graph.output}
    kept = [entry for entry in model.graph.initializer if entry.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def write(model: Model, out: Path) -> None:
    """Writes a model that says nothing of when, where and in how many steps it was made."""
    shipped = onnx.ModelProto()
    shipped.CopyFrom(model)
    del shipped.graph.value_info[:]
    del shipped.metadata_props[:]
    shipped.graph.name = "model"
    shipped.producer_name, shipped.producer_version, shipped.doc_string = "edgekit", "", ""
    for node in shipped.graph.node:
        node.doc_string = ""
    used = {node.domain for node in nodes(shipped.graph)} | {""}
    kept = [entry for entry in shipped.opset_import if (entry.domain or "") in used]
    del shipped.opset_import[:]
    shipped.opset_import.extend(kept)
    out.write_bytes(shipped.SerializeToString(deterministic=True))


def _of_convolution(node: Node, name: str, values: NDArray[np.generic]) -> Weights:
    if node.op_type == "ConvTranspose":
        return Weights(name, values, 1, 0)
    groups = attribute(node, "group", 1)
    depthwise = groups > 1 and values.shape[:2] == (groups, 1)
    return Weights(name, values, 0, None if depthwise else 1)
