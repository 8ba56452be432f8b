"""Prediction with artifacts whose batch is fixed: float arrays [n, …] in, and out."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from . import tensors
from .protocol import RunnerError
from .tensors import Array, Tensor


def predict(session: Any, arrays: dict[str, Array], batch: Optional[int]) -> dict[str, Array]:
    """Runs n samples through a session, as many at a time as its batch holds.

    Args:
        session: What a runtime's `load` returned.
        arrays: Values [n, …] by input name.
        batch: Samples per invoke where the artifact's batch may vary; None means 1, the batch
            that is measured.

    Raises:
        RunnerError: The samples do not fit the artifact's inputs.
    """
    samples, size = check(session.inputs, arrays, batch)
    stored = {
        tensor["name"]: tensors.to_runtime(arrays[tensor["name"]], tensor)
        for tensor in session.inputs
    }
    answers: list[dict[str, Array]] = []
    for start in range(0, samples, size):
        set_inputs(session, {name: part(array, start, size) for name, array in stored.items()})
        session.forget()
        invoke(session)
        answers.append(session.get_outputs())
    return {
        tensor["name"]: _join([one[tensor["name"]] for one in answers], tensor, samples, size)
        for tensor in session.outputs
    }


def set_inputs(session: Any, arrays: dict[str, Array]) -> None:
    """Sets one invoke's inputs; what the runtime raises becomes one line."""
    try:
        session.set_inputs(arrays)
    except session.failures as error:
        shapes = ", ".join("%s %s" % (name, list(array.shape)) for name, array in arrays.items())
        raise RunnerError(
            "the artifact refuses inputs %s: %s" % (shapes, brief(error)), "convert the model again"
        ) from None


def invoke(session: Any) -> None:
    """One inference; what the runtime raises becomes one line."""
    try:
        session.invoke()
    except session.failures as error:
        raise failed(error) from None


def failed(error: BaseException) -> RunnerError:
    """What a runtime raised during an inference."""
    return RunnerError(
        "the artifact failed while it ran: " + brief(error),
        "check its operators with edgekit inspect, and convert the model again",
    )


def brief(error: BaseException) -> str:
    """A runtime's message on one line, without its C++ file names."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from src/")]
    return (" ".join(kept) or type(error).__name__)[:400]


def part(array: Array, start: int, size: int) -> Array:
    """Samples start … start + size; the last batch is filled up with its last sample."""
    found = array[start : start + size]
    if len(found) < size:
        found = np.concatenate([found, np.repeat(found[-1:], size - len(found), axis=0)])
    return found


def check(
    inputs: list[Tensor], arrays: dict[str, Array], batch: Optional[int] = None
) -> tuple[int, int]:
    """The number of samples, and of samples per invoke.

    Raises:
        RunnerError: The samples do not fit the artifact's inputs.
    """
    wanted = [tensor["name"] for tensor in inputs]
    if sorted(wanted) != sorted(arrays):
        raise RunnerError(
            "the artifact's inputs are %s, and the samples are for %s"
            % (", ".join(wanted), ", ".join(arrays) or "none"),
            "name the arrays of --data after the inputs (x_test.NAME)",
            "data",
        )
    for tensor in inputs:
        array = arrays[tensor["name"]]
        if not _fits(array.shape, tensor["shape"]):
            raise RunnerError(
                "input '%s' takes samples of shape %s, and these have %s"
                % (tensor["name"], _text(tensor["shape"][1:]), _text(array.shape[1:])),
                "give --data samples of that shape",
                "data",
            )
    counts = sorted({len(array) for array in arrays.values()})
    if len(counts) != 1 or counts[0] == 0:
        raise RunnerError(
            "the inputs must hold the same number of samples, and hold %s" % counts,
            "give each input its samples",
            "data",
        )
    return counts[0], _batch(inputs, batch)


def _fits(shape: Any, declared: list[Any]) -> bool:
    if len(shape) != max(len(declared), 1):
        return False
    pairs = zip(shape[1:], declared[1:])
    return all(size is None or have == size for have, size in pairs)


def _text(shape: Any) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _batch(inputs: list[Tensor], asked: Optional[int]) -> int:
    fixed = {tensor["shape"][0] for tensor in inputs if tensor["shape"]} - {None}
    if len(fixed) > 1:
        raise RunnerError(
            "the artifact's inputs have different first sizes: %s" % sorted(fixed),
            "export the model with one batch for all inputs",
        )
    return int(fixed.pop()) if fixed else asked or 1


def _join(parts: list[Array], tensor: Tensor, samples: int, size: int) -> Array:
    rows = [one if one.ndim and len(one) == size else one[np.newaxis] for one in parts]
    return tensors.to_float(np.concatenate(rows)[:samples], tensor)
