"""What an artifact is fed while it is timed: a real sample, or seeded random values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import random

from . import batching, samples, tensors
from .protocol import RunnerError
from .tensors import Array, Tensor


class Source:
    """Where inputs come from. Made before memory is gauged: it brings code of its own."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._seed = job["seed"]
        self._generator = random.default_rng(self._seed)
        self._generator.random(1, dtype=np.float32)
        directory = job.get("samples")
        self._found = samples.read_one(samples.paths(directory)[0]) if directory else None

    def fill(self, session: Any) -> str:
        """Sets a session's inputs, and says with what.

        Raises:
            RunnerError: The samples do not fit, or an input's type cannot be drawn.
        """
        if self._found is not None:
            batching.set_inputs(session, _real(session, self._found))
            return "the first sample of the data"
        drawn = {tensor["name"]: _random(tensor, self._generator) for tensor in session.inputs}
        batching.set_inputs(session, {name: array for name, (array, _) in drawn.items()})
        said = _joined({name: text for name, (_, text) in drawn.items()})
        return "random, seed %d: %s" % (self._seed, said)


def _real(session: Any, found: dict[str, Array]) -> dict[str, Array]:
    size = batching.check(session.inputs, found)[1]
    return {
        tensor["name"]: batching.part(
            tensors.to_runtime(found[tensor["name"]][:size], tensor), 0, size
        )
        for tensor in session.inputs
    }


def _random(tensor: Tensor, generator: Any) -> tuple[Array, str]:
    shape = tensors.concrete(tensor["shape"])
    dtype: Any = np.dtype(tensor["dtype"])
    if dtype.kind == "f":
        return generator.random(shape, dtype=np.float32).astype(dtype), "uniform in [0, 1)"
    if dtype.kind in "iu" and tensor["scale"] is not None:
        limits = np.iinfo(dtype)
        drawn = generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
        return drawn, "all of %s" % dtype
    if dtype.kind in "iub":  # ids or flags: larger ones may lie outside a table
        return generator.integers(0, 2, shape).astype(dtype), "0 or 1"
    raise RunnerError(
        "input '%s' has type %s, for which no values can be drawn" % (tensor["name"], dtype),
        "add --data",
        "data",
    )


def _joined(said: dict[str, str]) -> str:
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return ", ".join("%s %s" % pair for pair in said.items())
