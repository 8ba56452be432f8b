"""`--metric`: how good outputs are, with n and a 95 % interval.

Labels belong to the model's first output; the built-in metrics judge that one. A
`file.py:function` gets all of them. Proportions carry Wilson's interval, the others a percentile
bootstrap over samples (seed 0, 1000 draws).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgekit import hashing, metric_functions, metric_rows, user_code
from edgekit.errors import DataError
from edgekit.intervals import bootstrap, wilson
from edgekit.metric_names import ALLOWED, check_name
from edgekit.types import Accuracy, TensorSpec
from edgekit.user_code import UserFunction

Array = NDArray[Any]
Inputs = Mapping[str, Array] | Array | None
Outputs = Mapping[str, Array] | Array
Rows = NDArray[np.float64]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Metric:
    """A metric that is ready for one model.

    Attributes:
        name: As named on the command line.
        higher_is_better: False for errors.
        output: The name of the output that a built-in metric judges.
        per_sample: What one batch (x, y, output) leaves of itself, as [n, …] numbers, so that
            neither outputs nor inputs of a whole role are held; None for a user's function, which
            sees the whole role at once.
        conclude: Turns the joined numbers of all batches into (value, interval).
        correct: Which samples are right, from the same numbers; None where right or wrong has no
            meaning.
        needs_x: Whether `evaluate` looks at x.
        user: The user's function.
    """

    name: str
    higher_is_better: bool
    output: str
    per_sample: Callable[[Array | None, Array | None, Array], Rows] | None
    conclude: Callable[[Rows], tuple[float, tuple[float, float] | None]] | None
    correct: Callable[[Rows], NDArray[np.bool_]] | None = None
    needs_x: bool = False
    user: UserFunction | None = None

    @property
    def group_size(self) -> int:
        """Consecutive samples that belong together (`function.group_size`)."""
        return 1 if self.user is None else metric_functions.group_size(self.user)

    def rows(self, x: Inputs, y: Array | None, outputs: Outputs) -> Rows:
        """What one batch leaves of itself; join batches with np.concatenate.

        Raises:
            DataError: Labels and outputs do not fit, or outputs are NaN or infinite.
        """
        assert self.per_sample is not None, f"{self.name} sees the whole role at once"
        named = _named(outputs, self.output)
        check_finite_outputs(named)
        output = named[self.output]
        if y is not None and len(y) != len(output):
            raise DataError(
                f"{self.name}: {len(y)} labels for {len(output)} outputs",
                "give as many labels as samples",
            )
        return self.per_sample(_matching_input(x, output), y, output)

    def right(self, x: Inputs, y: Array | None, outputs: Outputs) -> NDArray[np.bool_] | None:
        """Which samples are right, [n]; None where right or wrong has no meaning."""
        return None if self.correct is None else self.correct(self.rows(x, y, outputs))

    def accuracy(self, rows: Rows) -> Accuracy:
        """The figure of a whole role, from the joined numbers of its batches."""
        assert self.conclude is not None, f"{self.name} sees the whole role at once"
        value, ci95 = self.conclude(rows)
        return Accuracy(self.name, value, ci95, len(rows), self.higher_is_better)

    def evaluate(self, x: Inputs, y: Array | None, outputs: Outputs) -> Accuracy:
        """The figure of a whole role at once.

        Args:
            x: Inputs by name (or the one input) as the model saw them; None if not `needs_x`.
            y: The labels, in order.
            outputs: Arrays [n, …] by output name, or the one output.

        Raises:
            DataError: As `rows`; or the user's function fails or returns no finite number.
        """
        if self.user is None:
            return self.accuracy(self.rows(x, y, outputs))
        named = _named(outputs, self.output)
        check_finite_outputs(named)
        return metric_functions.evaluate(self.user, x, y, named)


def resolve(name: str | None, *, outputs: Sequence[TensorSpec], labels: Array | None) -> Metric:
    """Finds a metric, and checks that labels and outputs suit it.

    Without a name: `top1` for two or more classes, `binary` for a single output with labels 0
    and 1.

    Args:
        name: The value of `--metric`, or None for the default.
        outputs: The model's outputs; the first one is judged.
        labels: Some or all labels, or None where the data has none.

    Raises:
        UsageError: There is no such metric.
        DataError: It does not suit the model or the labels, or no default does.
    """
    output = outputs[0]
    if name is None:
        name = _default(output, labels)
    if user_code.split(name):
        user = metric_functions.load(name)
        higher = metric_functions.higher_is_better(user)
        return Metric(name, higher, output.name, None, None, needs_x=True, user=user)
    check_name(name)
    if labels is None and name != "mse":
        raise DataError(
            f"--metric {name} needs labels, and the data gives none",
            "add them (y_test), or name --metric mse or file.py:function",
        )
    if labels is not None and name in {"top1", "top5"}:
        metric_rows.class_numbers(labels, output.shape[-1], name)
    return _BUILT_IN[name](output.name)


def group_size(name: str | None, outputs: Sequence[TensorSpec]) -> int:
    """Samples in a row that a user's metric keeps together; the built-in ones judge each alone."""
    if name is None or not user_code.split(name):
        return 1
    return resolve(name, outputs=outputs, labels=None).group_size


def of_labels(accuracy: Accuracy, labels: Array | None) -> Accuracy:
    """A figure with what tells its labels from others; without labels, as it is."""
    if labels is None:
        return accuracy
    content = np.ascontiguousarray(labels, dtype=np.float64).tobytes()
    return msgspec.structs.replace(accuracy, labels_sha256=hashing.sha256_bytes(content))


def drop(reference: Accuracy, candidate: Accuracy) -> float:
    """How much worse the candidate is, absolute in the metric; negative where it is better."""
    lost = reference.value - candidate.value
    return lost if reference.higher_is_better else -lost


def check_finite_outputs(outputs: Mapping[str, Array]) -> None:
    """Raises DataError where a model's outputs are NaN or infinite, with how many samples are."""
    for name, array in outputs.items():
        if array.dtype.kind != "f":
            continue
        bad = int((~np.isfinite(array).reshape(len(array), -1).all(axis=1)).sum())
        if bad:
            raise DataError(
                f"the output {name} is NaN or infinite for {bad} of {len(array)} samples",
                "check --preprocess and the model; fp16 overflows above 65504",
            )


def _default(output: TensorSpec, labels: Array | None) -> str:
    if labels is not None and len(output.shape) >= 2:
        if output.shape[-1] != 1 and metric_rows.are_classes(labels, output.shape[-1]):
            return "top1"
        if output.shape[-1] == 1 and metric_rows.are_classes(labels, 2):
            return "binary"
        if output.shape[-1] != 1 and metric_rows.are_numbers(labels):
            metric_rows.class_numbers(labels, output.shape[-1], "top1")  # raises, with their range
    kind = "no labels" if labels is None else "labels that are no class numbers"
    raise DataError(
        f"no metric goes without saying: the data has {kind}, the output is {output.name}",
        f"name one with --metric: {ALLOWED}",
    )


def _proportion(
    correct: Callable[[Rows], NDArray[np.bool_]],
) -> Callable[[Rows], tuple[float, tuple[float, float] | None]]:
    def conclude(rows: Rows) -> tuple[float, tuple[float, float] | None]:
        right = int(correct(rows).sum())
        return right / len(rows), wilson(right, len(rows))

    return conclude


def _resampled(
    value: Callable[[Rows], float],
) -> Callable[[Rows], tuple[float, tuple[float, float] | None]]:
    def conclude(rows: Rows) -> tuple[float, tuple[float, float] | None]:
        interval = bootstrap(lambda drawn: value(rows[drawn]), len(rows), resamples=_RESAMPLES)
        return value(rows), interval

    return conclude


def _top(k: int) -> Callable[[str], Metric]:
    def make(output: str) -> Metric:
        return Metric(
            f"top{k}",
            higher_is_better=True,
            output=output,
            per_sample=lambda _x, y, found: metric_rows.top(y, found, k),
            conclude=_proportion(metric_rows.flags),
            correct=metric_rows.flags,
        )

    return make


def _binary(output: str) -> Metric:
    return Metric(
        "binary",
        higher_is_better=True,
        output=output,
        per_sample=lambda _x, y, found: metric_rows.scores(y, found, "binary"),
        conclude=_proportion(metric_rows.binary_correct),
        correct=metric_rows.binary_correct,
    )


def _auc(output: str) -> Metric:
    return Metric(
        "auc",
        higher_is_better=True,
        output=output,
        per_sample=lambda _x, y, found: metric_rows.scores(y, found, "auc"),
        conclude=metric_rows.auc_with_interval,
    )


def _mse(output: str) -> Metric:
    return Metric(
        "mse",
        higher_is_better=False,
        output=output,
        per_sample=metric_rows.squared_error,
        conclude=_resampled(lambda rows: float(rows.mean())),
        needs_x=True,
    )


def _iou(output: str) -> Metric:
    return Metric(
        "iou",
        higher_is_better=True,
        output=output,
        per_sample=lambda _x, y, found: metric_rows.overlaps(y, found),
        conclude=_resampled(metric_rows.mean_iou),
    )


_BUILT_IN: dict[str, Callable[[str], Metric]] = {
    "top1": _top(1), "top5": _top(5), "auc": _auc, "binary": _binary, "mse": _mse, "iou": _iou,
}  # fmt: skip


def _named(outputs: Outputs, name: str) -> Mapping[str, Array]:
    return {name: outputs} if isinstance(outputs, np.ndarray) else outputs


def _matching_input(x: Inputs, output: Array) -> Array | None:
    """The input that an autoencoder's output stands for: the first of the same shape."""
    if x is None or isinstance(x, np.ndarray):
        return x
    arrays = list(x.values())
    return next((array for array in arrays if array.shape == output.shape), arrays[0])
