"""The six warnings fire on the mistake, with figures, and stay silent on correct use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import data, lint_distribution
from edgekit.data_linting import lint, lint_dataset
from edgekit.types import Batch, TensorSpec

Array = NDArray[Any]
Predict = Callable[[dict[str, Array]], Mapping[str, Array]]

IMAGE = (TensorSpec("image", (None, 8, 8, 1), "float32"),)
CLASSES = 5


def smooth(rng: np.random.Generator, count: int, side: int = 8) -> Array:
    """Grey images with correlated neighbours, 0…255, each with its own brightness."""
    coarse = rng.uniform(0, 1, (count, side // 4 + 1, side // 4 + 1))
    position = np.linspace(0, side // 4, side)
    low = np.minimum(position.astype(int), side // 4 - 1)
    part = position - low
    rows = coarse[:, low] * (1 - part)[:, None] + coarse[:, low + 1] * part[:, None]
    found = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return np.round(found * 255)[..., None].astype(np.float32)


def make(count: int, seed: int = 0) -> Batch:
    """Images whose class is told by the brightness of their left half, against their mean."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = smooth(rng, count) * 0.4
    images[np.arange(count), 0, labels, 0] = 255
    return Batch({"image": images}, labels)


def model_for(scale: float) -> Predict:
    """Right for inputs of about 0…scale; saturates elsewhere, as trained networks do."""

    def predict(x: dict[str, Array]) -> Mapping[str, Array]:
        dots = x["image"][:, 0, :CLASSES, 0] / scale
        scores = 8 * np.clip(dots, 0.02, 1.5) + np.array([0.5, 0.4, 0.3, 0.2, 0.1])
        exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
        return {"probabilities": exponents / exponents.sum(axis=1, keepdims=True)}

    return predict


def run(
    calib: Batch, judged: Batch | None, scale: float = 255.0, preprocess: str = "none"
) -> tuple[str, ...]:
    return lint(calib, judged, model_for(scale), preprocess=preprocess, inputs=IMAGE)


def drop_labels(batch: Batch) -> Batch:
    return Batch(batch.x, None)


@pytest.mark.parametrize("count", [8, 20, 100])
def test_correct_use_gives_no_warning_for_any_of_thirty_seeds(count: int) -> None:
    for seed in range(30):
        calib, judged = make(count, 2 * seed), make(2 * count, 2 * seed + 1)
        assert run(calib, judged) == ()
        assert run(calib, judged, 1.0, "unit") == ()
        assert run(drop_labels(calib), drop_labels(judged)) == ()
        assert run(calib, None) == ()


# ------------------------------------------------------------------------------- wrong range


@pytest.mark.parametrize(
    ("raw_scale", "model_scale", "preprocess", "better"),
    [
        (1.0, 255.0, "unit", "none"),
        (1.0, 1.0, "none", "unit"),
        (1 / 255, 1.0, "unit", "none"),
        (1 / 255, 255.0, "none", "mean=0,std=0.0039215686"),
    ],
)
def test_double_or_missing_normalisation_is_shown_with_figures(
    raw_scale: float, model_scale: float, preprocess: str, better: str
) -> None:
    batch = make(100)
    raw = Batch({"image": batch.x["image"] * np.float32(raw_scale)}, batch.y)
    if preprocess == "none" and raw_scale == 1.0:
        predict = _overflowing(model_for(model_scale))
    else:
        predict = model_for(model_scale)
    found = lint(raw, None, predict, preprocess=preprocess, inputs=IMAGE)
    assert len(found) == 1
    assert found[0].startswith(f"--preprocess {preprocess} looks wrong for this model: ")
    assert "of 100 labelled samples right" in found[0]
    assert found[0].endswith(f"type --preprocess {better}")
    assert "100.0% with" in found[0]


def _overflowing(predict: Predict) -> Predict:
    """A model that answers at random where its input is far above its range."""

    def wrapped(x: dict[str, Array]) -> Mapping[str, Array]:
        if x["image"].max() < 2:
            return predict(x)
        noise = np.random.default_rng(0).uniform(size=(len(x["image"]), CLASSES))
        return {"probabilities": noise / noise.sum(axis=1, keepdims=True)}

    return wrapped


def test_without_labels_a_collapse_is_called_weak_evidence() -> None:
    batch = drop_labels(make(100))
    found = run(batch, None, 255.0, "unit")
    assert len(found) == 1
    assert "may be wrong" in found[0]
    assert "100 unlabelled samples fall into 1 of 5 classes" in found[0]
    assert "weak evidence" in found[0]
    assert found[0].endswith("try --preprocess none")


def test_labels_of_the_judging_samples_help_where_calibration_has_none() -> None:
    found = run(drop_labels(make(100)), make(100, 1), 255.0, "unit")
    assert len(found) == 1
    assert "looks wrong" in found[0]


def test_fifteen_calibration_samples_are_enough_with_thirty_judging_ones() -> None:
    found = run(make(15), make(30, 1), 255.0, "unit")
    assert "of 45 labelled samples right" in found[0]


def test_a_model_that_is_merely_bad_gets_no_advice() -> None:
    rng = np.random.default_rng(0)

    def guess(x: dict[str, Array]) -> Mapping[str, Array]:
        return {"scores": rng.uniform(size=(len(x["image"]), CLASSES))}

    for seed in range(40):
        assert lint(make(100, seed), None, guess, preprocess="unit", inputs=IMAGE) == ()


def test_alternatives_are_not_tried_on_a_model_that_is_right() -> None:
    calls = []
    predict = model_for(255.0)

    def counting(x: dict[str, Array]) -> Mapping[str, Array]:
        calls.append(len(x["image"]))
        return predict(x)

    lint(make(300), make(300, 1), counting, preprocess="none", inputs=IMAGE)
    assert calls == [100]


# --------------------------------------------------------------------- the other five warnings


def test_constant_outputs_are_shown() -> None:
    def dead(x: dict[str, Array]) -> Mapping[str, Array]:
        return {"probabilities": np.full((len(x["image"]), 3), 1 / 3, np.float32)}

    batch = drop_labels(make(60))
    found = lint(batch, None, dead, preprocess="none", inputs=IMAGE)
    assert len(found) == 1
    assert "outputs are the same for all 60 samples (probabilities: 0.3333, 0.3333" in found[0]


def test_one_constant_output_of_two_is_no_mistake() -> None:
    def anchors(x: dict[str, Array]) -> Mapping[str, Array]:
        return {"boxes": x["image"].mean(axis=(1, 2)), "anchors": np.ones((len(x["image"]), 4))}

    assert lint(drop_labels(make(60)), None, anchors, preprocess="none", inputs=IMAGE) == ()


def test_identical_samples_are_shown() -> None:
    same = Batch({"image": np.repeat(make(1).x["image"], 30, axis=0)})
    assert run(same, None) == (
        "all 30 samples looked at are identical: check how the data was made",
    )


def test_one_predicted_class_for_many_labelled_ones_is_shown() -> None:
    def stuck(x: dict[str, Array]) -> Mapping[str, Array]:
        scores = x["image"][:, 0, :CLASSES, 0] * 1e-3
        scores[:, 2] = 1 + x["image"].mean(axis=(1, 2, 3))
        return {"scores": scores}

    found = lint(make(100), None, stuck, preprocess="none", inputs=IMAGE)
    assert len(found) == 1
    assert "predicts class 2 for all 100 samples, whose labels name 5 classes" in found[0]


def test_one_class_only_is_shown_for_test_and_for_calibration() -> None:
    batch = make(400)
    assert batch.y is not None
    single = Batch({"image": batch.x["image"][batch.y == 3]}, batch.y[batch.y == 3])
    found = run(make(50, 1), single)
    assert len(found) == 1
    assert f"all {len(single.x['image'])} test labels are 3" in found[0]
    found = run(single, make(400, 1))
    assert len(found) == 1
    assert "calibration samples are of class 3, which is" in found[0]
    assert "x_calib" in found[0]


def test_rare_events_may_be_absent_from_a_calibration_draw() -> None:
    calib, judged = make(100), make(400, 1)
    rare = np.arange(400) < 4
    few = Batch(judged.x, np.where(rare, 1, 0))
    normal = Batch(calib.x, np.zeros(100, int))

    def predict(x: dict[str, Array]) -> Mapping[str, Array]:
        return {"score": x["image"][:, 0, 0] / 255}

    assert not [line for line in lint(normal, few, predict, preprocess="none", inputs=IMAGE)
                if "class" in line]  # fmt: skip


@pytest.mark.parametrize("kind", ["uniform", "bytes", "normal"])
def test_random_noise_is_shown(kind: str) -> None:
    rng = np.random.default_rng(0)
    shape = (200, 8, 8, 1)
    noise = {
        "uniform": rng.random(shape),
        "bytes": rng.integers(0, 256, shape),
        "normal": rng.normal(size=shape),
    }[kind]
    found = lint_distribution.noise(Batch({"image": noise.astype(np.float32)}), IMAGE)
    assert "look like random noise" in found
    assert f"are {kind.replace('bytes', 'uniform')}ly distributed" in found


@pytest.mark.parametrize(
    "shape", [(2000, 20), (500, 30, 1, 40), (500, 40, 16), (3, 8, 8, 1)], ids=str
)
def test_uncorrelated_tables_features_and_embeddings_are_no_noise(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    spec = (TensorSpec("image", (None, *shape[1:]), "float32"),)
    assert lint_distribution.noise(Batch({"image": values}), spec) == ""


def test_calibration_in_another_scale_than_test_is_shown() -> None:
    scaled = make(50)
    calib = Batch({"image": scaled.x["image"] / np.float32(255)}, scaled.y)
    found = run(calib, make(50, 1))
    assert any("far apart: the mean of a sample of image is 0." in line for line in found)


def test_calibration_that_covers_half_of_the_range_is_shown() -> None:
    rng = np.random.default_rng(0)
    contrast = rng.uniform(0.2, 1.8, (120, 1, 1, 1))
    images = (contrast * rng.uniform(-1, 1, (120, 8, 8, 1))).astype(np.float32)
    narrow, wide = Batch({"image": images[:40].clip(-0.5, 0.5)}), Batch({"image": images[40:]})
    found = lint_distribution.shift(narrow, wide, IMAGE)
    assert "% of test values of image are outside the calibration range -0.5 to 0.5" in found


@pytest.mark.parametrize("sizes", [(8, 8), (15, 30), (200, 200)])
@pytest.mark.parametrize("kind", ["normal", "lognormal", "cauchy", "rare", "smooth"])
def test_samples_of_one_distribution_are_never_far_apart(kind: str, sizes: tuple[int, int]) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        draw: dict[str, Callable[[int], Array]] = {
            "normal": lambda n, rng=rng: rng.normal(size=(n, 12)),  # type: ignore[misc]
            "lognormal": lambda n, rng=rng: np.exp(2 * rng.normal(size=(n, 12))),  # type: ignore[misc]
            "cauchy": lambda n, rng=rng: rng.standard_cauchy(size=(n, 12)),  # type: ignore[misc]
            "rare": lambda n, rng=rng: (rng.random((n, 12)) < 0.03) * 1.0,  # type: ignore[misc]
            "smooth": lambda n, rng=rng: smooth(rng, n).reshape(n, -1),  # type: ignore[misc]
        }
        first, second = (Batch({"f": draw[kind](size)}) for size in sizes)
        spec = (TensorSpec("f", (None, first.x["f"].shape[1]), "float32"),)
        assert lint_distribution.shift(first, second, spec) == ""


def test_duplicates_between_batches_are_counted() -> None:
    calib, judged = make(50), make(100, 1)
    mixed = judged.x["image"].copy()
    mixed[10:17] = calib.x["image"][:7]
    assert judged.y is not None
    found = run(calib, Batch({"image": mixed}, None))
    assert len(found) == 1
    assert "7 of 100 test samples are also in calib (50 compared)" in found[0]
    assert "remove them from calib" in found[0]


def test_blank_samples_are_no_duplicates() -> None:
    calib, judged = make(50), make(100, 1)
    calib.x["image"][:20] = 0
    judged.x["image"][:20] = 0
    assert not [line for line in run(calib, judged) if "also in" in line]


def save(path: Path, **arrays: Array) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def test_whole_roles_are_searched_for_duplicates(tmp_path: Path) -> None:
    train, test = make(3000), make(200, 1)
    assert train.y is not None
    assert test.y is not None
    leaked = np.concatenate([train.x["image"], test.x["image"][:30]])
    spec = save(
        tmp_path / "d.npz",
        x_train=leaked,
        y_train=np.concatenate([train.y, test.y[:30]]),
        x_test=test.x["image"],
        y_test=test.y,
    )
    dataset = data.open_data(spec, inputs=IMAGE)
    found = lint_dataset(dataset, model_for(255.0))
    assert found[0].split(" samples")[0].endswith("of 200 test")
    # The thirty copies fell into train and into the part of it that became val.
    assert sum(int(line.split()[0]) for line in found) == 30
    assert any("also in train" in line for line in found)


def test_a_clean_dataset_lints_clean_in_every_form(tmp_path: Path) -> None:
    train, test = make(600), make(300, 1)
    assert train.y is not None
    assert test.y is not None
    arrays = {"x_test": test.x["image"], "y_test": test.y}
    full = {"x_train": train.x["image"], "y_train": train.y, **arrays}
    for seed, given in enumerate((arrays, full, {"x_calib": train.x["image"][:40], **arrays})):
        spec = save(tmp_path / f"{seed}.npz", **given)
        dataset = data.open_data(spec, inputs=IMAGE, seed=seed)
        assert lint_dataset(dataset, model_for(255.0)) == ()


# ----------------------------------------------------------------------------------- real data


real = pytest.mark.skipif("EDGEKIT_DATA" not in os.environ, reason="EDGEKIT_DATA is not set")


def litert(path: str) -> Predict:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(
        os.path.join(os.environ["EDGEKIT_DATA"], path), num_threads=1
    )
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def predict(x: dict[str, Array]) -> Mapping[str, Array]:
        found = []
        interpreter.allocate_tensors()
        for sample in next(iter(x.values())):
            interpreter.set_tensor(source["index"], sample[None])
            interpreter.invoke()
            found.append(interpreter.get_tensor(sink["index"])[0])
        return {sink["name"]: np.stack(found)}

    return predict


def open_real(path: str, shape: tuple[int, ...], preprocess: str, seed: int = 0) -> data.Dataset:
    inputs = (TensorSpec("in", (None, *shape), "float32"),)
    spec = os.path.join(os.environ["EDGEKIT_DATA"], path)
    return data.open_data(spec, inputs=inputs, preprocess=preprocess, seed=seed)


RESNET = "mlperf_tiny_ic_resnet8/pretrainedResnet.tflite"
CIFAR = "mlperf_tiny_ic_resnet8/cifar10_lossless_subset.npz"


@real
def test_resnet8_on_raw_pixels_lints_clean() -> None:
    for seed in range(5):
        dataset = open_real(CIFAR, (32, 32, 3), "none", seed)
        assert lint_dataset(dataset, litert(RESNET)) == ()


@real
@pytest.mark.parametrize("preprocess", ["unit", "signed", "imagenet-torch", "imagenet-caffe"])
def test_resnet8_with_wrong_normalisation_warns(preprocess: str) -> None:
    found = lint_dataset(open_real(CIFAR, (32, 32, 3), preprocess), litert(RESNET))
    assert len(found) == 1
    assert f"--preprocess {preprocess} looks wrong" in found[0]
    assert found[0].endswith("type --preprocess none")


@real
def test_resnet8_with_wrong_normalisation_warns_without_labels_too() -> None:
    dataset = open_real(CIFAR, (32, 32, 3), "unit")
    calib = drop_labels(dataset.raw().calibration())
    found = lint(calib, None, litert(RESNET), preprocess="unit", inputs=dataset.inputs)
    assert len(found) == 1
    assert "weak evidence" in found[0]


@real
def test_the_mnist_lstm_is_clean_with_unit_and_warned_of_without() -> None:
    lstm, mnist = "mnist_lstm_tflite/trained_lstm.tflite", "mnist_lstm_tflite/mnist.npz"
    assert lint_dataset(open_real(mnist, (28, 28), "unit"), litert(lstm)) == ()
    found = lint_dataset(open_real(mnist, (28, 28), "none"), litert(lstm))
    assert len(found) == 1
    assert found[0].endswith("type --preprocess unit")


@real
def test_the_autoencoders_spectrograms_lint_clean() -> None:
    path = os.path.join(os.environ["EDGEKIT_DATA"], "mlperf_tiny_ad_autoencoder/toycar_ad01.npz")
    with np.load(path) as stored:
        clips = [stored[key] for key in ("x_calib_normal", "x_test")]
    windows = [
        np.concatenate([clip[:, k : k + 5].reshape(len(clip), -1) for k in range(0, 196, 28)])
        for clip in clips
    ]
    inputs = (TensorSpec("in", (None, 640), "float32"),)
    predict = litert("mlperf_tiny_ad_autoencoder/ad01_fp32.tflite")
    for seed in range(5):
        rng = np.random.default_rng(seed)
        calib, judged = (Batch({"in": part[rng.permutation(len(part))[:200]]}) for part in windows)
        assert lint(calib, judged, predict, preprocess="none", inputs=inputs) == ()


@real
def test_wake_word_features_are_not_far_apart_for_any_of_thirty_draws() -> None:
    path = os.path.join(
        os.environ["EDGEKIT_DATA"], "mlperf_tiny_sww_conv1d/calibration_samples.npz"
    )
    with np.load(path) as stored:
        specs = stored["specs"].astype(np.float32)
    inputs = (TensorSpec("in", (None, 30, 1, 40), "float32"),)
    for seed in range(30):
        order = np.random.default_rng(seed).permutation(45)
        calib, judged = Batch({"in": specs[order[:15]]}), Batch({"in": specs[order[15:]]})
        assert lint_distribution.noise(calib, inputs) == ""
        assert lint_distribution.shift(calib, judged, inputs) == ""
