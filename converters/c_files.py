"""The files around generated C: header, golden vectors, and a program that checks them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.converters import c_text
from edgekit.converters.c_golden import Golden
from edgekit.converters.c_operands import shape
from edgekit.converters.c_types import Port


def header(name: str, origin: str, ports: Sequence[Port], own: str) -> str:
    """The header: constants of inputs and outputs, and what the artifact declares.

    Args:
        name: A C identifier.
        origin: What stands at the top.
        ports: Inputs and outputs.
        own: The declarations, which C and C++ both read.
    """
    guard = f"EDGEKIT_{name.upper()}_H"
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        *(line for port in ports for line in _port(name, port)),
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        own,
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        f"#endif /* {guard} */",
        "",
    ])  # fmt: skip


def _port(name: str, port: Port) -> list[str]:
    tensor, macro = port.tensor, f"{name.upper()}_{port.macro}"
    sizes = shape(tensor)
    kind = "Input" if port.macro.startswith("INPUT") else "Output"
    quantized = tensor.scales.size == 1
    real = f"; real = {macro}_SCALE * (value - {macro}_ZERO_POINT)" if quantized else ""
    lines = [
        f'/* {kind} "{c_text.comment(tensor.name)}", {c_text.c_type(tensor.dtype)}{real}. */',
        f"#define {macro}_RANK {len(sizes)}",
        f"#define {macro}_SHAPE {{{', '.join(map(str, sizes))}}}",
        f"#define {macro}_SIZE {tensor.elements}",
    ]
    if quantized:
        zero_point = int(tensor.zero_points[0]) if tensor.zero_points.size else 0
        lines.append(f"#define {macro}_SCALE {c_text.number(tensor.scales[0])}")
        lines.append(f"#define {macro}_ZERO_POINT {c_text.signed(zero_point)}")
    return [*lines, ""]


def golden(name: str, origin: str, ports: Sequence[Port], vectors: Golden, own: str) -> str:
    """The header with the golden vectors; `own` is the artifact's header."""
    guard = f"EDGEKIT_{name.upper()}_GOLDEN_H"
    arrays = [
        _vectors(name, port, values)
        for port, values in zip(ports, (*vectors.inputs, *vectors.outputs), strict=True)
    ]
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f"/* Inputs: {c_text.comment(vectors.origin)}. */",
        "/* Outputs: what LiteRT's reference kernels answer. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        f'#include "{own}"',
        "",
        f"#define {name.upper()}_GOLDEN_COUNT {vectors.count}",
        "",
        *arrays,
        f"#endif /* {guard} */",
        "",
    ])  # fmt: skip


def golden_name(name: str, port: Port) -> str:
    """The array of an input's or output's golden vectors."""
    return f"{name}_golden_{port.macro.lower()}"


def _vectors(name: str, port: Port, values: Sequence[np.ndarray]) -> str:
    kind, size = c_text.c_type(str(values[0].dtype)), f"{name.upper()}_{port.macro}_SIZE"
    rows = [f"    {{\n{c_text.listing(row.ravel(), '        ')}\n    }}" for row in values]
    start = (
        f"static const {kind} {golden_name(name, port)}[{name.upper()}_GOLDEN_COUNT][{size}] = {{"
    )
    return "\n".join([start, ",\n".join(rows), "};", ""])


def main(name: str, origin: str, inputs: Sequence[Port], outputs: Sequence[Port], stem: str) -> str:
    """A program that runs the golden inputs through NAME_invoke: PASS and 0, or FAIL and 1."""
    upper = name.upper()
    found = [f"    static int8_t {port.parameter}[{upper}_{port.macro}_SIZE];" for port in outputs]
    given = [f"{golden_name(name, port)}[i]" for port in inputs]
    arguments = ", ".join([*given, *(port.parameter for port in outputs)])
    checks = [
        f"(memcmp({port.parameter}, {golden_name(name, port)}[i], sizeof {port.parameter}) != 0)"
        for port in outputs
    ]
    condition = " ||\n            ".join([f"({name}_invoke({arguments}) != 0)", *checks])
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f'#include "{stem}_golden.h"',
        "",
        "#include <stdio.h>",
        "#include <string.h>",
        "",
        "int main(void)",
        "{",
        *found,
        "    int wrong = 0;",
        "    int i;",
        "",
        f"    for (i = 0; i < {upper}_GOLDEN_COUNT; ++i) {{",
        f"        if ({condition}) {{",
        '            (void)printf("vector %d: not the golden output\\n", i);',
        "            ++wrong;",
        "        }",
        "    }",
        f'    (void)printf("%s: {name}, %d of %d golden vectors differ\\n",',
        f'                 (wrong == 0) ? "PASS" : "FAIL", wrong, {upper}_GOLDEN_COUNT);',
        "    return (wrong == 0) ? 0 : 1;",
        "}",
        "",
    ])  # fmt: skip
