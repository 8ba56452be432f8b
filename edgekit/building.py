"""Builds artifacts and runs them, each in a process that may crash without taking edgekit along.

A `Workshop` holds the two workers of one conversion: the converter, which has the float model
open, and the execution, which runs what was built in the very mode that ships.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from edgekit import chunks
from edgekit.chunks import Arrays
from edgekit.types import Precision, TensorSpec
from edgekit.workers import Worker


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be decided about an artifact of a given model.

    `overrides` maps single activations to another calibration method; `float_layers` stay float.
    """

    precision: Precision
    method: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """An artifact in the staging directory, and what its converter says of it."""

    choice: Choice
    files: tuple[Path, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtime_options: dict[str, str]
    warnings: tuple[str, ...]
    quantized_share: float | None


@dataclass(slots=True)
class Workshop:
    """The workers, and where things lie, of one conversion.

    `per_tensor` says that the converter calibrates single tensors; `per_tensor_operators` are those
    whose weights get one scale, "*" all of them.
    """

    converter: Worker
    execution: Worker
    directory: Path
    name: str
    runtime: str
    threads: int
    seed: int
    calibration: Path
    per_tensor: bool
    input_type: str
    output_type: str
    per_tensor_operators: tuple[str, ...] = ()
    built: int = 0


def build(shop: Workshop, choice: Choice) -> Built:
    """Has the converter write one artifact.

    Raises:
        ConversionError: The converter refused or crashed.
    """
    shop.built += 1
    directory = shop.directory / f"{shop.built:04d}"
    directory.mkdir()
    extra: dict[str, Any] = {"overrides": choice.overrides} if choice.overrides else {}
    if shop.per_tensor_operators:
        extra["per_tensor"] = list(shop.per_tensor_operators)
    answer: dict[str, Any] = shop.converter.call(
        "convert",
        out=str(directory / shop.name),
        precision=choice.precision,
        method=choice.method,
        samples=str(shop.calibration),
        seed=shop.seed,
        float_layers=list(choice.float_layers),
        input_type=shop.input_type,
        output_type=shop.output_type,
        **extra,
    )
    return Built(
        choice=choice,
        files=tuple(Path(path) for path in answer["files"]),
        inputs=specs(answer["inputs"]),
        outputs=specs(answer["outputs"]),
        runtime_options=answer["runtime_options"],
        warnings=tuple(answer["warnings"]),
        quantized_share=answer["quantized_share"],
    )


def open_artifact(shop: Workshop, built: Built) -> dict[str, Any]:
    """Loads an artifact as it will run, and returns what its runtime says of it."""
    opened: dict[str, Any] = shop.execution.call(
        "open",
        runtime=shop.runtime,
        path=str(built.files[0]),
        threads=shop.threads,
        options=built.runtime_options,
        inputs=[msgspec.to_builtins(spec) for spec in built.inputs],
        outputs=[msgspec.to_builtins(spec) for spec in built.outputs],
    )
    return opened


def predict(shop: Workshop, built: Built, samples: Path) -> Arrays:
    """The artifact's outputs, dequantized, for a directory of samples."""
    open_artifact(shop, built)
    outputs = built.files[0].parent / f"outputs-{samples.name}"
    shop.execution.call("predict", samples=str(samples), outputs=str(outputs))
    return chunks.read_all(outputs)


def discard(built: Built) -> None:
    """Removes an artifact that lost, so that a long search fills no disk."""
    shutil.rmtree(built.files[0].parent)


def specs(plain: Sequence[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Tensor specs from a worker's answer."""
    return msgspec.convert(plain, type=tuple[TensorSpec, ...])
