"""Inner activations that distillation makes alike: which layers, and the projections between.

Hints after Romero et al. 2015 (FitNets, arXiv 1412.6550): the student's activation goes through a
learned projection of its last axis and is compared with the teacher's. The projection is there for
equal widths too, since channels of two nets have no common order, and helps even then (Chen et al.
2022, arXiv 2210.15274). It starts as the least-squares fit on real samples: a random one would
first push a trained student away from what it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgekit.data_checks import shape_text
from edgekit.errors import ModelError

Array = NDArray[Any]

MOST_PAIRS = 3
FIT_ROWS = 8192
RIDGE = 1e-4
"""Of the mean square of the student's activation: keeps the fit from amplifying silent channels."""

EXAMPLE = 'features = ["student_layer=teacher_layer"]'


@dataclass(frozen=True, slots=True)
class Pair:
    """Two symbolic tensors whose shapes agree but for the last axis."""

    student: Any
    teacher: Any
    name: str


def find(student: Any, teacher: Any, asked: bool | Sequence[str]) -> list[Pair]:
    """Pairs of activations of two Keras models.

    Args:
        student: The model that learns.
        teacher: The model that it learns from.
        asked: True for the last activation of each spatial shape that both have, the deepest three;
            or names as "layer" or "layer=teacher_layer".

    Raises:
        ModelError: A layer does not exist, or no shapes agree.
    """
    if asked is True:
        return _by_shape(student, teacher)
    return [_by_name(student, teacher, text) for text in asked or ()]


def _by_shape(student: Any, teacher: Any) -> list[Pair]:
    ours, theirs = _last_by_shape(student), _last_by_shape(teacher)
    common = [shape for shape in ours if shape in theirs]
    if not common:
        raise ModelError(
            "no inner activations of student and teacher have a spatial shape in common: the"
            f" student has {_shapes(ours)}, the teacher {_shapes(theirs)}",
            f"name layers whose shapes agree but for the channels ({EXAMPLE}), or features = false",
        )
    return [
        Pair(ours[shape], theirs[shape], f"{_layer(ours[shape])}={_layer(theirs[shape])}")
        for shape in common[-MOST_PAIRS:]
    ]


def _last_by_shape(model: Any) -> dict[Any, Any]:
    """The last activation of each spatial shape, in the order of computation.

    Vectors only count in a net that has nothing else: behind a last feature map they say little
    that it does not.
    """
    answers = {tuple(tensor.shape) for tensor in model.outputs}
    found: dict[Any, Any] = {}
    for tensor in _activations(model):
        shape = tuple(tensor.shape)
        if shape not in answers:
            found.pop(shape[1:-1], None)
            found[shape[1:-1]] = tensor
    spatial = {shape: tensor for shape, tensor in found.items() if shape}
    return spatial or found


def _activations(model: Any) -> list[Any]:
    graph = getattr(model, "_functional", None) or model
    made = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.is_input:
                made += [tensor for tensor in node.outputs[:1] if _is_activation(tensor)]
    return made


def _is_activation(tensor: Any) -> bool:
    dtype = str(keras.backend.standardize_dtype(tensor.dtype))
    return len(tensor.shape) >= 2 and tensor.shape[-1] is not None and dtype.startswith("float")


def _by_name(student: Any, teacher: Any, text: str) -> Pair:
    mine, _, theirs = (part.strip() for part in text.partition("="))
    pair = Pair(
        _named(student, mine, "student"),
        _named(teacher, theirs or mine, "teacher"),
        f"{mine}={theirs or mine}",
    )
    left, right = tuple(pair.student.shape), tuple(pair.teacher.shape)
    if left[1:-1] != right[1:-1] or len(left) != len(right):
        raise ModelError(
            f"features '{text}': the student's '{mine}' has the shape {_text(left)}, the teacher's"
            f" '{theirs or mine}' {_text(right)}; they may differ in the last axis only",
            "name layers of the same spatial size, or features = true, which finds them",
        )
    return pair


def _named(model: Any, name: str, whose: str) -> Any:
    found = [tensor for tensor in _activations(model) if _layer(tensor) == name]
    if not found:
        known = list(dict.fromkeys(_layer(tensor) for tensor in _activations(model)))
        raise ModelError(
            f"features: the {whose} has no layer '{name}' with an activation; it has"
            f" {', '.join(known[-20:])}",
            f"name one of these, as in {EXAMPLE}",
        )
    return found[-1]


def _layer(tensor: Any) -> str:
    return str(tensor._keras_history.operation.name)


def _shapes(found: dict[Any, Any]) -> str:
    return ", ".join(f"{_layer(one)} {_text(one.shape)}" for one in found.values()) or "none"


def _text(shape: Sequence[Any]) -> str:
    return shape_text(("n", *shape[1:]))


class Hint:
    """One pair at work: the projection, and the error relative to the teacher's variance."""

    def __init__(self, pair: Pair, ours: Array, theirs: Array) -> None:
        """Fits the projection.

        Args:
            pair: The two activations.
            ours: The student's on real samples, [n, …, width].
            theirs: The teacher's on the same samples.

        Raises:
            ModelError: The teacher's never changes, so that nothing can be learned from it.
        """
        self.name = pair.name
        target = theirs.reshape(-1, theirs.shape[-1]).astype(np.float64)
        self.variance = float(target.var(axis=0).mean())
        if not self.variance > 0:
            raise ModelError(
                f"features '{pair.name}': the teacher's activation is the same for all samples",
                "name another layer, or features = false",
            )
        kernel, bias = _fit(ours.reshape(-1, ours.shape[-1]).astype(np.float64), target)
        self.kernel = keras.Variable(kernel.astype(np.float32), name="hint_kernel")
        self.bias = keras.Variable(bias.astype(np.float32), name="hint_bias")

    @property
    def variables(self) -> list[Any]:
        """What is trained beside the student, and dropped at the end."""
        return [self.kernel, self.bias]

    def error(self, ours: Any, theirs: Any) -> Any:
        """Mean squared error of the projected activation over the variance of the teacher's."""
        projected = tf.tensordot(ours, self.kernel.value, 1) + self.bias.value
        difference = projected - tf.stop_gradient(theirs)
        return tf.reduce_mean(tf.square(difference)) / self.variance


def _fit(given: Array, target: Array) -> tuple[Array, Array]:
    """Ridge regression of target [n, t] on given [n, s]: kernel [s, t] and bias [t]."""
    step = max(1, len(given) // FIT_ROWS)
    given, target = given[::step], target[::step]
    means = given.mean(axis=0), target.mean(axis=0)
    centred, wanted = given - means[0], target - means[1]
    scatter = centred.T @ centred
    ridge = max(RIDGE * float(np.trace(scatter)) / len(scatter), 1e-12)
    kernel = np.linalg.solve(scatter + ridge * np.eye(len(scatter)), centred.T @ wanted)
    return kernel, means[1] - means[0] @ kernel
