"""Where the tensors of generated C lie: in the caller's buffers, or in one static arena."""

from __future__ import annotations

from edgekit import arena
from edgekit.arena_types import ArenaBuffer
from edgekit.converters.c_types import Layout, Port
from edgekit.tflite_file import Graph

VIEWS = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
"""Operators whose output is their first input, byte by byte."""


def lay_out(graph: Graph, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> Layout:
    """Gives every computed tensor a place.

    Inputs stay where the caller has them, outputs are written where the caller wants them, views
    share the place of what they show, and all others share the arena.
    """
    places = {index: port.parameter for index, port in zip(graph.inputs, inputs, strict=True)}
    for index, port in zip(graph.outputs, outputs, strict=True):
        places.setdefault(index, port.parameter)
    roots = _roots(graph, places)
    for index, root in roots.items():
        if index in places:
            places.setdefault(root, places[index])
    buffers = _buffers(graph, roots, places)
    planned = arena.plan(list(buffers.values()))
    for root, entry in zip(buffers, planned.placed, strict=True):
        places[root] = f"&arena.bytes[{entry.offset_bytes}]"
    found = {index: places[root] for index, root in roots.items()}
    return Layout({**found, **_own(places, graph)}, planned.size_bytes)


def _own(places: dict[int, str], graph: Graph) -> dict[int, str]:
    return {index: places[index] for index in (*graph.inputs, *graph.outputs)}


def _roots(graph: Graph, places: dict[int, str]) -> dict[int, int]:
    """For each computed tensor the one whose place it shares: itself, or what it is a view of.

    A view of which the caller has both ends is none: it has to be copied.
    """
    roots = {index: index for index in arena.lifetimes(graph)}
    held = {index: index for index in places}
    for operator in graph.operators:
        if operator.name not in VIEWS:
            continue
        source, target = operator.inputs[0], operator.outputs[0]
        if source not in roots:
            continue
        root = roots[source]
        if root in held and target in places:
            continue
        roots[target] = root
        if target in places:
            held[root] = target
    return roots


def _buffers(graph: Graph, roots: dict[int, int], places: dict[int, str]) -> dict[int, ArenaBuffer]:
    """The tensors that need the arena, each for as long as any view of it lives."""
    spans: dict[int, tuple[int, int]] = {}
    for index, (first, last) in arena.lifetimes(graph).items():
        root = roots[index]
        start, end = spans.get(root, (first, last))
        spans[root] = (min(start, first), max(end, last))
    return {
        root: ArenaBuffer(graph.tensors[root].name, graph.tensors[root].elements, first, last)
        for root, (first, last) in spans.items()
        if root not in places
    }
