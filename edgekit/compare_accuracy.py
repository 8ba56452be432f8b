"""Both models' accuracy on the same samples: the drop, McNemar's test, and class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import chunks, metric_rows, metrics
from edgekit.chunks import Arrays
from edgekit.compare_outputs import Answered, is_classes
from edgekit.compare_types import AccuracyChange, ClassChange
from edgekit.intervals import discordant, mcnemar_exact, paired_change_interval
from edgekit.manifest_types import PairedChange
from edgekit.metrics import Metric
from edgekit.types import Accuracy

Array = NDArray[Any]


class Judged:
    """Accumulates what a metric needs of both models' outputs.

    Built-in metrics leave a few numbers per sample; a user's function needs the whole role.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._labels: list[Array] = []
        self._rows: tuple[list[Array], list[Array]] = ([], [])
        self._inputs: list[Arrays] = []
        self._outputs: tuple[list[Arrays], list[Arrays]] = ([], [])
        self._classes: int | None = None

    def add(self, answered: Answered) -> None:
        """Takes in one batch.

        Raises:
            DataError: Labels and outputs do not fit, or outputs are not finite.
        """
        batch = answered.batch
        if batch.y is not None:
            self._labels.append(batch.y)
        judged = answered.reference[self._metric.output]
        self._classes = int(judged.shape[1]) if is_classes(judged) else None
        if self._metric.per_sample is None:
            self._inputs.append(batch.x)
        for at, outputs in enumerate((answered.reference, answered.artifact)):
            if self._metric.per_sample is None:
                self._outputs[at].append(outputs)
            else:
                self._rows[at].append(self._metric.rows(batch.x, batch.y, outputs))

    def change(self) -> AccuracyChange:
        """The figures of the whole role."""
        labels = np.concatenate(self._labels) if self._labels else None
        found = [metrics.of_labels(self._accuracy(at, labels), labels) for at in (0, 1)]
        right = self._right()
        paired = drop_ci95 = classes = None
        if right is not None:
            paired, drop_ci95 = _paired(*right)
            if labels is not None and self._metric.name == "top1" and self._classes:
                numbers = metric_rows.class_numbers(labels, self._classes, self._metric.name)
                classes = per_class(numbers, *right)
        drop = metrics.drop(*found)
        return AccuracyChange(found[0], found[1], drop, drop_ci95, paired, classes)

    def _accuracy(self, at: int, labels: Array | None) -> Accuracy:
        if self._metric.per_sample is not None:
            return self._metric.accuracy(np.concatenate(self._rows[at]))
        return self._metric.evaluate(
            chunks.joined(self._inputs), labels, chunks.joined(self._outputs[at])
        )

    def _right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        if self._metric.correct is None:
            return None
        one, other = (self._metric.correct(np.concatenate(rows)) for rows in self._rows)
        return one, other


def per_class(
    labels: NDArray[np.int64], reference: NDArray[np.bool_], artifact: NDArray[np.bool_]
) -> tuple[ClassChange, ...]:
    """What became of each class, the one that lost most samples first.

    Args:
        labels: Class numbers [n].
        reference: Which samples the reference gets right, [n].
        artifact: Which samples the artifact gets right, [n].
    """
    found = [
        _class_change(int(label), reference[labels == label], artifact[labels == label])
        for label in np.unique(labels)
    ]
    return tuple(sorted(found, key=lambda one: (one.won - one.lost, one.label)))


def _class_change(label: int, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> ClassChange:
    lost, won = discordant(one, other)
    return ClassChange(
        label, len(one), int(one.sum()), int(other.sum()), lost, won, mcnemar_exact(lost, won),
        paired_change_interval(lost, won, len(one)),
    )  # fmt: skip


def _paired(
    one: NDArray[np.bool_], other: NDArray[np.bool_]
) -> tuple[PairedChange, tuple[float, float]]:
    lost, won = discordant(one, other)
    low, high = paired_change_interval(lost, won, len(one))
    return PairedChange(lost, won, mcnemar_exact(lost, won)), (-high, -low)
