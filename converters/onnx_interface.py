"""Input and output types of ONNX artifacts: float16, and integers with a scale and zero point.

Real values of an integer input or output are scale · (q − zero point), as the manifest says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgekit.converters import onnx_graph
from edgekit.converters.activation_ranges import BOUNDED, LOWEST, Range, integer_spec
from edgekit.converters.onnx_graph import Graph, Model
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec


def check_types(
    runtime: str, integers: bool, precision: str, input_type: str, output_type: str
) -> None:
    """Refuses input and output types that a runtime or precision does not have.

    Raises:
        ConversionError: The type that was asked for is not possible.
    """
    allowed = {"fp16": ["float16"], "int8": list(LOWEST) if integers else []}.get(precision, [])
    for flag, wanted in (("--input-type", input_type), ("--output-type", output_type)):
        if wanted != "float32" and wanted not in allowed:
            raise ConversionError(
                f"{runtime} artifacts at {precision} cannot have {flag} {wanted}; they can have"
                f" {' or '.join(['float32', *allowed])}",
                f"leave out {flag}",
            )


def set_integers(
    model: Model, source: Graph, input_type: str, output_type: str, ranges: dict[str, Range]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Gives float inputs and outputs the integer types asked for; token ids stay.

    Args:
        model: The quantized model with float inputs and outputs; it is changed.
        source: The float model that it was made of, which says what computes each output: in the
            quantized one it is a DequantizeLinear.
        input_type: float32, int8 or uint8.
        output_type: Likewise.
        ranges: The calibrated range of each float input and output by name.

    Returns:
        The inputs and outputs with their scales and zero points.
    """
    inputs, outputs = onnx_graph.specs(model.graph.input), onnx_graph.specs(model.graph.output)
    for at, spec in enumerate(inputs):
        if input_type != "float32" and spec.dtype == "float32":
            inputs[at] = integer_spec(spec, input_type, ranges[spec.name])
            _integer_input(model, inputs[at])
    for at, spec in enumerate(outputs):
        if output_type != "float32" and spec.dtype == "float32":
            producer = source.producers.get(spec.name)
            limits = BOUNDED.get(producer.op_type if producer else "", ranges[spec.name])
            outputs[at] = integer_spec(spec, output_type, limits)
            _integer_output(model, outputs[at])
    return inputs, outputs


def _integer_input(model: Model, spec: TensorSpec) -> None:
    inner = f"{spec.name}_float"
    for node in onnx_graph.nodes(model.graph):
        for port, name in enumerate(node.input):
            node.input[port] = inner if name == spec.name else name
    node = helper.make_node(
        "DequantizeLinear", [spec.name, *_operands(model, spec)], [inner], name=f"{spec.name}_real"
    )
    model.graph.node.insert(0, node)
    _set_type(model.graph.input, spec)


def _integer_output(model: Model, spec: TensorSpec) -> None:
    inner = f"{spec.name}_float"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for port, name in enumerate(names):
                names[port] = inner if name == spec.name else name
    node = helper.make_node(
        "QuantizeLinear", [inner, *_operands(model, spec)], [spec.name], name=f"{spec.name}_grid"
    )
    model.graph.node.append(node)
    _set_type(model.graph.output, spec)


def _operands(model: Model, spec: TensorSpec) -> list[str]:
    return [
        onnx_graph.add_constant(model, f"{spec.name}_io_scale", np.array(spec.scale, np.float32)),
        onnx_graph.add_constant(
            model, f"{spec.name}_io_zero_point", np.array(spec.zero_point, spec.dtype)
        ),
    ]


def _set_type(values: Any, spec: TensorSpec) -> None:
    for value in values:
        if value.name == spec.name:
            kinds = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
            value.type.tensor_type.elem_type = kinds[spec.dtype]
