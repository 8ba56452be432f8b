"""Gives a `.tflite` the names that its model has, and runs one for a quick check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit.errors import ConversionError

SIGNATURE = "serving_default"
_IDENTIFIER = b"TFL3"


def with_names(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """A `.tflite` with a serving signature, its tensors named likewise.

    Args:
        content: The file, its inputs and outputs in the order of the names.
        inputs: Names of the inputs.
        outputs: Names of the outputs.

    Raises:
        ConversionError: The file has other inputs or outputs; an unused input is dropped.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs = _named(graph, graph.inputs, inputs, "inputs")
    signature.outputs = _named(graph, graph.outputs, outputs, "outputs")
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(len(content) + 4096)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def run(content: bytes, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
    """The outputs for one set of inputs, both by signature name."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner(SIGNATURE)
    return {name: np.asarray(value, np.float64) for name, value in runner(**arrays).items()}


def _named(graph: Any, indices: Any, names: Sequence[str], side: str) -> list[Any]:
    if len(indices) != len(names):
        raise ConversionError(
            f"the TFLite file has {len(indices)} {side}, the model {len(names)}:"
            f" {', '.join(names)}",
            "remove inputs that no output depends on",
        )
    entries = []
    for index, name in zip(indices, names, strict=True):
        graph.tensors[index].name = name.encode()
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(index)
        entries.append(entry)
    return entries
