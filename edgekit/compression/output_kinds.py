"""As what the outputs of a student and its teacher can be compared.

A student that answers with probabilities and a teacher that answers with logits train together
without complaint and learn the wrong thing; so it is found out first, by the layers that make the
outputs, and by their numbers on real samples where no layer tells.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekit.compression import output_activations
from edgekit.errors import ModelError

Array = NDArray[Any]

Kind = Literal["probabilities", "independent", "linear", "values"]
"""Softmax; sigmoid; a plain sum, which may be logits or values; numbers that cannot be logits."""

Family = Literal["classes", "independent", "values"]
"""What two outputs are compared as."""

SUM_TOLERANCE = 1e-3
UINT8_STEP = 1 / 256
"""The grid of a quantized softmax: TFLite fixes its scale."""


class Output(NamedTuple):
    """An output: its kind, and in words what tells."""

    kind: Kind
    reason: str


def of_layers(model: Any, place: int) -> Output | None:
    """The kind of a Keras model's output by the layer that makes it; None where none tells."""
    found = output_activations.from_layers(model, place)
    if found is None:
        return None
    kind, reason = found
    last = model.outputs[place]._keras_history.operation
    if kind == "probabilities" and not (_makes_them(last)):
        return None  # folded into other rows, which then need not sum to 1
    return Output("linear" if kind == "values" else kind, reason)


def of_numbers(name: str, answers: Array, step: float | None) -> Output:
    """The kind of an output by its values on real samples.

    Args:
        name: Of the output.
        answers: Finite numbers, [n, …, classes].
        step: The scale of a quantized output: sums of rounded numbers miss 1 by half of it each.
    """
    rows = answers.reshape(-1, answers.shape[-1]).astype(np.float64)
    where = f"on {len(answers)} samples"
    if rows.min() < 0:
        return Output("linear", f"'{name}' has values below 0 {where}")
    if rows.max() > 1 + SUM_TOLERANCE:
        return Output("values", f"'{name}' has values above 1 and none below 0 {where}")
    if step is None and not (rows / UINT8_STEP % 1).any():
        step = UINT8_STEP
    tolerance = max(SUM_TOLERANCE, rows.shape[1] * (step or 0.0) / 2)
    if rows.shape[1] > 1 and np.abs(rows.sum(axis=1) - 1).max() <= tolerance:
        return Output("probabilities", f"rows of '{name}' sum to 1 {where}")
    return Output("independent", f"'{name}' stays between 0 and 1 {where}")


def agree(student: Output, teacher: Output, task: Family | None) -> tuple[Family, str]:
    """As what two outputs are compared, and a sentence where that has to be said.

    Args:
        student: The student's output.
        teacher: The teacher's.
        task: What the task loss takes the student's output for; None where it does not tell.

    Raises:
        ModelError: They mean different things, or it cannot be told what they mean.
    """
    kinds = {student.kind, teacher.kind}
    if "probabilities" in kinds and kinds <= {"probabilities", "linear"}:
        return "classes", _mixed(student, teacher)
    if kinds == {"linear"}:
        unsure = f"matched as values, since no loss says what they are: {student.reason}"
        return task or "values", "" if task else unsure
    if kinds == {"independent"}:
        return ("values" if task == "values" else "independent"), ""
    if kinds == {"independent", "linear"} and task == "independent":
        return "independent", _mixed(student, teacher)
    if "probabilities" not in kinds and ("independent" not in kinds or task == "values"):
        return "values", ""
    raise ModelError(
        f"the outputs of student and teacher mean different things, or it cannot be told: the"
        f" student's {student.reason}, the teacher's {teacher.reason}",
        "give a teacher whose last layer is of the student's kind (softmax, sigmoid or none)",
    )


def family_of_loss(name: str) -> Family | None:
    """What a task loss takes the output for, by its name."""
    if "categorical" in name or "kl_divergence" in name:
        return "classes"
    if "binary" in name:
        return "independent"
    errors = ("cosine", "huber", "log_cosh", "mae", "mean_", "mse")
    return "values" if name.startswith(errors) else None


def _makes_them(operation: Any) -> bool:
    return type(operation).__name__ == "Softmax" or hasattr(operation, "activation")


def _mixed(student: Output, teacher: Output) -> str:
    if student.kind == teacher.kind:
        return ""
    who, bare = ("student", student) if student.kind == "linear" else ("teacher", teacher)
    return (
        f"the {who}'s output is taken as logits ({bare.reason}), since the other side answers with"
        " probabilities: both are compared as log-probabilities"
    )
