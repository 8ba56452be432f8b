"""Puts a graph that tf2onnx wrote into one order, under names that are the same every time.

tf2onnx walks sets of objects, whose order is that of their addresses, and numbers what it adds as
it comes by; some names hold an address, and of equal constants any one is kept. The same model then
differs from process to process.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

_NUMBERED = re.compile(r"__\d+(?=$|:|_)|einsum\d+")
"""What tf2onnx numbers, and what it names by an address."""


def settle(graph: Any) -> None:
    """Orders nodes by what the outputs need, first to last, and numbers generated names anew.

    Args:
        graph: An `onnx.GraphProto`, changed in place. Names of inputs and outputs, and those that
            come from the model's layers, stay.
    """
    nodes = list(_ordered(graph))
    reads = Counter(name for node in nodes for name in _read(node))
    used = list(reads)
    constants = {one.name: one for one in graph.initializer}
    kept = [constants[name] for name in used if name in constants]
    fixed = {value.name for value in (*graph.input, *graph.output)}
    # Of constants that are equal one is kept, and which one is chance: its name says nothing.
    merged = {name for name in constants if reads[name] > 1}
    names = _numbered(
        [
            name
            for name in (*used, *_made(nodes))
            if name not in fixed and (name in merged or _NUMBERED.search(name))
        ]
    )
    for number, node in enumerate(nodes):
        _rename(node, names)
        if _NUMBERED.search(node.name):
            node.name = f"{node.op_type}__{number}"
    for constant in kept:
        constant.name = names.get(constant.name, constant.name)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _ordered(graph: Any) -> Iterator[Any]:
    """Nodes with those before them that they read, by the order of the outputs."""
    makers = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    pending = [(makers[one.name], False) for one in reversed(graph.output) if one.name in makers]
    while pending:
        node, ready = pending.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
            continue
        pending.append((node, True))
        before = [makers[name] for name in _read(node) if name in makers]
        pending += [(one, False) for one in reversed(before) if id(one) not in done]


def _read(node: Any) -> Iterator[str]:
    """Names that a node reads, also from inside its branches."""
    yield from node.input
    for inner in _branches(node):
        for one in inner.node:
            yield from _read(one)


def _made(nodes: list[Any]) -> Iterator[str]:
    return itertools.chain.from_iterable(node.output for node in nodes)


def _branches(node: Any) -> Iterator[Any]:
    return (one.g for one in node.attribute if one.HasField("g"))


def _numbered(names: list[str]) -> Mapping[str, str]:
    return {name: f"generated__{number}" for number, name in enumerate(dict.fromkeys(names))}


def _rename(node: Any, names: Mapping[str, str]) -> None:
    for tensors in (node.input, node.output):
        tensors[:] = [names.get(name, name) for name in tensors]
    for inner in _branches(node):
        for one in inner.node:
            _rename(one, names)
        for value in (*inner.input, *inner.output, *inner.initializer, *inner.value_info):
            value.name = names.get(value.name, value.name)
