"""Functions of tensors as TensorFlow graphs: one for each shape that comes, and no warnings of it.

Imports TensorFlow: for workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class Traced:
    """A function of a list of tensors, run as a graph; variables that it reads may change."""

    def __init__(self, function: Callable[[list[Any]], Any]) -> None:
        self._function = tf.function(lambda *given: function(list(given)), autograph=False)
        self._graphs: dict[Any, Any] = {}

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """What the function makes of arrays or tensors."""
        tensors = [tf.convert_to_tensor(one) for one in inputs]
        key = tuple((tuple(one.shape), one.dtype) for one in tensors)
        if key not in self._graphs:
            specs = [tf.TensorSpec(one.shape, one.dtype) for one in tensors]
            self._graphs[key] = self._function.get_concrete_function(*specs)
        return self._graphs[key](*tensors)
