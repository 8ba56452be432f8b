"""Writes the C source of one model: kernels, constants, and the function that runs the layers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from edgekit.converters import c_graph, c_layout, c_operators, c_text
from edgekit.converters.c_types import Emitted, Operation, Port
from edgekit.tflite_file import Model

KERNELS = resources.files("edgekit.converters") / "c_kernels"


@dataclass(frozen=True, slots=True)
class Source:
    """The text of the source file, and what the other files need to know of it."""

    text: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    arena_bytes: int
    constant_bytes: int


def write(model: Model, name: str, origin: str, header: str) -> Source:
    """The C source of a model.

    Args:
        model: An int8 model of one graph.
        name: A C identifier; the function is `NAME_invoke`.
        origin: What stands at the top of the file.
        header: The file that declares it.

    Raises:
        ConversionError: A layer cannot be made C.
    """
    graph = c_graph.integer_graph(model)
    inputs = c_graph.ports(graph.inputs, graph, "INPUT")
    outputs = c_graph.ports(graph.outputs, graph, "OUTPUT")
    layout = c_layout.lay_out(graph, inputs, outputs)
    operations = c_graph.operations(graph, layout)
    for operation in operations:
        c_operators.supported(operation)
    c_graph.check(graph)
    emitted = [c_operators.emit(operation) for operation in operations]
    parts = [
        f"/* {c_text.comment(origin)} */",
        f'#include "{header}"\n\n#include <string.h>',
        *_kernels(emitted),
        *_constants(operations, emitted),
        *_arena(layout.arena_bytes),
        _invoke(name, inputs, outputs, operations, emitted),
    ]
    text = "\n\n".join(parts) + "\n"
    return Source(text, inputs, outputs, layout.arena_bytes, _constant_bytes(text))


def signature(name: str, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> str:
    """The declaration of the function, without a semicolon."""
    parameters = [f"const int8_t *{port.parameter}" for port in inputs]
    parameters += [f"int8_t *{port.parameter}" for port in outputs]
    return f"int {name}_invoke({', '.join(parameters)})"


def _kernels(emitted: list[Emitted]) -> list[str]:
    """The kernels that are used, each behind what it needs."""
    found: dict[str, str] = {}
    for entry in emitted:
        for kernel in entry.kernels:
            _collect(kernel, found)
    return list(found.values())


def _collect(kernel: str, found: dict[str, str]) -> None:
    if kernel in found:
        return
    first, _, text = (KERNELS / f"{kernel}.c").read_text().partition("\n")
    needs = re.fullmatch(r"/\* needs: ?(.*?) ?\*/", first)
    assert needs, f"c_kernels/{kernel}.c begins with what it needs"
    for other in needs[1].split():
        _collect(other, found)
    found[kernel] = text.rstrip()


def _constants(operations: tuple[Operation, ...], emitted: list[Emitted]) -> list[str]:
    return [
        "\n".join([f"/* {_title(operation)} */", *entry.constants])
        for operation, entry in zip(operations, emitted, strict=True)
        if entry.constants
    ]


def _title(operation: Operation) -> str:
    """The layer's name; of a fused one, whose name lists all that went into it, the first part."""
    return c_text.comment(operation.layer.partition(";")[0], 90)


def _arena(size_bytes: int) -> list[str]:
    """A union, so that the bytes are aligned without a compiler's extension."""
    if not size_bytes:
        return []
    return [f"static union {{\n    int64_t aligned;\n    int8_t bytes[{size_bytes}];\n}} arena;"]


def _invoke(
    name: str,
    inputs: tuple[Port, ...],
    outputs: tuple[Port, ...],
    operations: tuple[Operation, ...],
    emitted: list[Emitted],
) -> str:
    pointers = [port.parameter for port in (*inputs, *outputs)]
    checks = " || ".join(f"({pointer} == NULL)" for pointer in pointers)
    lines = [signature(name, inputs, outputs), "{", f"    if ({checks}) {{", "        return -1;"]
    lines.append("    }")
    for operation, entry in zip(operations, emitted, strict=True):
        if entry.statements:
            lines += ["", f"    /* {_title(operation)} */"]
            lines += [f"    {statement}" for statement in entry.statements]
    return "\n".join([*lines, "", "    return 0;", "}"])


def _constant_bytes(text: str) -> int:
    """What the constant arrays take, in bytes; structures of a layer's sizes come on top."""
    found = re.findall(r"^static const (int\d+)_t \w+\[(\d+)\]", text, re.MULTILINE)
    return sum(int(count) * int(kind.removeprefix("int")) // 8 for kind, count in found)
