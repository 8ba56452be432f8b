"""The data that a model is judged on, opened before anything runs, with its test labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit import metrics
from edgekit.data import Dataset, open_data
from edgekit.types import TensorSpec

BATCH_SAMPLES = 64


def open_test(
    spec: str,
    *,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    preprocess: str,
    metric: str | None,
    seed: int,
) -> tuple[Dataset, NDArray[np.generic] | None]:
    """Opens data for a model, in the groups of samples that its metric wants.

    Args:
        spec: `--data`.
        inputs: The model's.
        outputs: The model's, which the metric has to suit.
        preprocess: What is done to inputs; "none" leaves them.
        metric: Its name, or None where the default will be taken.
        seed: Of the roles that have to be made.

    Returns:
        The data, and the labels of the test role: of a function the first batch's, which come with
        its samples; None where there are none.

    Raises:
        UsageError, DataError: See edgekit.data.open_data and edgekit.metrics.resolve.
    """
    dataset = open_data(
        spec,
        inputs=tuple(inputs),
        preprocess=preprocess,
        seed=seed,
        group_size=metrics.group_size(metric, outputs),
    )
    labels = dataset.labels("test")
    if labels is None:
        labels = next(dataset.batches("test", BATCH_SAMPLES)).y
    return dataset, labels
