"""Which operators have C, and what writes it."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.converters import c_convolution, c_elementwise, c_pooling, c_shapes, c_tables
from edgekit.converters.c_operands import refuse
from edgekit.converters.c_types import Emitted, Operation
from edgekit.errors import ConversionError

Emit = Callable[[Operation], Emitted]

OPERATORS: dict[str, Emit] = {
    "ADD": c_elementwise.add,
    "AVERAGE_POOL_2D": c_pooling.average_pool_2d,
    "CONCATENATION": c_shapes.concatenation,
    "CONV_2D": c_convolution.conv_2d,
    "DEPTHWISE_CONV_2D": c_convolution.depthwise_conv_2d,
    "EXPAND_DIMS": c_shapes.reshape,
    "FULLY_CONNECTED": c_convolution.fully_connected,
    "LOGISTIC": c_tables.logistic,
    "MAX_POOL_2D": c_pooling.max_pool_2d,
    "MEAN": c_pooling.mean,
    "MUL": c_elementwise.mul,
    "PAD": c_shapes.pad,
    "PADV2": c_shapes.pad,
    "QUANTIZE": c_tables.quantize,
    "RELU": c_tables.relu,
    "RELU6": c_tables.relu,
    "RESHAPE": c_shapes.reshape,
    "SOFTMAX": c_tables.softmax,
    "SQUEEZE": c_shapes.reshape,
}

TAKES_CONSTANTS = frozenset({"ADD", "CONCATENATION", "MUL"})
"""Operators any of whose inputs may be a constant."""


def supported(operation: Operation) -> None:
    """Refuses an operator that has no C.

    Raises:
        ConversionError: It has none.
    """
    name = operation.operator.name
    if name not in OPERATORS:
        raise ConversionError(
            f"layer '{operation.layer}' is a {name}, which --emit c does not have; it has"
            f" {', '.join(sorted(OPERATORS))}",
            "use --emit c-array, which runs in TensorFlow Lite Micro, or another layer",
        )


def emit(operation: Operation) -> Emitted:
    """The C of one operation.

    Raises:
        ConversionError: It has options of which no C can be made.
    """
    if operation.operator.name not in TAKES_CONSTANTS and not operation.sources[0]:
        refuse(operation, "works on a constant or on memory that it keeps")
    return OPERATORS[operation.operator.name](operation)
