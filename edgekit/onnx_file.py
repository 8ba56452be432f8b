"""Looks at an `.onnx` file without onnx: whether it is whole, and whether it reaches outside.

Source: onnx.proto (ModelProto, GraphProto, TensorProto).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgekit.errors import ModelError
from edgekit.wire_format import Malformed, fields, messages, text

_GRAPH, _OPSET_IMPORT, _FUNCTIONS = 7, 8, 25


def looks_like(content: memoryview) -> bool:
    """Whether bytes are an ONNX model, as far as their outer structure tells."""
    try:
        numbers = {number for number, _ in fields(content)}
    except Malformed:
        return False
    return {1, _GRAPH, _OPSET_IMPORT} <= numbers <= set(range(1, 27))


def check(content: memoryview, path: Path) -> None:
    """Refuses a file that is cut off or that takes weights from outside its directory.

    Raises:
        Malformed: It is not a whole ONNX model.
        ModelError: A tensor lies in a file outside the model's directory, or in a missing one.
    """
    if not looks_like(content):
        found = sorted({number for number, _ in fields(content)})
        raise Malformed(f"it has the fields {found[:8]} where a model has 1, 7 and 8")
    for graph in messages(content, _GRAPH):
        for tensor in _tensors(graph):
            _check_location(tensor, path)


def _tensors(graph: memoryview) -> Iterator[memoryview]:
    """The constants of a graph, those in its nodes' attributes and subgraphs included."""
    waiting = [graph]
    while waiting:
        for number, value in fields(waiting.pop()):
            if number == 5 and not isinstance(value, int):
                yield value
            if number == 1 and not isinstance(value, int):
                for attribute in messages(value, 5):
                    for tensor in (5, 10):
                        yield from messages(attribute, tensor)
                    for subgraph in (6, 11):
                        waiting.extend(messages(attribute, subgraph))


def _check_location(tensor: memoryview, path: Path) -> None:
    for entry in messages(tensor, 13):
        if text(entry, 1) != "location":
            continue
        location = PurePosixPath(text(entry, 2).replace("\\", "/"))
        if location.is_absolute() or ".." in location.parts:
            raise ModelError(
                f"{path}: a weight lies at '{location}', outside the model's directory",
                "do not use this file; get the model from its maker again",
            )
        if not (path.parent / location).is_file():
            raise ModelError(
                f"{path}: its weights in '{location}' are missing",
                "put that file beside the model, as it was when it was saved",
            )
