"""Integer inputs and outputs with an explicit scale and zero point.

An input becomes q → scale · (q − zero point) at the graph's start, an output its inverse at the
end: real values outside are scale · (q − zero point), exactly as the manifest says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from edgekit.converters.activation_ranges import BOUNDED, LEVELS, LOWEST, Range, integer_spec
from edgekit.converters.openvino_graph import Model, Node, Port, constant, specs
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

_ELEMENT_TYPES = {"int8": "i8", "uint8": "u8"}


def check_types(precision: str, input_type: str, output_type: str) -> None:
    """Refuses input and output types that this format or precision does not have.

    Raises:
        ConversionError: The type that was asked for is not possible.
    """
    for flag, wanted in (("--input-type", input_type), ("--output-type", output_type)):
        if wanted == "float32":
            continue
        if wanted not in LOWEST:
            raise ConversionError(
                f"OpenVINO artifacts cannot have {flag} {wanted}; they can have float32, int8 or"
                " uint8",
                f"use {flag} float32",
            )
        if precision != "int8":
            raise ConversionError(
                f"{precision} has no integer activations, so no {flag} {wanted}",
                "leave out --input-type and --output-type, or use --precision int8",
            )


def set_interface(
    model: Model, input_type: str, output_type: str, ranges: dict[str, Range]
) -> tuple[Model, list[TensorSpec], list[TensorSpec]]:
    """Gives float inputs and outputs the types asked for; integers (token ids) stay.

    Args:
        model: The quantized graph with float inputs and outputs; it is changed.
        input_type: float32, int8 or uint8.
        output_type: Likewise.
        ranges: The calibrated range of each float input and output by name.

    Returns:
        The graph, and its inputs and outputs with their scales and zero points.
    """
    inputs, outputs = specs(model.inputs), specs(model.outputs)
    parameters, results = model.get_parameters(), model.get_results()
    for at, spec in enumerate(inputs):
        if input_type != "float32" and spec.dtype == "float32":
            limits = _quantizer_range(parameters[at]) or ranges[spec.name]
            inputs[at] = integer_spec(spec, input_type, limits)
            parameters[at] = _integer_input(parameters[at], inputs[at])
    for at, spec in enumerate(outputs):
        if output_type != "float32" and spec.dtype == "float32":
            producer = results[at].input_value(0).get_node().get_type_name()
            limits = BOUNDED.get(producer, ranges[spec.name])
            outputs[at] = integer_spec(spec, output_type, limits)
            results[at] = _integer_output(results[at], outputs[at])
    return openvino.Model(results, parameters, "model"), inputs, outputs


def to_grid(values: NDArray[np.generic], spec: TensorSpec) -> NDArray[np.generic]:
    """Float values as a quantized input takes them; others as they are."""
    if spec.scale is None or spec.zero_point is None:
        return values
    limits = np.iinfo(spec.dtype)
    real = values.astype(np.float32) / np.float32(spec.scale)
    grid = np.clip(np.rint(real) + spec.zero_point, limits.min, limits.max)
    return np.array(grid, spec.dtype)


def to_real(values: NDArray[np.generic], spec: TensorSpec) -> NDArray[np.generic]:
    """Values of a quantized output in float units; others as they are."""
    if spec.scale is None or spec.zero_point is None:
        return values
    return (values.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


def _quantizer_range(parameter: Node) -> Range | None:
    """The range of the quantizer right behind an input, which the input's grid has to equal."""
    for consumer in parameter.output(0).get_target_inputs():
        node = consumer.get_node()
        if node.get_type_name() == "FakeQuantize" and consumer.get_index() == 0:
            low, high = (node.input_value(port).get_node().get_data() for port in (1, 2))
            return float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
    return None


def _integer_input(parameter: Node, spec: TensorSpec) -> Node:
    shape = parameter.get_partial_shape()
    replaced: Any = ops.parameter(shape, np.dtype(spec.dtype).type, spec.name)
    shifted = ops.subtract(ops.convert(replaced, "f32"), _scalar(spec.zero_point))
    real = ops.multiply(shifted, _scalar(spec.scale))
    parameter.output(0).get_tensor().set_names(set())
    parameter.output(0).replace(real.output(0))
    replaced.set_friendly_name(spec.name)
    replaced.output(0).get_tensor().set_names({spec.name})
    return replaced


def _integer_output(result: Node, spec: TensorSpec) -> Node:
    assert spec.scale is not None
    assert spec.zero_point is not None
    lowest = LOWEST[spec.dtype]
    scale = np.float32(spec.scale)
    low = (lowest - spec.zero_point) * scale
    high = (lowest + LEVELS - 1 - spec.zero_point) * scale
    source: Port = result.input_value(0)
    source.get_tensor().set_names(set())
    grid = ops.fake_quantize(
        source,
        *(_scalar(end) for end in (low, high, lowest, lowest + LEVELS - 1)),
        LEVELS,
    )
    integers = ops.convert(grid, _ELEMENT_TYPES[spec.dtype])
    integers.output(0).get_tensor().set_names({spec.name})
    replaced: Any = ops.result(integers.output(0))
    replaced.set_friendly_name(spec.name)
    return replaced


def _scalar(value: Any) -> Port:
    return constant(np.array(value, np.float32))
