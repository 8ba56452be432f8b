"""Runs a role through both models, a part at a time, and keeps figures instead of outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, compare_ports
from edgekit.chunks import Arrays
from edgekit.compare_sides import Side
from edgekit.compare_sums import DifferenceSums, finite
from edgekit.compare_types import OutputDifference
from edgekit.errors import ConversionError, ModelError
from edgekit.loading import COPY_AGAIN
from edgekit.types import Batch
from edgekit.workers import scratch

STEP_SLACK = 1e-3
"""How far beyond a whole step float arithmetic may put a value of the grid."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A batch and both models' outputs for it, under the reference's names."""

    batch: Batch
    reference: Arrays
    artifact: Arrays


@dataclass(frozen=True, slots=True)
class Ports:
    """The artifact's names of inputs and outputs by the reference's, and its outputs' steps."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    steps: Mapping[str, float] = field(default_factory=dict)


def ports(reference: Side, artifact: Side) -> Ports:
    """Matches inputs and outputs.

    Raises:
        ModelError: They do not fit.
    """
    return Ports(
        compare_ports.match(reference, artifact, "inputs"),
        compare_ports.match(reference, artifact, "outputs"),
        compare_ports.steps(artifact),
    )


def answers(
    reference: Side, artifact: Side, matched: Ports, batches: Iterator[Batch]
) -> Iterator[Answered]:
    """Both models' outputs, batch by batch, in the data's order.

    Raises:
        ModelError: One of them crashes or fails while it runs.
        DataError: The samples do not fit.
    """
    for part in chunks.parts(batches):
        with scratch() as directory:
            expected = run(reference, [batch.x for batch in part], directory / "reference")
            given = [compare_ports.renamed(batch.x, matched.inputs) for batch in part]
            found = run(artifact, given, directory / "artifact")
            for batch, one, other in zip(part, expected, found, strict=True):
                own = {name: other[matched.outputs[name]] for name in matched.outputs}
                yield Answered(batch, one, own)


def run(side: Side, batches: Sequence[Arrays], directory: Path) -> Iterator[Arrays]:
    """One model's outputs for some batches."""
    samples, outputs = directory / "samples", directory / "outputs"
    chunks.write(samples, batches)
    try:
        side.worker.call("predict", samples=str(samples), outputs=str(outputs))
    except ConversionError as error:
        raise ModelError(error.message, COPY_AGAIN) from None
    yield from chunks.read(outputs)


class Differences:
    """Accumulates how far outputs are from each other."""

    def __init__(self, matched: Ports) -> None:
        self._ports = matched
        self._sums = {name: DifferenceSums() for name in matched.outputs}
        self._agreeing = dict.fromkeys(matched.outputs, 0)
        self._classes = dict.fromkeys(matched.outputs, True)
        self._samples = 0

    def add(self, answered: Answered) -> None:
        """Takes in one batch.

        Raises:
            ModelError: An output has another shape than the reference's.
        """
        self._samples += len(next(iter(answered.reference.values())))
        for name, sums in self._sums.items():
            expected, found = answered.reference[name], answered.artifact[name]
            if expected.shape != found.shape:
                raise ModelError(
                    f"output '{name}' has shape {list(found.shape[1:])} per sample in the"
                    f" artifact, and {list(expected.shape[1:])} in the reference",
                    "compare an artifact with the model that it was made from",
                )
            sums.add(expected, found)
            if is_classes(expected):
                self._agreeing[name] += int((expected.argmax(1) == found.argmax(1)).sum())
            else:
                self._classes[name] = False

    def figures(self) -> tuple[OutputDifference, ...]:
        """One per output, in the reference's order."""
        return tuple(self._figure(name, sums) for name, sums in self._sums.items())

    def _figure(self, name: str, sums: DifferenceSums) -> OutputDifference:
        own = self._ports.outputs[name]
        step = self._ports.steps.get(own)
        return OutputDifference(
            name=name,
            artifact_output=own,
            samples=self._samples,
            max_abs=finite(sums.largest),
            mean_abs=finite(sums.mean_abs),
            sqnr_db=sums.sqnr_db,
            cosine=sums.cosine,
            step=step,
            max_steps=in_steps(sums.largest, step),
            top1_agreement=self._agreeing[name] / self._samples if self._classes[name] else None,
        )


def is_classes(output: NDArray[np.generic]) -> bool:
    """Whether an output is a list of two or more scores per sample."""
    return output.ndim == 2 and output.shape[1] > 1


def in_steps(difference: float, step: float | None) -> float | None:
    """A difference in quantization steps; None where there are none, or nothing to divide."""
    return difference / step if step and math.isfinite(difference) else None


def within_one_step(max_steps: float | None) -> bool:
    """Whether a difference is what kernels that round the last bit otherwise make."""
    return max_steps is not None and 0 < max_steps <= 1 + STEP_SLACK
