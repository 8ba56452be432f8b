"""Golden vectors: inputs, and what LiteRT's reference kernels answer, for a test on the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekit import chunks

MAX_VECTORS = 8
MAX_BYTES = 1 << 16
"""Of all inputs together: golden vectors are for flash memory too. One vector there always is."""

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Golden:
    """Vectors by input and by output, in the model's order; `origin` says where inputs are from."""

    inputs: tuple[tuple[Values, ...], ...]
    outputs: tuple[tuple[Values, ...], ...]
    origin: str

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return len(self.inputs[0])


def record(
    running: Interpreter, names: list[str], samples: Path | None, seed: int, spec: str | None
) -> Golden:
    """Runs samples through a `.tflite`, one at a time.

    Args:
        running: The model.
        names: The names under which the samples hold its inputs, in the model's order.
        samples: Float samples (see edgekit.chunks); None for random ones.
        seed: Of the random samples.
        spec: The data SPEC that the samples are from.

    Returns:
        Vectors in the types of the model's inputs and outputs.
    """
    details = running.get_input_details()
    count = _count(details)
    if samples is None:
        random = np.random.default_rng(seed)
        given = [[_random(random, detail) for detail in details] for _ in range(count)]
        origin = f"random numbers, seed {seed}"
    else:
        drawn = chunks.read_all(samples)
        available = len(next(iter(drawn.values())))
        picked = range(min(count, available))
        given = [
            [
                _quantized(drawn[name][row], detail)
                for name, detail in zip(names, details, strict=True)
            ]
            for row in picked
        ]
        origin = f"calibration samples of {spec}, drawn with seed {seed}"
    answers = [_answer(running, vector) for vector in given]
    return Golden(tuple(zip(*given, strict=True)), tuple(zip(*answers, strict=True)), origin)


def _answer(running: Interpreter, vector: list[Values]) -> list[Values]:
    for detail, values in zip(running.get_input_details(), vector, strict=True):
        running.set_tensor(detail["index"], values)
    running.invoke()
    return [running.get_tensor(d["index"]).copy() for d in running.get_output_details()]


def _count(details: list[dict[str, Any]]) -> int:
    sizes = [np.prod(detail["shape"]) * np.dtype(detail["dtype"]).itemsize for detail in details]
    return int(max(1, min(MAX_VECTORS, MAX_BYTES // max(1, sum(sizes)))))


def _random(random: np.random.Generator, detail: dict[str, Any]) -> Values:
    kind = np.dtype(detail["dtype"])
    if kind.kind in "iu":
        ends = np.iinfo(kind)
        drawn: Values = random.integers(ends.min, ends.max, detail["shape"], kind, endpoint=True)
        return drawn
    found: Values = random.standard_normal(detail["shape"]).astype(kind)
    return found


def _quantized(sample: Values, detail: dict[str, Any]) -> Values:
    """A sample in the type of an input."""
    scale, zero_point = detail["quantization"]
    values = sample.reshape(detail["shape"])
    if scale:
        ends = np.iinfo(detail["dtype"])
        values = np.clip(np.rint(values / scale) + zero_point, ends.min, ends.max)
    found: Values = values.astype(detail["dtype"])
    return found
