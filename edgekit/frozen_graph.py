"""Folds variables into TensorFlow graphs, and fixes the batch that a SavedModel left open."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2_as_graph,
)

_SHAPE_OPERANDS = {"TensorListReserve": 0, "TensorListFromTensor": 1, "TensorListStack": 1}


def freeze(function: Any) -> tuple[Any, Any]:
    """A concrete function with its variables folded in, and its GraphDef."""
    frozen, graph_def = convert_variables_to_constants_v2_as_graph(
        function, lower_control_flow=False
    )
    return frozen, graph_def


def with_fixed_batch(function: Any, batch: int) -> Any:
    """A function whose recurrent loops know the batch that its inputs have.

    A SavedModel was traced with an open batch, and the lists in its loops carry that −1 as a
    constant; TFLite needs their shape. A model of Keras is traced anew and has no need of this.
    """
    frozen, graph_def = freeze(function)
    constants = {node.name: node for node in graph_def.node if node.op == "Const"}
    changed = False
    for node in graph_def.node:
        operand = _SHAPE_OPERANDS.get(node.op)
        source = (
            constants.get(node.input[operand].partition(":")[0]) if operand is not None else None
        )
        if source is not None:
            changed = _fix(source, batch) or changed
    return _function(graph_def, frozen) if changed else function


def _fix(constant: Any, batch: int) -> bool:
    shape = tf.make_ndarray(constant.attr["value"].tensor)
    if shape.ndim != 1 or not len(shape) or shape[0] != -1:
        return False
    fixed = shape.copy()
    fixed[0] = batch
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(fixed))
    return True


def _function(graph_def: Any, like: Any) -> Any:
    def build() -> None:
        tf.import_graph_def(graph_def, name="")

    whole = tf.compat.v1.wrap_function(build, [])
    inputs, outputs = (
        [whole.graph.as_graph_element(tensor.name) for tensor in tensors]
        for tensors in (like.inputs, like.outputs)
    )
    return whole.prune(inputs, outputs)
