"""Brings a `.tflite` graph into the form that C is written from: int8 in, int8 out, one sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from edgekit.converters import c_text
from edgekit.converters.c_operands import refuse, shape
from edgekit.converters.c_types import Layout, Operation, Port
from edgekit.errors import ConversionError
from edgekit.tflite_file import Graph, Model, Operator, Tensor

_FIX = "convert with --precision int8 --data SPEC, or use --emit c-array"


def integer_graph(model: Model) -> Graph:
    """The main graph with integer inputs and outputs.

    A QUANTIZE behind a float input and a DEQUANTIZE before a float output are left to the caller,
    who knows the scale and zero point from the header.

    Raises:
        ConversionError: It has several graphs, or other float inputs or outputs.
    """
    if len(model.graphs) > 1:
        raise ConversionError(
            f"the model has {len(model.graphs)} graphs (loops or branches), and --emit c makes C of"
            " one",
            "unroll its loops, or use --emit c-array",
        )
    graph = model.main
    edge = {
        step
        for step, entry in enumerate(graph.operators)
        if _at_input(graph, entry) or _at_output(graph, entry)
    }
    replaced = {old: new for step in edge for old, new in [_ends(graph, graph.operators[step])]}
    inner = [entry for step, entry in enumerate(graph.operators) if step not in edge]
    return dataclasses.replace(
        graph,
        inputs=tuple(replaced.get(index, index) for index in graph.inputs),
        outputs=tuple(replaced.get(index, index) for index in graph.outputs),
        operators=tuple(inner),
    )


def check(graph: Graph) -> None:
    """Refuses what is not int8, by the first layer that is not.

    Raises:
        ConversionError: A layer computes in another type, or an input or output has one.
    """
    _check_quantization(graph)
    _check_outputs(graph)
    for operator in graph.operators:
        for index in operator.outputs:
            tensor = graph.tensors[index]
            if tensor.dtype != "int8" or tensor.scales.size != 1:
                raise ConversionError(
                    f"layer '{tensor.name}' ({operator.name}) computes in {_kind(tensor)}; --emit c"
                    " takes models that are int8 throughout",
                    _FIX,
                )
    for side, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for index in indices:
            tensor = graph.tensors[index]
            if tensor.dtype != "int8" or tensor.scales.size != 1:
                raise ConversionError(
                    f"{side} '{tensor.name}' is {_kind(tensor)}; --emit c takes int8 inputs and"
                    " outputs",
                    "convert with --input-type int8 --output-type int8",
                )


def _check_outputs(graph: Graph) -> None:
    computed = {index for operator in graph.operators for index in operator.outputs}
    for index in graph.outputs:
        if index not in computed or graph.outputs.count(index) > 1:
            raise ConversionError(
                f"output '{graph.tensors[index].name}' is an input, a constant or another output"
                " again, and --emit c writes what layers compute",
                "remove that output from the model",
            )


def _check_quantization(graph: Graph) -> None:
    for tensor in graph.tensors:
        if not (tensor.scales > 0).all():
            raise ConversionError(
                f"tensor '{tensor.name}' has a scale of {tensor.scales.min():g}, which is not above"
                " 0",
                "quantize the model again",
            )
        outside = tensor.zero_points[np.abs(tensor.zero_points + 0.5) > 128]
        if tensor.dtype == "int8" and outside.size:
            raise ConversionError(
                f"tensor '{tensor.name}' has the zero point {outside[0]}; int8 has -128 to 127",
                "quantize the model again",
            )


def ports(indices: Sequence[int], graph: Graph, side: str) -> tuple[Port, ...]:
    """Parameters of the generated function: `in`, or `in_0`, `in_1` where there are several."""
    several = len(indices) > 1
    short = "in" if side == "INPUT" else "out"
    return tuple(
        Port(
            f"{short}_{number}" if several else short,
            f"{side}_{number}" if several else side,
            graph.tensors[index],
        )
        for number, index in enumerate(indices)
    )


def operations(graph: Graph, layout: Layout) -> tuple[Operation, ...]:
    """Every operator with its operands, and where they lie."""
    return tuple(
        _operation(graph, layout, number, operator)
        for number, operator in enumerate(graph.operators)
    )


def _operation(graph: Graph, layout: Layout, number: int, operator: Operator) -> Operation:
    outputs = tuple(graph.tensors[index] for index in operator.outputs)
    inputs = tuple(graph.tensors[index] if index >= 0 else None for index in operator.inputs)
    found = Operation(
        label=f"{c_text.identifier(operator.name.lower())}_{number}",
        layer=outputs[0].name if outputs else operator.name,
        operator=operator,
        inputs=inputs,
        outputs=outputs,
        sources=tuple(layout.places.get(index, "") for index in operator.inputs),
        target=layout.places[operator.outputs[0]] if outputs else "",
    )
    for tensor in (*inputs, *outputs):
        if tensor is not None and min(shape(tensor), default=1) < 1:
            refuse(found, f"has a tensor of the shape {shape(tensor)}")
    return found


def _at_input(graph: Graph, operator: Operator) -> bool:
    if operator.name != "QUANTIZE" or operator.inputs[0] not in graph.inputs:
        return False
    readers = sum(operator.inputs[0] in entry.inputs for entry in graph.operators)
    floats = graph.tensors[operator.inputs[0]].dtype == "float32"
    return floats and readers == 1 and operator.inputs[0] not in graph.outputs


def _at_output(graph: Graph, operator: Operator) -> bool:
    if operator.name != "DEQUANTIZE" or operator.outputs[0] not in graph.outputs:
        return False
    readers = sum(operator.outputs[0] in entry.inputs for entry in graph.operators)
    return graph.tensors[operator.outputs[0]].dtype == "float32" and readers == 0


def _ends(graph: Graph, operator: Operator) -> tuple[int, int]:
    """The float end of an operator at the edge, and the integer one that takes its place."""
    source, target = operator.inputs[0], operator.outputs[0]
    return (source, target) if _at_input(graph, operator) else (target, source)


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == "int8":
        return "int8 without one scale"
    return tensor.dtype
