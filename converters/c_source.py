"""int8 .tflite → portable C99 that needs no runtime, bit-exact with LiteRT's reference kernels.

Runs inside a worker process. The artifact is NAME.h and NAME.c; NAME_golden.h and NAME_main.c test
it on the device.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.converters import (
    c_checking,
    c_files,
    c_golden,
    c_interface,
    c_model,
    c_reference,
    c_text,
)
from edgekit.converters.c_types import Port


class Emitter:
    """Writes C for one model. For `edgekit.workers.Worker`."""

    def emit(
        self,
        model: str,
        header: str,
        samples: str | None,
        seed: int,
        spec: str | None,
        origin: str,
    ) -> dict[str, Any]:
        """Writes the files.

        Args:
            model: An int8 .tflite.
            header: The main file to write; its siblings get its stem.
            samples: Float samples for golden vectors (see edgekit.chunks); None for random ones.
            seed: Of random samples.
            spec: The data SPEC that the samples are from.
            origin: What the files were made from and by.

        Returns:
            files (the main one first), inputs, outputs (TensorSpecs as plain data), facts, warnings
            and environment: the compiler with which the golden vectors were run here.

        Raises:
            ConversionError: A layer has no C; nothing was written.
            ParityError: The C does not give the golden outputs.
        """
        path, main = Path(model), Path(header)
        name = c_text.identifier(main.stem)
        parsed = c_reference.read(path)
        running = c_reference.interpreter(path)
        c_reference.check_shapes(running, parsed.main)
        source = c_model.write(parsed, name, origin, main.name)
        names = c_interface.names(parsed)
        vectors = _integers(
            c_golden.record(running, names.inputs, Path(samples) if samples else None, seed, spec),
            source.inputs,
            source.outputs,
        )
        files = c_interface.write(_texts(main, name, origin, source, vectors))
        checked = c_checking.check(files[1], files[3], main.parent.parent)
        return {
            "files": list(map(str, files)),
            "inputs": c_interface.specs(source.inputs, names.inputs),
            "outputs": c_interface.specs(source.outputs, names.outputs),
            "facts": {
                "arena_bytes": source.arena_bytes,
                "constant_bytes": source.constant_bytes,
                "golden_vectors": vectors.count,
                "golden_origin": vectors.origin,
            },
            "warnings": [checked.warning] if checked.warning else [],
            "environment": {"c_compiler": checked.compiler},
        }


def _texts(
    main: Path, name: str, origin: str, source: c_model.Source, vectors: c_golden.Golden
) -> dict[Path, str]:
    """What each file holds: header, source, golden vectors, test program."""
    ports = (*source.inputs, *source.outputs)
    return {
        main: c_files.header(name, origin, ports, _declarations(name, source)),
        main.with_suffix(".c"): source.text,
        c_interface.sibling(main, "_golden.h"): c_files.golden(
            name, origin, ports, vectors, main.name
        ),
        c_interface.sibling(main, "_main.c"): c_files.main(
            name, origin, source.inputs, source.outputs, main.stem
        ),
    }


def _declarations(name: str, source: c_model.Source) -> str:
    return "\n".join([
        "/* Static memory for the results of layers, in bytes. */",
        f"#define {name.upper()}_ARENA_BYTES {source.arena_bytes}",
        "",
        "/* Runs the model once. Returns 0, or -1 where a pointer is NULL. Inputs and outputs must",
        " * not overlap. All calls share one static arena: one call at a time. */",
        f"{c_model.signature(name, source.inputs, source.outputs)};",
    ])  # fmt: skip


def _integers(
    vectors: c_golden.Golden, inputs: tuple[Port, ...], outputs: tuple[Port, ...]
) -> c_golden.Golden:
    """Golden vectors of a model whose float edges are left to the caller, as int8."""
    return dataclasses.replace(
        vectors,
        inputs=_quantized(vectors.inputs, inputs),
        outputs=_quantized(vectors.outputs, outputs),
    )


def _quantized(
    values: tuple[tuple[NDArray[Any], ...], ...], ports: tuple[Port, ...]
) -> tuple[tuple[NDArray[Any], ...], ...]:
    return tuple(
        tuple(_as_int8(array, port) for array in arrays)
        for arrays, port in zip(values, ports, strict=True)
    )


def _as_int8(values: NDArray[Any], port: Port) -> NDArray[Any]:
    """What the QUANTIZE operator makes of floats: to nearest, ties away from zero."""
    if values.dtype == np.int8:
        return values
    scaled = values.astype(np.float32) / port.tensor.scales[0]
    whole = np.trunc(scaled + np.copysign(np.float32(0.5), scaled))
    found: NDArray[Any] = np.clip(whole + port.tensor.zero_points[0], -128, 127).astype(np.int8)
    return found
