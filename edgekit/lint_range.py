"""Double or missing normalisation: the model does clearly better with another `--preprocess`.

With labels the evidence is an exact McNemar test on the same samples. Without, it is weaker: the
model's answers collapse onto few classes, and spread confidently under another preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import metric_rows, preprocessing
from edgekit.intervals import discordant, mcnemar_exact
from edgekit.types import Batch, TensorSpec

Array = NDArray[Any]

_SIGNIFICANT = 0.01
_LEAST_GAIN = 0.1
_GOOD_ENOUGH = 0.9
_LEAST_UNLABELLED = 30
_COLLAPSED_BITS = 1.0
_SPREAD_BITS = 1.5
_CONFIDENCE_GAIN = 0.2

_TO_BYTES_FROM_UNIT = "mean=0,std=0.0039215686"
_TO_BYTES_FROM_SIGNED = "mean=-1,std=0.0078431373"
_TORCH_FROM_UNIT = "mean=0.485:0.456:0.406,std=0.229:0.224:0.225"


def warning(
    probe: Batch,
    output: Array,
    preprocess: str,
    inputs: Sequence[TensorSpec],
    output_under: Callable[[str], Array],
) -> str:
    """The warning, or an empty string.

    Args:
        probe: Raw samples, at most 100, over all classes.
        output: The judged output of these samples under `preprocess`.
        preprocess: The value in use.
        inputs: The model's inputs.
        output_under: The same output under another value.
    """
    others = [text for text in alternatives(probe, inputs) if text != preprocess]
    if not others:
        return ""
    right = _correct(probe.y, output)
    if right is not None:
        return _by_accuracy(probe.y, right, preprocess, others, output_under)
    if probe.y is None and is_classifier(output) and len(output) >= _LEAST_UNLABELLED:
        return _by_confidence(output, preprocess, others, output_under)
    return ""


def alternatives(probe: Batch, inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The values of `--preprocess` that make sense for the range of raw samples."""
    specs = preprocessing.preprocessed_inputs(inputs)
    arrays = [probe.x[spec.name] for spec in specs]
    if not arrays:
        return ()
    low, high = min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    axes = [preprocessing.channel_axis(spec.shape) for spec in specs]
    colour = all(
        axis is not None and spec.shape[axis] == 3 for spec, axis in zip(specs, axes, strict=True)
    )
    if low >= 0 and 2 < high <= 255:
        return ("none", "unit", "signed", *(("imagenet-torch", "imagenet-caffe") if colour else ()))
    if low >= 0 and high <= 1:
        torch = (_TORCH_FROM_UNIT,) if colour else ()
        return ("none", "mean=0.5,std=0.5", _TO_BYTES_FROM_UNIT, *torch)
    if low >= -1 and high <= 1:
        return ("none", "mean=-1,std=2", _TO_BYTES_FROM_SIGNED)
    return ("none",)


def is_classifier(output: Array) -> bool:
    """Whether an output holds one score per class, for three classes or more."""
    return output.ndim == 2 and output.shape[1] >= 3


def _correct(labels: Array | None, output: Array) -> NDArray[np.bool_] | None:
    if labels is None or output.ndim != 2:
        return None
    classes = max(2, output.shape[1])
    if not metric_rows.are_classes(labels, classes):
        return None
    if output.shape[1] == 1:
        return metric_rows.binary_correct(metric_rows.scores(labels, output, "binary"))
    return metric_rows.flags(metric_rows.top(labels, output, 1))


def _by_accuracy(
    labels: Array | None,
    right: NDArray[np.bool_],
    preprocess: str,
    others: Sequence[str],
    output_under: Callable[[str], Array],
) -> str:
    if right.mean() >= _GOOD_ENOUGH:
        return ""
    best, best_right, best_p = "", right, 1.0
    for text in others:
        found = _correct(labels, output_under(text))
        assert found is not None, "the output's shape does not depend on values"
        p = mcnemar_exact(*discordant(right, found))
        if found.sum() > best_right.sum() and p < best_p:
            best, best_right, best_p = text, found, p
    # Bonferroni: each alternative is one more chance to look better by luck.
    if best_p * len(others) >= _SIGNIFICANT or best_right.mean() - right.mean() < _LEAST_GAIN:
        return ""
    return (
        f"--preprocess {preprocess} looks wrong for this model: {right.mean():.1%} of "
        f"{len(right)} labelled samples right, {best_right.mean():.1%} with {best} "
        f"(McNemar p = {best_p:.1g}); type --preprocess {best}"
    )


def _by_confidence(
    output: Array, preprocess: str, others: Sequence[str], output_under: Callable[[str], Array]
) -> str:
    bits, confidence, classes = _answers(output)
    if bits > _COLLAPSED_BITS:
        return ""
    for text in others:
        other_bits, other_confidence, other_classes = _answers(output_under(text))
        spread = other_bits >= bits + _SPREAD_BITS
        if spread and other_confidence >= confidence + _CONFIDENCE_GAIN:
            return (
                f"--preprocess {preprocess} may be wrong for this model: {len(output)} unlabelled "
                f"samples fall into {classes} of {output.shape[1]} classes at mean confidence "
                f"{confidence:.2f}; with {text} into {other_classes} at {other_confidence:.2f} "
                f"(weak evidence: add labels to be sure); try --preprocess {text}"
            )
    return ""


def _answers(output: Array) -> tuple[float, float, int]:
    """Entropy of the predicted classes in bits, mean top-1 probability, classes predicted."""
    scores = output.astype(np.float64)
    if scores.min() < 0 or np.abs(scores.sum(axis=1) - 1).max() > 0.05:  # logits
        exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
    counts = np.bincount(scores.argmax(axis=1))
    shares = counts[counts > 0] / len(scores)
    bits = float(-(shares * np.log2(shares)).sum())
    return bits, float(scores.max(axis=1).mean()), len(shares)
