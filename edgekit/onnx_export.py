"""Writes a loaded Keras model as the float `.onnx` that other converters read.

tf2onnx reads the frozen graph. (Its `from_keras` fails on Sequential models of Keras 3, and Keras's
own ONNX export gives a broken EfficientNetB0: constants become inputs.) The batch stays open: with
a fixed one, tf2onnx makes loops of recurrent layers instead of LSTM operators.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import tf2onnx
from onnx import checker, defs, shape_inference

from edgekit import frozen_graph, onnx_order
from edgekit.errors import ConversionError, one_line
from edgekit.keras_loading import Loaded
from edgekit.types import TensorSpec

OPSET = 18
"""The highest that tf2onnx writes."""

_FAILURES = (ValueError, KeyError, RuntimeError, TypeError, AttributeError, AssertionError)
_WAY_OUT = "replace that layer, or choose --target host (LiteRT) or host-openvino"


def to_onnx(loaded: Loaded, function: Any, path: Path) -> None:
    """Writes a float `.onnx` with the model's own names.

    Args:
        loaded: The model, whose inputs and outputs are named.
        function: Its concrete function.
        path: The file to write.

    Raises:
        ConversionError: An operation has no counterpart in ONNX.
    """
    frozen, graph_def = frozen_graph.freeze(function)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it says is said below
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            input_names=[tensor.name for tensor in frozen.inputs],
            output_names=[tensor.name for tensor in frozen.outputs],
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    except _FAILURES as error:
        raise ConversionError(
            f"tf2onnx cannot convert the model: {one_line(str(error))[:300]}", _WAY_OUT
        ) from error
    _refuse_unknown(model)
    onnx_order.settle(model.graph)
    _rename(model.graph.input, loaded.inputs, model.graph)
    _rename(model.graph.output, loaded.outputs, model.graph)
    _check(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _erfc(context: Any, node: Any, name: str, _: Any) -> Any:
    """Erfc(x) = 1 − Erf(x): exact GELU has it, and neither tf2onnx nor ONNX does."""
    inner = context.make_node("Erf", node.input, name=f"{name}_erf")
    one = context.make_const(f"{name}_one", _one(context.get_dtype(node.input[0])))
    shapes, dtypes = [context.get_shape(node.output[0])], [context.get_dtype(node.output[0])]
    context.remove_node(name)
    return context.make_node(
        "Sub", [one.output[0], inner.output[0]], name=name, outputs=node.output,
        shapes=shapes, dtypes=dtypes,
    )  # fmt: skip


def _one(kind: int) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(kind).type(1)


def _refuse_unknown(model: Any) -> None:
    """tf2onnx writes what it does not know as it is, and says so only in its log."""
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not defs.has(node.op_type):
            raise ConversionError(
                f"{node.name.rpartition('/')[0] or node.name} needs {node.op_type}, which ONNX has"
                " no operator for",
                _WAY_OUT,
            )


def _rename(values: Any, specs: Sequence[TensorSpec], graph: Any) -> None:
    """Gives inputs or outputs the model's names in place of the function's."""
    renamed = {value.name: spec.name for value, spec in zip(values, specs, strict=True)}
    taken = {name for node in graph.node for name in node.output} - set(renamed)
    for clash in taken & set(renamed.values()):
        renamed[clash] = f"{clash}_inner"
    for value in values:
        value.name = renamed[value.name]
    _rename_uses(graph, renamed)


def _rename_uses(graph: Any, renamed: dict[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = renamed.get(name, name)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:  # the bodies of loops see outer names
                _rename_uses(attribute.g, renamed)


def _check(model: Any) -> None:
    del model.graph.value_info[:]  # the names in it are those of before
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ConversionError(
            f"tf2onnx wrote no valid ONNX: {one_line(str(error))[:300]}", _WAY_OUT
        ) from None
