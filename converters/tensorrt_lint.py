"""What TensorRT's ONNX parser and its strongly typed networks refuse, found without TensorRT.

Sources: the operator support matrix of onnx-tensorrt (docs/operators.md), its parser's messages
("Non-zero zero point is not supported", "input has type Int32"), and the limits of explicit
quantization in NVIDIA's TensorRT documentation, "Working with quantized types". For 10 and 11.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, defs, numpy_helper, shape_inference

from edgekit.converters.onnx_graph import STANDARD, Model, Node, nodes
from edgekit.errors import one_line
from edgekit.inspect_types import Finding

REFUSED = frozenset({
    "Bernoulli", "BitShift", "Compress", "ConcatFromSequence", "ConvInteger", "DFT", "DeformConv",
    "Det", "DynamicQuantizeLinear", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix",
    "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement",
    "OptionalHasElement", "QLinearConv", "QLinearMatMul", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap",
    "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringNormalizer", "TfIdfVectorizer", "Unique",
})  # fmt: skip
INTEGER_OPERATORS = frozenset({
    "ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
})  # fmt: skip
MISSING_TYPES = (
    TensorProto.INT16, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128,
)  # fmt: skip
QUANTIZED_TYPES = (TensorProto.INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN)
PAIR = ("QuantizeLinear", "DequantizeLinear")

_OURS = "convert the float model with edgekit convert --target and this profile"
_REPLACE = "replace it in the model, or choose another --target"


def lint(model: Model, *, batch_varies: bool = True) -> list[Finding]:
    """Everything in a model that TensorRT would refuse, in the order of its nodes.

    Args:
        model: The model.
        batch_varies: Whether an optimization profile covers the first axis of the inputs.
    """
    unknown = list(_operators(model))
    constants = _constants(model)
    types = _types(model, constants)
    return [
        *_shapes(model, batch_varies),
        *unknown,
        *_pairs(model, constants, types),
        *_missing_types(model, types),
        *([] if unknown else _mismatches(model)),
    ]


def _operators(model: Model) -> Iterator[Finding]:
    for node in nodes(model.graph):
        where = _name(node)
        if node.domain not in STANDARD:
            problem = f"TensorRT has no operators of the domain {node.domain} ({node.op_type})"
            yield Finding(where, problem, _OURS)
        elif not defs.has(node.op_type):
            problem = f"{node.op_type} is no operator of ONNX, and none of TensorRT"
            yield Finding(where, problem, _REPLACE)
        elif node.op_type in INTEGER_OPERATORS:
            problem = f"TensorRT has no {node.op_type}: it takes int8 as Q/DQ only"
            yield Finding(where, problem, _OURS)
        elif node.op_type in REFUSED:
            yield Finding(where, f"TensorRT has no {node.op_type}", _REPLACE)
        elif node.op_type == "MaxPool" and len([name for name in node.output if name]) > 1:
            problem = "TensorRT's MaxPool gives no indices"
            yield Finding(where, problem, _REPLACE)


def _shapes(model: Model, batch_varies: bool) -> Iterator[Finding]:
    constants = {entry.name for entry in model.graph.initializer}
    for value in model.graph.input:
        if value.name in constants:
            continue
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_value") or (axis == 0 and batch_varies):
                continue
            problem = (
                f"axis {axis} of input '{value.name}' may vary, and no optimization profile"
                " covers it"
            )
            fix = "use --batch N or A..B" if axis == 0 else "export the model with a fixed size"
            yield Finding(None, problem, fix)


def _pairs(
    model: Model, constants: dict[str, NDArray[np.generic]], types: dict[str, int]
) -> Iterator[Finding]:
    for node in nodes(model.graph):
        if node.op_type not in PAIR or node.domain not in STANDARD:
            continue
        where = _name(node)
        stored = _stored_type(node, types)
        kind = TensorProto.DataType.Name(stored) if stored else "an unknown type"
        if stored == TensorProto.INT32:
            problem = "DequantizeLinear has an int32 input, as quantized biases have"
            yield Finding(where, problem, _OURS)
        elif stored in (TensorProto.UINT8, TensorProto.UINT4):
            problem = f"{node.op_type} uses the unsigned type {kind}; TensorRT's are signed"
            yield Finding(where, problem, _OURS)
        elif stored not in QUANTIZED_TYPES:
            yield Finding(where, f"{node.op_type} uses {kind}", _OURS)
        zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if zero is not None and np.any(zero.astype(np.float32)):
            first = zero.reshape(-1)[np.flatnonzero(zero.astype(np.float32))[0]]
            problem = f"{node.op_type} has a zero point that is not 0 ({first})"
            yield Finding(where, problem, "quantize symmetrically")
        yield from _scale(node, constants)


def _scale(node: Node, constants: dict[str, NDArray[np.generic]]) -> Iterator[Finding]:
    where, scale = _name(node), constants.get(node.input[1])
    if scale is None:
        problem = f"the scale of {node.op_type} is not a constant"
        yield Finding(where, problem, _OURS)
    elif not (np.isfinite(scale).all() and scale.astype(np.float32).min(initial=1.0) > 0):
        problem = f"{node.op_type} has a scale that is not above 0"
        yield Finding(where, problem, _OURS)
    elif scale.size > 1 and node.op_type == "QuantizeLinear" and node.input[0] not in constants:
        problem = "an activation is quantized per channel; TensorRT takes one scale there"
        yield Finding(where, problem, _OURS)


def _missing_types(model: Model, types: dict[str, int]) -> Iterator[Finding]:
    made = {name: node for node in nodes(model.graph) for name in node.output}
    for name, kind in types.items():
        if kind in MISSING_TYPES:
            where = _name(made[name]) if name in made else None
            problem = f"TensorRT has no type {TensorProto.DataType.Name(kind)} ('{name}')"
            yield Finding(where, problem, _REPLACE)


def _mismatches(model: Model) -> Iterator[Finding]:
    """Types that do not meet: a strongly typed network converts none by itself."""
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        problem = f"the model is not valid ONNX: {one_line(str(error))[:200]}"
        yield Finding(None, problem, "export the model again")


def _constants(model: Model) -> dict[str, NDArray[np.generic]]:
    """Constants that Q/DQ use: small ones by value, weights by their first element."""
    found = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in nodes(model.graph):
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = numpy_helper.to_array(attribute.t)
    return found


def _types(model: Model, constants: dict[str, NDArray[np.generic]]) -> dict[str, int]:
    """The element type of each tensor, as far as ONNX can tell."""
    try:
        known = shape_inference.infer_shapes(model)
    except shape_inference.InferenceError:
        known = model
    found = {
        value.name: int(value.type.tensor_type.elem_type)
        for value in (*known.graph.value_info, *known.graph.input, *known.graph.output)
        if value.type.HasField("tensor_type")
    }
    stored = {entry.name: int(entry.data_type) for entry in model.graph.initializer}
    for name, values in constants.items():
        found[name] = stored.get(name) or int(onnx.helper.np_dtype_to_tensor_dtype(values.dtype))
    return found


def _stored_type(node: Node, types: dict[str, int]) -> int | None:
    """The quantized type: of a Q that of its output, of a DQ that of its input."""
    if node.op_type == "DequantizeLinear":
        return types.get(node.input[0])
    if len(node.input) > 2 and node.input[2]:
        return types.get(node.input[2])
    named = [entry.i for entry in node.attribute if entry.name == "output_dtype" and entry.i]
    return int(named[0]) if named else int(TensorProto.UINT8)


def _name(node: Node) -> str:
    return str(node.name or (node.output[0] if node.output else node.op_type))
