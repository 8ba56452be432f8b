"""A .tflite as a C array for TensorFlow Lite Micro, with all that a firmware has to know of it.

Runs inside a worker process. The artifact is NAME.h and NAME.cc, which need nothing but a compiler;
NAME_resolver.h and NAME_main.cc need TensorFlow Lite Micro.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekit import arena
from edgekit.arena_types import TflmArena
from edgekit.converters import c_files, c_golden, c_graph, c_interface, c_micro, c_reference, c_text
from edgekit.converters.c_types import Port
from edgekit.errors import ConversionError

ALIGNMENT_BYTES = 16
"""What TensorFlow Lite Micro asks of a model's first byte."""
PER_LINE = 16


class Emitter:
    """Writes the C array of one model. For `edgekit.workers.Worker`."""

    def emit(
        self,
        model: str,
        header: str,
        samples: str | None,
        seed: int,
        spec: str | None,
        origin: str,
    ) -> dict[str, Any]:
        """Writes the files; arguments and answer are those of c_source.

        Raises:
            ConversionError: TensorFlow Lite Micro has no such operator, or C no such type.
        """
        path, main = Path(model), Path(header)
        name = c_text.identifier(main.stem)
        parsed = c_reference.read(path)
        running = c_reference.interpreter(path)
        graph = parsed.main
        inputs = c_graph.ports(graph.inputs, graph, "INPUT")
        outputs = c_graph.ports(graph.outputs, graph, "OUTPUT")
        _check_types((*inputs, *outputs))
        resolver = c_micro.resolver(name, origin, parsed)
        names = c_interface.names(parsed)
        vectors = c_golden.record(
            running, names.inputs, Path(samples) if samples else None, seed, spec
        )
        planned, content = arena.tflm(graph), path.read_bytes()
        ports = (*inputs, *outputs)
        files = c_interface.write({
            main: c_files.header(name, origin, ports, _declarations(name, len(content), planned)),
            main.with_suffix(".cc"): _array(name, origin, main.name, content),
            c_interface.sibling(main, "_golden.h"): c_files.golden(
                name, origin, ports, vectors, main.name
            ),
            c_interface.sibling(main, "_resolver.h"): resolver,
            c_interface.sibling(main, "_main.cc"): c_micro.main(
                name, origin, inputs, outputs, main.stem
            ),
        })  # fmt: skip
        return {
            "files": list(map(str, files)),
            "inputs": c_interface.specs(inputs, names.inputs),
            "outputs": c_interface.specs(outputs, names.outputs),
            "facts": {
                "arena_head_bytes": planned.head_bytes,
                "arena_tail_estimate_bytes": planned.tail_estimate_bytes,
                "arena_incomplete": list(planned.incomplete),
                "constant_bytes": len(content),
                "golden_vectors": vectors.count,
                "golden_origin": vectors.origin,
            },
            "warnings": [],
            "environment": {},
        }


def _check_types(ports: Sequence[Port]) -> None:
    for port in ports:
        if port.tensor.dtype not in c_text.C_TYPES:
            raise ConversionError(
                f"'{port.tensor.name}' is {port.tensor.dtype}, for which --emit c-array has no C"
                f" type; it has {', '.join(c_text.C_TYPES)}",
                "convert with --input-type int8 --output-type int8",
            )


def _declarations(name: str, length: int, planned: TflmArena) -> str:
    upper = name.upper()
    unknown = [f"/* Not in it: {c_text.comment(what)}. */" for what in planned.incomplete]
    return "\n".join([
        "/* The model: a .tflite of so many bytes, its first one aligned to 16. */",
        f"#define {upper}_LENGTH {length}U",
        f"extern const unsigned char {name}_data[{upper}_LENGTH];",
        "",
        "/* The tensor arena of TensorFlow Lite Micro, in bytes. The head holds the tensors and is",
        " * planned as its greedy planner does. The tail, what the interpreter keeps for itself,",
        " * is an estimate for 64-bit pointers: see arena_used_bytes() on the device. */",
        *unknown,
        f"#define {upper}_ARENA_HEAD_BYTES {planned.head_bytes}",
        f"#define {upper}_ARENA_TAIL_ESTIMATE_BYTES {planned.tail_estimate_bytes}",
        f"#define {upper}_ARENA_BYTES {_generous(planned)}",
    ])  # fmt: skip


def _generous(planned: TflmArena) -> int:
    """Head and tail, the tail a quarter larger than estimated, in whole kibibytes."""
    wanted = planned.head_bytes + planned.tail_estimate_bytes * 5 // 4
    return -(-wanted // 1024) * 1024


def _array(name: str, origin: str, header: str, content: bytes) -> str:
    lines = [
        "    " + ", ".join(f"0x{byte:02x}" for byte in content[start : start + PER_LINE])
        for start in range(0, len(content), PER_LINE)
    ]
    return "\n".join([
        f"/* {c_text.comment(origin)} */",
        f'#include "{header}"',
        "",
        f"alignas({ALIGNMENT_BYTES}) const unsigned char {name}_data[{name.upper()}_LENGTH] = {{",
        ",\n".join(lines),
        "};",
        "",
    ])  # fmt: skip
