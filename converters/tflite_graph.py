"""Reads and edits TFLite flatbuffers: what is quantized, and the types of inputs and outputs."""

from __future__ import annotations

import re
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

FILE_IDENTIFIER = b"TFL3"
RECURRENT_OPS = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "WHILE")
DATA_ALIGNMENT_BYTES = 16
BOUNDED_OPS = ("SOFTMAX", "LOGISTIC", "TANH")
KEEPING_OPS = (
    "AVERAGE_POOL_2D", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND", "MAX_POOL_2D",
    "MIRROR_PAD", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE",
    "TRANSPOSE", "UNPACK",
)  # fmt: skip
"""Operators whose int8 output has the scale of what they read."""
INTERFACE_OPS = ("QUANTIZE", "DEQUANTIZE")

_OP_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPE_NAMES = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_TYPES = {name: value for value, name in _TYPE_NAMES.items()}
_INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}

# The generated object API is untyped; `Any` marks its objects: ModelT, SubGraphT, TensorT.
Model = Any
Graph = Any
Tensor = Any


def read(content: bytes) -> Model:
    """The flatbuffer as mutable objects.

    Buffers that stand behind the flatbuffer (LiteRT Quantizer puts large ones there) are brought
    in, since a model that is packed again would otherwise lose them.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    raw = np.frombuffer(content, np.uint8)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = raw[buffer.offset : buffer.offset + buffer.size]
            buffer.offset = buffer.size = 0
    return model


def write(model: Model) -> bytes:
    """The mutable objects as a flatbuffer: constants aligned, equal vectors stored once."""
    builder = _Packer(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


class _Packer(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers is untyped
    """Packs as TFLite's schema asks, and no more than is needed.

    The schema aligns the bytes of constants to 16 (`force_align`), which the generated Python code
    leaves out. And a flatbuffer may point to one vector from many places: per-channel weights and
    their biases otherwise carry eight bytes of zero point, always 0, for each channel.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802 flatbuffers' own name
        """The offset of a vector with these numbers, written when they first come."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            if x.dtype == np.uint8:
                self.Prep(DATA_ALIGNMENT_BYTES, x.nbytes)
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


def op_name(model: Model, operator: Any) -> str:
    """The TFLite name of an operator, such as CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)])


def type_name(tensor: Tensor) -> str:
    """The element type: float32, int8, int4 and so on."""
    return str(_TYPE_NAMES[tensor.type])


def is_constant(model: Model, tensor: Tensor) -> bool:
    """Whether a tensor's values stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def spec_of(tensor: Tensor, name: str) -> TensorSpec:
    """A tensor as an input or output, with its scale and zero point where it has them."""
    quantized = tensor.quantization is not None and tensor.quantization.scale is not None
    quantized = quantized and len(tensor.quantization.scale) == 1 and type_name(tensor) != "float32"
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return TensorSpec(
        name=name,
        shape=tuple(None if size < 0 else int(size) for size in signature),
        dtype=type_name(tensor),
        scale=float(tensor.quantization.scale[0]) if quantized else None,
        zero_point=int(tensor.quantization.zeroPoint[0]) if quantized else None,
    )


def input_names(model: Model) -> dict[str, int]:
    """Tensor index by input name: the signature's names, else the tensors' own."""
    return _names(model, model.subgraphs[0].inputs, "inputs")


def output_names(model: Model) -> dict[str, int]:
    """Tensor index by output name: the signature's names, else the tensors' own."""
    return _names(model, model.subgraphs[0].outputs, "outputs")


def _names(model: Model, indices: Any, side: str) -> dict[str, int]:
    graph = model.subgraphs[0]
    named = {}
    for definition in (model.signatureDefs or [])[:1]:
        named = {entry.tensorIndex: entry.name.decode() for entry in getattr(definition, side)}
    return {named.get(int(i), graph.tensors[i].name.decode()): int(i) for i in indices}


def weight_elements(model: Model) -> dict[str, int]:
    """Elements of constant weight tensors (two axes or more) by type, over all sub-graphs."""
    found: dict[str, int] = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.shape is None or len(tensor.shape) < 2 or not is_constant(model, tensor):
                continue
            if type_name(tensor) in ("float32", "float16", "int8", "int4", "int2"):
                name = type_name(tensor)
                found[name] = found.get(name, 0) + int(np.prod(tensor.shape))
    return found


def float_operators(model: Model) -> tuple[str, ...]:
    """Operators, by output tensor name, that still compute in float."""
    graph = model.subgraphs[0]
    return tuple(
        graph.tensors[operator.outputs[0]].name.decode()
        for operator in graph.operators
        if op_name(model, operator) not in INTERFACE_OPS
        and len(operator.outputs)
        and type_name(graph.tensors[operator.outputs[0]]) in ("float32", "float16")
    )


def given_ranges(model: Model) -> frozenset[str]:
    """Tensors whose int8 range the format gives: by softmax and the like, or by what is read."""
    graph = model.subgraphs[0]
    return frozenset(
        graph.tensors[operator.outputs[0]].name.decode()
        for operator in graph.operators
        if op_name(model, operator) in (*BOUNDED_OPS, *KEEPING_OPS)
    )


def recurrent_operators(model: Model) -> tuple[str, ...]:
    """Names of the recurrent operators that the graph holds."""
    kinds = {op_name(model, op) for graph in model.subgraphs for op in graph.operators}
    return tuple(sorted(kinds.intersection(RECURRENT_OPS)))


def close_shapes(model: Model) -> None:
    """Fixes the axes that a model left open at the sizes it was written with (batch 1)."""
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.shapeSignature = None


def set_interface(model: Model, input_type: str, output_type: str) -> None:
    """Gives a model with integer inputs and outputs the types that were asked for.

    A QUANTIZE or DEQUANTIZE operator is put between each quantized input or output and the graph
    where the types differ; the outer tensor keeps the name. Integer tensors without a scale
    (token ids, class numbers) stay as they are.
    """
    graph = model.subgraphs[0]
    graph.inputs, graph.outputs = np.array(graph.inputs), np.array(graph.outputs)
    for position, index in enumerate(graph.inputs.tolist()):
        tensor = graph.tensors[index]
        if _is_quantized(tensor) and type_name(tensor) != input_type:
            outer = _outer_tensor(graph, tensor, input_type)
            graph.inputs[position] = outer
            _retarget(model, "inputs", index, outer)
            graph.operators.insert(0, convert_op(model, "QUANTIZE", outer, index))
    for position, index in enumerate(graph.outputs.tolist()):
        tensor = graph.tensors[index]
        if _is_quantized(tensor) and type_name(tensor) != output_type:
            outer = _outer_tensor(graph, tensor, output_type)
            graph.outputs[position] = outer
            _retarget(model, "outputs", index, outer)
            kind = "DEQUANTIZE" if output_type == "float32" else "QUANTIZE"
            graph.operators.append(convert_op(model, kind, index, outer))


def _is_quantized(tensor: Tensor) -> bool:
    found = tensor.quantization
    return found is not None and found.scale is not None and len(found.scale) == 1


def _outer_tensor(graph: Graph, inner: Tensor, type_wanted: str) -> int:
    outer = schema.TensorT()
    outer.shape, outer.shapeSignature = inner.shape, inner.shapeSignature
    outer.hasRank = inner.hasRank
    outer.type = _TYPES[type_wanted]
    outer.buffer = 0
    outer.name = inner.name
    inner.name = inner.name + b"_" + type_name(inner).encode()
    if type_wanted != "float32":
        outer.quantization = _requantized(inner, type_wanted)
    graph.tensors.append(outer)
    return len(graph.tensors) - 1


def _requantized(inner: Tensor, type_wanted: str) -> Any:
    """The same real range on another integer grid of the same width (int8 ↔ uint8)."""
    have = type_name(inner)
    if {have, type_wanted} != {"int8", "uint8"}:
        raise ConversionError(
            f"{have} values cannot become {type_wanted} inputs or outputs",
            f"use --input-type {have} and --output-type {have}, or float32",
        )
    shift = _INTEGER_RANGES[type_wanted][0] - _INTEGER_RANGES[have][0]
    found = schema.QuantizationParametersT()
    found.scale = np.array(inner.quantization.scale, np.float32)
    found.zeroPoint = np.array(inner.quantization.zeroPoint, np.int64) + shift
    return found


def _retarget(model: Model, side: str, old: int, new: int) -> None:
    for definition in model.signatureDefs or []:
        for entry in getattr(definition, side):
            if entry.tensorIndex == old and definition.subgraphIndex == 0:
                entry.tensorIndex = new


def convert_op(model: Model, kind: str, source: int, result: int) -> Any:
    """An operator without options from one tensor to another, its code entered in the model."""
    wanted = getattr(schema.BuiltinOperator, kind)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    if wanted not in codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = wanted
        code.version = 1
        model.operatorCodes.append(code)
        codes.append(wanted)
    operator = schema.OperatorT()
    operator.opcodeIndex = codes.index(wanted)
    operator.inputs = np.array([source], np.int32)
    operator.outputs = np.array([result], np.int32)
    return operator


def scope_regex(layer: str) -> str:
    """A regular expression that matches one operator by its output tensor's exact name."""
    return f"(^|;){re.escape(layer)};?$"
