"""What a SavedModel's graph would do besides arithmetic, read without TensorFlow.

Operators that touch files, run Python or talk to other processes are refused wherever they stand.
Reading and writing checkpoints is left to the saver that every SavedModel carries, and refused in
anything that the signatures or the stored functions can reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import ModelError
from edgekit.wire_format import Malformed, decode, fields, messages, text

FIX = "export the model without it, or add --trust if you know where the file comes from"

_REACHES_OUT = re.compile(
    r"PyFunc|File|Reader|Writer|Dataset|^Debug|Rpc|Remote|^_?Send$|^_?Recv$|^PrintV2$|VocabRemapping"
    r"|LoadAndRemap|EncodeProto|DecodeProto|WriteSummary|TensorRT|TRTEngine|BigQuery|^Gcs"
)
_HARMLESS = frozenset({"ShardedFilename", "ShardedFilespec"})  # they only join strings
_SAVERS = re.compile(r"^(Save|Restore)(V2|Slice|Slices)?$|^MergeV2Checkpoints$")


@dataclass(slots=True)
class _Node:
    op: str
    inputs: list[str]
    functions: list[str]


@dataclass(slots=True)
class _Graph:
    """The main graph, the function library, and the places where execution starts."""

    nodes: dict[str, _Node] = field(default_factory=dict)
    functions: dict[str, list[_Node]] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    entry_functions: list[str] = field(default_factory=list)


def check_saved_model(content: memoryview, path: Path, *, trust: bool) -> None:
    """Refuses a saved_model.pb with operators that reach beyond tensors.

    Args:
        content: The bytes of saved_model.pb.
        path: The model's directory, for the message.
        trust: The user's word that the model is harmless; it must still be whole.

    Raises:
        ModelError: With the operator's name.
    """
    try:
        found = [op for graph in _graphs(content) for op in _dangers(graph)]
    except Malformed as error:
        raise ModelError(
            f"{path}: saved_model.pb is damaged ({error})", "copy the directory again"
        ) from None
    if found and not trust:
        raise ModelError(
            f"{path}: its graph holds {', '.join(sorted(set(found)))}, which reaches beyond tensors"
            " (files, Python or other processes)",
            FIX,
        )


def stored_keras_configs(directory: Path, content: memoryview) -> list[str]:
    """The JSON configs of Keras objects stored in a SavedModel; empty where there are none.

    Source: tf_keras' saved_metadata.proto (keras_metadata.pb, field 1 → 5), and before TensorFlow
    2.5 the metadata of the object graph's user objects (saved_object_graph.proto).
    """
    beside = directory / "keras_metadata.pb"
    try:
        if beside.is_file():
            stored = memoryview(beside.read_bytes())
            return [config for entry in messages(stored, 1) if (config := text(entry, 5))]
        return [config for graph in messages(content, 2) for config in _object_configs(graph)]
    except Malformed as error:
        raise ModelError(
            f"{directory}: its Keras metadata is damaged ({error})", "copy the directory again"
        ) from None


def _object_configs(meta_graph: memoryview) -> Iterator[str]:
    for objects in messages(meta_graph, 7):
        for node in messages(objects, 1):
            for user_object in messages(node, 4):
                config = text(user_object, 3)
                if config.startswith("{"):
                    yield config


def _graphs(content: memoryview) -> list[_Graph]:
    found = [_graph(meta_graph) for meta_graph in messages(content, 2)]
    if not found:
        raise Malformed("it holds no graph")
    return found


def _graph(meta_graph: memoryview) -> _Graph:
    graph = _Graph()
    for number, value in fields(meta_graph):
        if isinstance(value, int):
            continue
        if number == 2:
            _read_graph_def(graph, value)
        elif number == 5:
            graph.entries += _tensor_names(_map_value(value))
        elif number == 7:
            graph.entry_functions += [text(entry, 1) for entry in messages(value, 2)]
    return graph


def _read_graph_def(graph: _Graph, message: memoryview) -> None:
    for node in messages(message, 1):
        name, parsed = _node(node)
        graph.nodes[name] = parsed
    for library in messages(message, 2):
        for function in messages(library, 1):
            signature = next(messages(function, 1), memoryview(b""))
            graph.functions[text(signature, 1)] = [_node(n)[1] for n in messages(function, 3)]


def _node(message: memoryview) -> tuple[str, _Node]:
    name, node = "", _Node("", [], [])
    for number, value in fields(message):
        if isinstance(value, int):
            continue
        if number == 1:
            name = decode(value)
        elif number == 2:
            node.op = decode(value)
        elif number == 3:
            node.inputs.append(decode(value).lstrip("^").partition(":")[0])
        elif number == 5:
            node.functions += _called(value)
    return name, node


def _called(attribute: memoryview) -> Iterator[str]:
    """The functions that an attribute names: AttrValue.func, or those of AttrValue.list."""
    for value in messages(attribute, 2):
        for listed in (value, *messages(value, 1)):
            for function in messages(listed, 10 if listed is value else 9):
                yield text(function, 1)


def _map_value(entry: memoryview) -> memoryview:
    return next(messages(entry, 2), memoryview(b""))


def _tensor_names(signature: memoryview) -> Iterator[str]:
    for entry in messages(signature, 2):
        yield text(_map_value(entry), 1).partition(":")[0]


def _dangers(graph: _Graph) -> Iterator[str]:
    everywhere = [*graph.nodes.values(), *(n for body in graph.functions.values() for n in body)]
    for node in everywhere:
        if _REACHES_OUT.search(node.op) and node.op not in _HARMLESS:
            yield node.op
    for node in _reached(graph):
        if _SAVERS.match(node.op):
            yield f"{node.op} outside the saver"


def _reached(graph: _Graph) -> Iterator[_Node]:
    """The nodes that the signatures and the stored functions execute."""
    nodes = [graph.nodes[name] for name in _closure(graph, graph.entries)]
    yield from nodes
    names = [*graph.entry_functions, *(name for node in nodes for name in _calls(graph, node))]
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen or name not in graph.functions:
            continue
        seen.add(name)
        for node in graph.functions[name]:
            yield node
            names += _calls(graph, node)


def _calls(graph: _Graph, node: _Node) -> list[str]:
    return [*node.functions, node.op] if node.op in graph.functions else node.functions


def _closure(graph: _Graph, names: Iterable[str]) -> set[str]:
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in graph.nodes:
            seen.add(name)
            waiting += graph.nodes[name].inputs
    return seen
