"""Metrics against scikit-learn, hand-made cases and simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import metrics
from edgekit.errors import DataError, UsageError
from edgekit.intervals import wilson
from edgekit.types import Accuracy, TensorSpec

RNG = np.random.default_rng(0)


def out(*shape: int | None, name: str = "scores") -> tuple[TensorSpec, ...]:
    return (TensorSpec(name, (None, *shape), "float32"),)


def evaluate(
    name: str | None,
    y: NDArray[Any] | None,
    output: NDArray[Any],
    x: NDArray[Any] | None = None,
) -> Accuracy:
    metric = metrics.resolve(name, outputs=out(*output.shape[1:]), labels=y)
    return metric.evaluate(x, y, output)


def test_top1_and_top5_agree_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, y = RNG.normal(size=(300, 10)), RNG.integers(0, 10, 300)
    for k in (1, 5):
        found = evaluate(f"top{k}", y, scores)
        expected = sklearn.top_k_accuracy_score(y, scores, k=k, labels=range(10))
        assert found.value == pytest.approx(expected)
        assert found.ci95 == pytest.approx(wilson(round(expected * 300), 300))
        assert (found.n, found.metric, found.higher_is_better) == (300, f"top{k}", True)


@pytest.mark.parametrize("kind", ["uint8", "float64", "one-hot", "soft", "column"])
def test_top1_takes_labels_in_every_usual_form(kind: str) -> None:
    scores, y = np.eye(4)[[0, 1, 2, 3, 0]], np.array([0, 1, 2, 0, 3])
    labels: NDArray[Any]
    if kind == "one-hot":
        labels = np.eye(4, dtype=np.uint8)[y]
    elif kind == "soft":
        labels = np.eye(4)[y] * 0.9 + 0.025
    elif kind == "column":
        labels = y[:, None]
    else:
        labels = y.astype(kind)
    assert evaluate(None, labels, scores).value == pytest.approx(3 / 5)


def test_ties_go_to_the_lower_class_as_argmax_has_it() -> None:
    scores = np.array([[1, 1, 0, 1, 1, 1, 1]])  # int8 outputs tie often
    assert evaluate("top1", np.array([0]), scores).value == 1.0
    assert evaluate("top1", np.array([1]), scores).value == 0.0
    assert evaluate("top5", np.array([5]), scores).value == 1.0
    assert evaluate("top5", np.array([6]), scores).value == 0.0


@pytest.mark.parametrize("columns", [1, 2])
def test_auc_agrees_with_scikit_learn_with_ties(columns: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    y = RNG.integers(0, 2, 200)
    score = np.round(RNG.normal(size=200) + y, 1)
    output = score[:, None] if columns == 1 else np.stack([-score / 2, score / 2], axis=1)
    found = evaluate("auc", y, output)
    assert found.value == pytest.approx(sklearn.roc_auc_score(y, score))
    assert found.ci95 is not None
    assert found.ci95[0] < found.value < found.ci95[1]


def test_the_auc_interval_is_near_hanley_and_mcneils_standard_error() -> None:
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 150)
    found = evaluate("auc", y, (rng.normal(size=300) + 1.2 * y)[:, None])
    a, n = found.value, 150
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + (n - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (n * n))
    assert found.ci95 is not None
    assert (found.ci95[1] - found.ci95[0]) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_auc_of_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="all 20 labels are 1"):
        evaluate("auc", np.ones(20), RNG.normal(size=(20, 1)))


def test_binary_puts_its_threshold_at_half_for_probabilities_and_at_zero_for_logits() -> None:
    y = np.array([0, 0, 1, 1])
    assert evaluate("binary", y, np.array([[0.1], [0.6], [0.7], [0.4]])).value == 0.5
    assert evaluate("binary", y, np.array([[-3.0], [-0.1], [0.3], [5.0]])).value == 1.0
    two = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    assert evaluate("binary", y, two).value == 0.75
    assert evaluate(None, y, np.array([[0.1], [0.2], [0.7], [0.6]])).metric == "binary"


def test_mse_is_a_mean_over_samples_and_a_drop_is_a_rise() -> None:
    y = RNG.normal(size=(50, 3))
    good = evaluate("mse", y, y + 0.1)
    bad = evaluate("mse", y, y + 0.3)
    assert good.value == pytest.approx(0.01)
    assert not good.higher_is_better
    assert metrics.drop(good, bad) == pytest.approx(0.08)
    assert metrics.drop(bad, good) == pytest.approx(-0.08)


def test_mse_without_labels_compares_with_the_input() -> None:
    x = RNG.normal(size=(20, 4)).astype(np.float32)
    found = evaluate("mse", None, x + 2, x)
    assert found.value == pytest.approx(4, rel=1e-5)
    assert found.n == 20


def test_mse_picks_the_input_of_the_outputs_shape() -> None:
    x = {"noise": np.zeros((5, 2)), "signal": np.ones((5, 3))}
    metric = metrics.resolve("mse", outputs=out(3), labels=None)
    assert metric.evaluate(x, None, np.ones((5, 3))).value == 0.0


def test_the_mse_interval_is_near_the_normal_one() -> None:
    y = np.zeros((500, 1))
    output = np.random.default_rng(2).normal(size=(500, 1))
    found = evaluate("mse", y, output)
    half = 1.96 * np.square(output).std() / np.sqrt(500)
    assert found.ci95 == pytest.approx((found.value - half, found.value + half), abs=0.02)


def test_iou_agrees_with_scikit_learns_jaccard_score() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    y = RNG.integers(0, 4, (6, 8, 9))
    scores = RNG.normal(size=(6, 8, 9, 4)) + 2 * np.eye(4)[y]
    expected = sklearn.jaccard_score(y.ravel(), scores.argmax(-1).ravel(), average="macro")
    assert evaluate("iou", y, scores).value == pytest.approx(expected)
    assert evaluate("iou", y[..., None], scores).value == pytest.approx(expected)
    assert evaluate("iou", y, np.moveaxis(scores, -1, 1)).value == pytest.approx(expected)


def test_iou_leaves_out_ignored_pixels_and_absent_classes() -> None:
    y = np.array([[[0, 1], [255, 255]]])
    scores = np.eye(3)[[[[0, 0], [1, 2]]]]
    assert evaluate("iou", y, scores).value == pytest.approx((1 / 2 + 0) / 2)


def test_iou_of_one_mask_uses_half_as_threshold() -> None:
    y = np.array([[[0, 1], [1, 1]]])
    mask = np.array([[[[0.1], [0.9]], [[0.8], [0.2]]]])
    assert evaluate("iou", y, mask).value == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_batches_joined_give_the_same_figure_as_the_whole() -> None:
    y = RNG.integers(0, 2, 90)
    for name, output in (("auc", RNG.normal(size=(90, 1))), ("top1", RNG.normal(size=(90, 3)))):
        metric = metrics.resolve(name, outputs=out(*output.shape[1:]), labels=y)
        parts = [metric.rows(None, y[i : i + 40], output[i : i + 40]) for i in (0, 40, 80)]
        assert metric.accuracy(np.concatenate(parts)) == metric.evaluate(None, y, output)


def test_correct_says_which_samples_are_right() -> None:
    scores, y = np.eye(3), np.array([0, 2, 2])
    metric = metrics.resolve("top1", outputs=out(3), labels=y)
    assert metric.correct is not None
    assert metric.correct(metric.rows(None, y, scores)).tolist() == [True, False, True]


def test_the_first_of_several_outputs_is_judged() -> None:
    outputs = (*out(3, name="class"), *out(4, name="box"))
    metric = metrics.resolve(None, outputs=outputs, labels=np.array([0, 1]))
    found = metric.evaluate(
        None, np.array([0, 1]), {"box": np.ones((2, 4)), "class": np.eye(3)[:2]}
    )
    assert found.value == 1.0


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([0, 1, 3], "labels run from 0 to 3; the model has 3 classes, 0 to 2"),
        ([1, 2, 3], "subtract 1"),
        ([-1, 0, 1], "from -1 to 1"),
        ([0.5, 1, 2], "class numbers"),
    ],
)
def test_labels_that_are_no_classes_of_the_model_are_named(labels: list[int], told: str) -> None:
    with pytest.raises(DataError, match=told):
        metrics.resolve("top1", outputs=out(3), labels=np.array(labels))


def test_nan_outputs_are_counted() -> None:
    scores = np.ones((10, 3), np.float32)
    scores[2:5, 1] = np.nan
    scores[7, 0] = np.inf
    with pytest.raises(DataError, match="output scores is NaN or infinite for 4 of 10 samples"):
        evaluate("top1", np.zeros(10, int), scores)


@pytest.mark.parametrize(
    ("name", "shape", "labels", "told"),
    [
        ("top5", (4,), [0, 1], "top5 of 4 classes says nothing"),
        ("top1", (2, 2, 4), [0, 1], "--metric iou"),
        ("auc", (3,), [0, 1], "one or two scores"),
        ("auc", (1,), [0, 2], "labels run from 0 to 2"),
        ("mse", (7,), [0, 1], "leave labels out"),
        ("iou", (7,), [0, 1], r"iou takes labels \[n, height, width\]"),
        ("top1", (3,), None, "needs labels"),
    ],
)
def test_a_metric_that_does_not_fit_says_what_it_takes(
    name: str, shape: tuple[int, ...], labels: list[int] | None, told: str
) -> None:
    y = None if labels is None else np.array(labels)
    with pytest.raises(DataError, match=told) as caught:
        evaluate(name, y, np.ones((2, *shape)))
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="top1, top5, auc, binary, mse, iou"):
        metrics.resolve("accuracy", outputs=out(3), labels=None)


@pytest.mark.parametrize("labels", [None, np.array([[0.1, 0.2, 0.4]])])
def test_without_a_default_the_user_is_asked_to_name_one(labels: NDArray[Any] | None) -> None:
    with pytest.raises(DataError, match="name one with --metric"):
        metrics.resolve(None, outputs=out(3), labels=labels)


# ------------------------------------------------------------------------ the user's functions


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "judge.py"
    path.write_text(text)
    return f"{path}:judge"


def test_a_users_function_sees_the_whole_role_and_bare_arrays(tmp_path: Path) -> None:
    spec = write(
        tmp_path,
        "def judge(x, y, outputs):\n"
        "    assert x.shape == (6, 2) and outputs.shape == (6, 1), (x.shape, outputs.shape)\n"
        "    return float((x.sum(1) + y + outputs[:, 0]).mean())\n",
    )
    metric = metrics.resolve(spec, outputs=out(1), labels=None)
    found = metric.evaluate({"in": np.ones((6, 2))}, np.ones(6), {"scores": np.ones((6, 1))})
    assert (found.value, found.n, found.higher_is_better) == (4.0, 6, True)
    assert found.ci95 == (4.0, 4.0)


def test_groups_are_resampled_whole_and_counted(tmp_path: Path) -> None:
    spec = write(
        tmp_path,
        "import numpy as np\n"
        "def judge(x, y, outputs):\n"
        "    groups = y.reshape(-1, 4)\n"
        "    assert (groups == groups[:, :1]).all(), 'a group was torn'\n"
        "    return groups[:, 0].mean()\n"
        "judge.group_size = 4\n"
        "judge.higher_is_better = False\n",
    )
    metric = metrics.resolve(spec, outputs=out(1), labels=None)
    y = np.repeat(np.arange(25.0), 4)
    found = metric.evaluate(np.zeros((100, 1)), y, np.zeros((100, 1)))
    assert metric.group_size == 4
    assert (found.value, found.n, found.higher_is_better) == (12.0, 25, False)
    half = 1.96 * np.arange(25).std() / 5
    assert found.ci95 == pytest.approx((12 - half, 12 + half), abs=1)


def test_resamples_zero_means_no_interval(tmp_path: Path) -> None:
    spec = write(tmp_path, "def judge(x, y, outputs):\n    return 1\njudge.resamples = 0\n")
    metric = metrics.resolve(spec, outputs=out(1), labels=None)
    assert metric.evaluate(None, None, np.zeros((4, 1))).ci95 is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def judge(x, y, outputs):\n    return 1 / 0\n", "judge.py:2 with ZeroDivisionError"),
        ("def judge(x, y, outputs):\n    return 'good'\n", "returned 'good', not a finite"),
        ("def judge(x, y, outputs):\n    return float('nan')\n", "not a finite number"),
        ("def judge(x):\n    return 1\n", "TypeError"),
        ("def judge(x, y, outputs):\n    raise SystemExit(3)\n", "SystemExit"),
        ("def judge(*a):\n    return 1\njudge.group_size = 3\n", "no multiple of its group_size 3"),
        ("def judge(*a):\n    return 1\njudge.group_size = 0\n", "whole number, at least 1"),
        ("def other(*a):\n    return 1\n", "no function 'judge'; it defines: other"),
        ("def judge(:\n", "judge.py:1 with SyntaxError"),
        ("import no_such_module_here\n", "judge.py:1 with ModuleNotFoundError"),
    ],
)
def test_what_goes_wrong_in_a_users_metric_is_one_line(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(DataError, match=told) as caught:
        metrics.resolve(write(tmp_path, text), outputs=out(1), labels=None).evaluate(
            None, None, np.zeros((4, 1))
        )
    assert "\n" not in str(caught.value)
