"""`.npz` files: streamed, checked against the model, and every kind of damage named."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import data
from edgekit.data import Dataset
from edgekit.errors import DataError
from edgekit.types import TensorSpec

IMAGE = (TensorSpec("image", (None, 4, 4, 1), "float32"),)
RNG = np.random.default_rng(0)
SAMPLES = RNG.integers(0, 256, (20, 4, 4, 1)).astype(np.uint8)
LABELS = np.arange(20) % 10


def opened(path: Path, inputs: tuple[TensorSpec, ...] = IMAGE, **arrays: NDArray[Any]) -> Dataset:
    np.savez(path / "d.npz", **arrays)  # type: ignore[arg-type]
    return data.open_data(str(path / "d.npz"), inputs=inputs)


def all_test_samples(dataset: Dataset) -> NDArray[Any]:
    return np.concatenate([batch.x["image"] for batch in dataset.batches("test", 6)])


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">f4", "float64", "float16", "bool"])
def test_numbers_of_any_type_become_float32(tmp_path: Path, dtype: str) -> None:
    samples = SAMPLES.astype(dtype)
    found = all_test_samples(opened(tmp_path, x_test=samples, x_val=samples))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, samples.astype(np.float32))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_labels_stay_with_their_samples(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "d.npz", x_train=SAMPLES, y_train=LABELS)
    dataset = data.open_data(str(tmp_path / "d.npz"), inputs=IMAGE)
    for batch in dataset.batches("train", 5):
        assert batch.y is not None
        for image, label in zip(batch.x["image"], batch.y, strict=True):
            index = next(i for i in range(20) if (SAMPLES[i] == image).all())
            assert LABELS[index] == label


def test_fortran_order_is_read_right_and_noted(tmp_path: Path) -> None:
    samples = np.asfortranarray(SAMPLES)
    dataset = opened(tmp_path, x_test=samples, x_val=SAMPLES)
    np.testing.assert_array_equal(all_test_samples(dataset), SAMPLES)
    assert "in Fortran order, so read whole: x_test" in dataset.notes


def test_a_missing_or_extra_channel_axis_is_filled_in(tmp_path: Path) -> None:
    found = all_test_samples(opened(tmp_path, x_test=SAMPLES[..., 0], x_val=SAMPLES[..., 0]))
    np.testing.assert_array_equal(found, SAMPLES)
    rows = (TensorSpec("image", (1, 4, None), "float32"),)
    found = all_test_samples(opened(tmp_path, rows, x_test=SAMPLES, x_val=SAMPLES))
    np.testing.assert_array_equal(found, SAMPLES[..., 0])


def test_several_inputs_are_found_by_name_in_the_models_order(tmp_path: Path) -> None:
    inputs = (
        TensorSpec("b/q:0", (None, 2), "float32"),
        TensorSpec("serving_default_a:0", (None, 3), "int32"),
    )
    arrays = {
        "x_test.b/q:0": np.ones((5, 2)),
        "x_test.a": np.arange(15).reshape(5, 3),
        "y_test": np.zeros(5),
    }
    arrays |= {key.replace("test", "val"): array for key, array in arrays.items()}
    dataset = opened(tmp_path, inputs, **arrays)
    batch = next(dataset.batches("test"))
    assert list(batch.x) == ["b/q:0", "serving_default_a:0"]
    assert batch.x["serving_default_a:0"].dtype == np.int32
    np.testing.assert_array_equal(batch.x["serving_default_a:0"], arrays["x_test.a"])


def test_token_ids_stay_whole_numbers_and_are_not_preprocessed(tmp_path: Path) -> None:
    tokens = (TensorSpec("ids", (None, 6), "int64"),)
    ids = RNG.integers(0, 1000, (9, 6)).astype(np.int16)
    np.savez(tmp_path / "d.npz", x_val=ids, x_test=ids)
    dataset = data.open_data(str(tmp_path / "d.npz"), inputs=tokens, preprocess="unit")
    batch = next(dataset.batches("test"))
    assert batch.x["ids"].dtype == np.int64
    np.testing.assert_array_equal(batch.x["ids"], ids)


def test_a_quantized_input_gets_real_numbers(tmp_path: Path) -> None:
    quantized = (TensorSpec("image", (1, 4, 4, 1), "int8", scale=1.0, zero_point=-128),)
    found = all_test_samples(opened(tmp_path, quantized, x_test=SAMPLES, x_val=SAMPLES))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, SAMPLES)


def test_unknown_keys_are_ignored_and_noted(tmp_path: Path) -> None:
    dataset = opened(tmp_path, x_val=SAMPLES, x_test=SAMPLES, x_perf=SAMPLES, names=np.array(["a"]))
    assert "ignored keys: x_perf, names" in dataset.notes


def test_reading_a_few_samples_of_a_large_file_holds_a_few_samples(tmp_path: Path) -> None:
    wide = (TensorSpec("wide", (None, 10_000), "float32"),)
    np.savez_compressed(
        tmp_path / "d.npz", x_val=np.zeros((2, 10_000)), x_test=np.zeros((2000, 10_000), np.uint8)
    )
    dataset = data.open_data(str(tmp_path / "d.npz"), inputs=wide)
    tracemalloc.start()
    dataset.sample("test", 5)
    assert sum(1 for _ in dataset.batches("test", 64)) == 32
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20e6  # the array alone is 20 MB in the file's type, and 80 MB in float32


def test_batches_that_span_chunks_keep_the_order(tmp_path: Path) -> None:
    wide = (TensorSpec("wide", (None, 5000), "float32"),)
    samples = RNG.integers(0, 256, (3000, 5000)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x_val=samples[:2], x_test=samples)
    dataset = data.open_data(str(tmp_path / "d.npz"), inputs=wide)
    position = 0
    for batch in dataset.batches("test", 333):
        count = len(batch.x["wide"])
        np.testing.assert_array_equal(batch.x["wide"], samples[position : position + count])
        position += count
    assert position == 3000


# ------------------------------------------------------------------------------------- damage


def read_all(path: Path, inputs: tuple[TensorSpec, ...]) -> None:
    dataset = data.open_data(str(path), inputs=inputs)
    for role in dataset.roles:
        list(dataset.batches(role))


def refused(path: Path, inputs: tuple[TensorSpec, ...] = IMAGE) -> str:
    """Opens and reads everything; returns the one line that it ends in."""
    with pytest.raises(DataError) as caught:
        read_all(path, inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"specs": SAMPLES, "labels": LABELS}, "it has: specs, labels"),
        ({"y_test": LABELS}, "it has: y_test"),
        ({"x_test": SAMPLES.astype(object)}, "x_test holds pickled Python objects"),
        ({"x_test": SAMPLES, "y_test": LABELS.astype(object)}, "y_test holds pickled"),
        ({"x_test": np.zeros((20, 5, 4, 1))}, r"x_test has shape \[20, 5, 4, 1\]; the input image"),
        ({"x_test": np.zeros((20, 16))}, r"takes \[n, 4, 4, 1\]"),
        ({"x_test": np.zeros((0, 4, 4, 1))}, r"shape \[0, 4, 4, 1\]"),
        ({"x_test": np.float64(3)}, r"x_test has shape \[\]"),
        ({"x_test": SAMPLES, "y_test": LABELS[:-1]}, "x_test 20, y_test 19"),
        ({"x_test": SAMPLES, "y_test": np.int64(1)}, "x_test 20, y_test none"),
        ({"x_test": SAMPLES, "y_test": np.array(["cat"] * 20)}, "y_test has dtype <U3"),
        ({"x_test": SAMPLES.astype(complex)}, "x_test has dtype complex128"),
        ({"x_test": SAMPLES.astype("datetime64[s]")}, "only numbers are read"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=told) as caught:
        data.open_data(str(tmp_path / "d.npz"), inputs=IMAGE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_nan_and_infinite_samples_are_counted_when_they_are_read(
    tmp_path: Path, bad: float
) -> None:
    samples = SAMPLES.astype(np.float64)
    samples[[3, 7], 1, 2, 0] = bad
    np.savez(tmp_path / "d.npz", x_val=SAMPLES, x_test=samples)
    assert "x_test holds NaN or infinite values in 2 of the 20 samples" in refused(
        tmp_path / "d.npz"
    )
    assert "first in sample 3" in refused(tmp_path / "d.npz")


def test_nan_labels_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_val=SAMPLES, x_test=SAMPLES, y_test=np.full(20, np.nan))
    assert "y_test holds NaN" in refused(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (np.full((9, 6), 0.5), "has dtype float64; the input ids takes int8"),
        (np.full((9, 6), 300), "holds values from 300 to 300, which int8"),
    ],
)
def test_tokens_that_the_input_cannot_hold_are_refused(
    tmp_path: Path, ids: NDArray[Any], told: str
) -> None:
    np.savez(tmp_path / "d.npz", x_val=ids, x_test=ids)
    assert told in refused(tmp_path / "d.npz", (TensorSpec("ids", (None, 6), "int8"),))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x_test": np.ones((5, 2))}, "x_test is one array; the model has 2 inputs"),
        ({"x_test.a": np.ones((5, 2))}, "x_test.NAME lacks the input b"),
        (
            {"x_test.a": np.ones((5, 2)), "x_test.b": np.ones((5, 3)), "x_test.c": np.ones(5)},
            "names the unknown input c",
        ),
        ({"x_test.a": np.ones((5, 2)), "x_test.b": np.ones((4, 3))}, "different numbers"),
    ],
)
def test_inputs_that_do_not_match_by_name_are_listed(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    inputs = (TensorSpec("a", (None, 2), "float32"), TensorSpec("b", (None, 3), "float32"))
    np.savez(tmp_path / "d.npz", **arrays)
    assert told in refused(tmp_path / "d.npz", inputs)


def test_files_that_are_no_npz_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(b"")
    assert "is not an .npz file" in refused(path)
    path.write_text("x,y\n1,2\n")
    assert "is not an .npz file" in refused(path)
    with path.open("wb") as handle:
        np.save(handle, SAMPLES)
    assert "is a single .npy array" in refused(path)
    with zipfile.ZipFile(path, "w"):
        pass
    assert "it has: no arrays" in refused(path)


def test_a_header_that_promises_more_than_the_file_holds_is_damage(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 4, 4, 1)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x_test.npy", buffer.getvalue() + b"\0" * 64)
    assert "needs 16000000000000 bytes and has 64" in refused(tmp_path / "d.npz")


def test_an_unreadable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=SAMPLES)

    def denied(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", denied)  # root reads whatever the mode says
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_truncation_and_bit_flip_ends_in_one_line_or_in_the_same_samples(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    path = tmp_path / "d.npz"
    save(path, x_val=SAMPLES, x_test=SAMPLES, y_test=LABELS)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    lines = []
    for attempt in range(150):
        damaged = bytearray(whole)
        if attempt % 3 == 0:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            dataset = data.open_data(str(path), inputs=IMAGE)
            if "test" in dataset.roles and dataset.roles["test"] == 20:
                np.testing.assert_array_equal(all_test_samples(dataset), SAMPLES)
        except DataError as error:
            lines.append(str(error))
    assert len(lines) > 75
    assert not any("\n" in line for line in lines)
