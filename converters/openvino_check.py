"""Whether this CPU's kernels compute what an IR file says, in the very mode that ships.

Kernels have been seen to fail without a word: int8 dense layers with a static batch of 1 on one
thread returned garbage that changed from run to run on one CPU, and were right with a batch that
may vary. So each artifact is run as it ships, twice, and against the same file with its quantizers
computed in float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit.chunks import Arrays
from edgekit.converters import openvino_reading
from edgekit.converters.openvino_execution import Session
from edgekit.converters.openvino_graph import Model
from edgekit.converters.openvino_interface import to_grid, to_real
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

Outputs = list[list[NDArray[np.generic]]]

CHECKED_SAMPLES = 32
ENOUGH_DB = 40.0
TOLERATED_LOSS_DB = 12.0
"""Kernels round residual additions otherwise than float arithmetic does: up to 10 dB of difference
were seen where little noise was left (32 samples, softmax). Broken ones lose 12 to 40."""


class Artifact(NamedTuple):
    """IR files as they ship."""

    path: Path
    options: Mapping[str, str]
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]


def settle(
    model: Model,
    artifact: Artifact,
    write: Callable[[Model], None],
    given: Sequence[Arrays],
    expected: Outputs,
    check: Callable[[Artifact, Sequence[Arrays], Outputs], str | None] | None = None,
) -> tuple[Artifact, list[str]]:
    """Writes a quantized model so that this CPU computes what it says.

    Args:
        model: The quantized graph; its batch is freed where that is the remedy.
        artifact: The files to write, and how they run.
        write: Writes the graph.
        given: Batches of float inputs by name.
        expected: The float model's outputs for these.
        check: Finds what is wrong with the files; default `kernel_fault`.

    Returns:
        The artifact as written, and a warning where it is not what was asked for.

    Raises:
        ConversionError: No form of the artifact runs correctly here.
    """
    check = check or kernel_fault
    write(model)
    fault = check(artifact, given, expected)
    if fault is None:
        return artifact, []
    try:
        freed = with_free_batch(model, artifact)
    except ConversionError:
        raise _wrong(fault) from None
    write(model)
    left = check(freed, given, expected)
    if left is not None:
        raise _wrong(left)
    warning = (
        "the batch of this artifact may vary, although a static one was asked for: with that,"
        f" OpenVINO runs the int8 model wrongly on this CPU ({fault})"
    )
    return freed, [warning]


def with_free_batch(model: Model, artifact: Artifact) -> Artifact:
    """Lets the batch of a graph vary, in place; the artifact with the shapes to match."""
    openvino_reading.free_batch(model)

    def freed(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
        return [
            msgspec.structs.replace(spec, shape=(None, *spec.shape[1:])) if spec.shape else spec
            for spec in specs
        ]

    return artifact._replace(inputs=freed(artifact.inputs), outputs=freed(artifact.outputs))


def kernel_fault(artifact: Artifact, given: Sequence[Arrays], expected: Outputs) -> str | None:
    """What is wrong with an artifact as this CPU runs it, or None.

    Args:
        artifact: The files and how they run.
        given: Batches of float inputs by name.
        expected: The float model's outputs for these.
    """
    session = Session(artifact.path, options=artifact.options)
    first = _outputs(session, artifact, given)
    simulated = Session(artifact.path, simulated=True, options=artifact.options)
    again = _outputs(session, artifact, given)
    return judge(expected, _outputs(simulated, artifact, given), first, again)


def judge(expected: Outputs, simulated: Outputs, first: Outputs, second: Outputs) -> str | None:
    """Compares two runs of an artifact with each other, its simulation and the float model."""
    for number in range(len(expected[0])):
        runs = [_joined(outputs, number) for outputs in (expected, simulated, first, second)]
        reference, model, found, again = runs
        if not np.array_equal(found, again, equal_nan=True):
            return "its outputs change from run to run"
        possible, real = _sqnr_db(reference, model), _sqnr_db(reference, found)
        if real < min(possible, ENOUGH_DB) - TOLERATED_LOSS_DB:
            return f"its kernels reach {real:.1f} dB where the file itself reaches {possible:.1f}"
    return None


def _wrong(fault: str) -> ConversionError:
    return ConversionError(
        f"OpenVINO runs the int8 model wrongly on this CPU: {fault}",
        "use --precision int8-weight or fp16, or --target host (LiteRT)",
    )


def _outputs(session: Session, artifact: Artifact, given: Sequence[Arrays]) -> Outputs:
    return [
        [
            to_real(np.array(value), spec)
            for value, spec in zip(session.run(feed), artifact.outputs, strict=True)
        ]
        for feed in (
            {spec.name: to_grid(arrays[spec.name], spec) for spec in artifact.inputs}
            for arrays in given
        )
    ]


def _joined(outputs: Outputs, number: int) -> NDArray[np.float64]:
    return np.concatenate([batch[number].reshape(-1) for batch in outputs]).astype(np.float64)


def _sqnr_db(reference: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    noise = float(np.square(reference - found).sum())
    signal = float(np.square(reference).sum())
    if not np.isfinite(noise):
        return -np.inf
    return float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
