"""int8 as TensorRT takes it: symmetric Q/DQ in front of what is to run in int8, and nowhere else.

TensorRT fuses a convolution or product with what follows it while that stays in float, so outputs
get no Q/DQ of their own. Of a residual addition the branch that is not the convolution's own output
is quantized: the addition then runs inside the convolution. Biases stay float. Sources: NVIDIA's
TensorRT documentation, "Working with quantized types", and ONNX's QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from edgekit.converters import onnx_graph, onnx_weights, tensorrt_lint
from edgekit.converters.activation_ranges import Range, symmetric_scale
from edgekit.converters.onnx_graph import LAYERS, Graph, Model, Node
from edgekit.errors import ConversionError

NAME = "TensorRT"
PRECISIONS: tuple[str, ...] = ("fp32", "fp16", "int8")
SYMMETRIC = True
MAY_OVERFLOW = False
RUNTIME_OPTIONS = {"session.disable_quant_qdq": "1"}
"""ONNX Runtime stands in for TensorRT here, and computes what the file says: its own int8 kernels
overflow on CPUs without VNNI, and GPUs do not."""
INTEGER_IO = False

Uses = dict[str, list[tuple[Node, int]]]
"""The inputs of nodes that are to be quantized, by activation."""


def activations(graph: Graph) -> list[str]:
    """The activations that get a range."""
    return list(_uses(graph, ()))


def quantized(
    graph: Graph, ranges: Mapping[str, Range], float_layers: tuple[str, ...], *, fitted: bool
) -> Model:
    """A new int8 model, with float inputs and outputs.

    Args:
        graph: The float model.
        ranges: Of `activations(graph)`.
        float_layers: Nodes to leave in float.
        fitted: Never asked for: GPUs sum in 32 bits.
    """
    uses = _uses(graph, float_layers)
    grids = onnx_weights.grids(graph, float_layers, fitted=fitted)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    replaced: dict[tuple[str, int], str] = {}
    made: dict[str, list[Node]] = {}
    for name, consumers in uses.items():
        made[name] = _pair(model, name, symmetric_scale(ranges[name]))
        replaced |= {(node.name, port): made[name][1].output[0] for node, port in consumers}
    for name, grid in grids.items():
        made[name] = [_weights(model, name, grid)]
        for node in graph.consumers[name]:
            if node.op_type in LAYERS and node.input[1] == name:
                replaced[node.name, 1] = made[name][0].output[0]
    _rebuild(model, made, replaced)
    onnx_graph.remove_unused(model)
    return model


def dynamic(graph: Graph, float_layers: tuple[str, ...]) -> Model:  # noqa: ARG001 as Dialect
    """TensorRT has no operators that quantize as they run.

    Raises:
        ConversionError: Always.
    """
    raise ConversionError(
        "TensorRT has no dynamic int8: ranges stand in the graph", "use --precision int8 or fp16"
    )


def check(model: Model) -> None:
    """Holds a model against what TensorRT's parser refuses.

    Raises:
        ConversionError: The first of what it would refuse.
    """
    found = tensorrt_lint.lint(model)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        where = f"{found[0].layer}: " if found[0].layer else ""
        raise ConversionError(f"{where}{found[0].problem}{more}", found[0].fix)


def _uses(graph: Graph, float_layers: tuple[str, ...]) -> Uses:
    uses: Uses = {}
    layers = [
        node
        for node in graph.model.graph.node
        if node.name not in float_layers and _is_layer(graph, node)
    ]
    for node in layers:
        for port in range(1 if graph.weights(node) else 2):
            uses.setdefault(node.input[port], []).append((node, port))
    direct = {node.output[0] for node in layers if graph.weights(node)}
    for node in graph.model.graph.node:
        if node.op_type == "Add" and node.name not in float_layers:
            branch = _residual(graph, node, direct)
            if branch is not None:
                uses.setdefault(node.input[branch], []).append((node, branch))
    return uses


def _is_layer(graph: Graph, node: Node) -> bool:
    """A layer with weights, or a product of two activations, as attention has."""
    if node.op_type not in LAYERS or node.domain not in onnx_graph.STANDARD:
        return False
    if graph.weights(node):
        return graph.is_float(node.input[0])
    both = node.op_type == "MatMul" and all(map(graph.is_float, node.input))
    return both and node.input[0] != node.input[1]


def _residual(graph: Graph, node: Node, direct: set[str]) -> int | None:
    """Which input of an addition is the branch beside a layer, if it is a residual one."""
    if not all(map(graph.is_float, node.input)) or node.input[0] == node.input[1]:
        return None
    inner = [
        port
        for port, name in enumerate(node.input)
        if name in direct and len(graph.consumers[name]) == 1
    ]
    return 1 - inner[0] if inner else None


def _pair(model: Model, name: str, scale: np.float32) -> list[Node]:
    operands = [
        onnx_graph.add_constant(model, f"{name}_scale", np.array(scale, np.float32)),
        onnx_graph.add_constant(model, f"{name}_zero_point", np.array(0, np.int8)),
    ]
    quantize = helper.make_node(
        "QuantizeLinear", [name, *operands], [f"{name}_quantized"], name=f"{name}_quantize"
    )
    dequantize = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", *operands],
        [f"{name}_dequantized"],
        name=f"{name}_dequantize",
    )
    return [quantize, dequantize]


def _weights(model: Model, name: str, grid: onnx_weights.Grid) -> Node:
    operands = [
        onnx_graph.add_constant(model, f"{name}_int8", grid.values),
        onnx_graph.add_constant(model, f"{name}_scale", grid.scales),
        onnx_graph.add_constant(model, f"{name}_zero_point", np.zeros(grid.scales.shape, np.int8)),
    ]
    return helper.make_node(
        "DequantizeLinear", operands, [f"{name}_float"], name=f"{name}_dequantize", axis=grid.axis
    )


def _rebuild(
    model: Model, made: dict[str, list[Node]], replaced: dict[tuple[str, int], str]
) -> None:
    """Puts the new nodes behind what they read, and nodes onto what they read now."""
    constants = {entry.name for entry in model.graph.initializer}
    given = [value.name for value in model.graph.input]
    ordered = [new for name in made if name in constants or name in given for new in made[name]]
    for node in model.graph.node:
        for port in range(len(node.input)):
            node.input[port] = replaced.get((node.name, port), node.input[port])
        ordered.append(node)
        ordered.extend(new for name in node.output for new in made.get(name, ()))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)
