"""Image directories: classes sorted by name, decoded one at a time, every trouble named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import data
from edgekit.errors import DataError, MissingExtra
from edgekit.types import TensorSpec

Image = pytest.importorskip("PIL.Image")

COLOUR = (TensorSpec("image", (None, 6, 8, 3), "float32"),)
GREY = (TensorSpec("image", (None, 6, 8, 1), "float32"),)
RNG = np.random.default_rng(0)


def save(path: Path, pixels: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def tree(root: Path, *roles: str, count: int = 3) -> dict[str, NDArray[np.uint8]]:
    """Images under ROLE/CLASS for the classes dog and cat; returns them by relative path."""
    found = {}
    for role in roles:
        for name in ("dog", "cat"):
            for number in range(count):
                path = root / role / name / f"{number:02d}.png"
                found[path.relative_to(root).as_posix()] = save(path)
    return found


def test_images_come_in_order_with_labels_by_sorted_class_name(tmp_path: Path) -> None:
    images = tree(tmp_path, "train", "val", "test")
    dataset = data.open_data(str(tmp_path), inputs=COLOUR)
    assert dataset.roles == {"train": 6, "val": 6, "calib": 6, "test": 6}
    batches = list(dataset.batches("test", 4))
    assert [len(batch.x["image"]) for batch in batches] == [4, 2]
    names = [f"test/{name}/{number:02d}.png" for name in ("cat", "dog") for number in range(3)]
    expected = np.stack([images[name] for name in names])
    found = np.concatenate([batch.x["image"] for batch in batches])
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    labels = [batch.y.tolist() for batch in batches if batch.y is not None]
    assert labels == [[0, 0, 0, 1], [1, 1]]
    assert "images: RGB, resized to 8×6 (PIL bilinear" in dataset.notes[0]
    assert "2 classes, sorted by name: cat, dog" in dataset.notes


def test_classes_alone_are_a_test_set_of_which_parts_are_set_aside(tmp_path: Path) -> None:
    tree(tmp_path, ".", count=10)
    dataset = data.open_data(str(tmp_path), inputs=COLOUR, preprocess="unit")
    assert dataset.roles == {"val": 4, "calib": 2, "test": 14}
    assert next(dataset.batches("val")).x["image"].max() <= 1.0
    labels = dataset.labels("test")
    assert labels is not None
    read = np.concatenate([b.y for b in dataset.batches("test") if b.y is not None])
    np.testing.assert_array_equal(labels, read)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        for number in range(5):
            save(tmp_path / name / f"{number}.png")
    dataset = data.open_data(str(tmp_path), inputs=COLOUR)
    assert "2 classes, sorted by name: bus, train" in dataset.notes
    assert sum(size or 0 for size in dataset.roles.values()) == 10


def test_images_are_resized_and_converted_as_pillow_does_it(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (30, 20, 3)).astype(np.uint8)
    for role in ("val", "test"):
        save(tmp_path / role / "a" / "0.png", pixels)
        save(tmp_path / role / "a" / "1.png", pixels)
    dataset = data.open_data(str(tmp_path), inputs=GREY)
    picture = Image.fromarray(pixels).convert("L").resize((8, 6), Image.Resampling.BILINEAR)
    found = next(dataset.batches("test")).x["image"]
    np.testing.assert_array_equal(found[0], np.asarray(picture)[:, :, None])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((None, 3, 6, 8), (3, 6, 8)), ((1, 6, 8), (6, 8)), ((None, None, None, 3), (6, 8, 3))],
)
def test_axis_order_and_free_sizes_follow_the_model(
    tmp_path: Path, shape: tuple[int | None, ...], expected: tuple[int, ...]
) -> None:
    images = tree(tmp_path, "val", "test")
    dataset = data.open_data(str(tmp_path), inputs=(TensorSpec("image", shape, "float32"),))
    found = next(dataset.batches("test")).x["image"]
    assert found.shape[1:] == expected
    if shape[1] == 3:
        np.testing.assert_array_equal(np.moveaxis(found[0], 0, -1), images["test/cat/00.png"])


def test_odd_but_usual_images_are_read(tmp_path: Path) -> None:
    palette = Image.fromarray(RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)).quantize(8)
    for role in ("val", "test"):
        folder = tmp_path / role / "a"
        folder.mkdir(parents=True)
        palette.save(folder / "palette.png", transparency=b"\x00\x80")
        palette.convert("RGBA").save(folder / "alpha.webp")
        palette.convert("1").save(folder / "bits.tiff")
        palette.convert("RGB").save(folder / "photo.JPG", format="JPEG")
        (folder / ".DS_Store").write_bytes(b"\0")
        (folder / "list.txt").write_text("notes")
    dataset = data.open_data(str(tmp_path), inputs=COLOUR)
    assert dataset.roles["test"] == 4
    assert len(next(dataset.batches("test")).x["image"]) == 4
    assert any("2 entries that are no images were skipped" in note for note in dataset.notes)


def test_numbered_classes_in_text_order_are_noted(tmp_path: Path) -> None:
    for number in range(11):
        save(tmp_path / "test" / str(number) / "0.png")
        save(tmp_path / "val" / str(number) / "0.png")
    dataset = data.open_data(str(tmp_path), inputs=COLOUR)
    assert "the class directory '10' has label 2" in dataset.notes


def test_the_hash_follows_the_images_and_nothing_else(tmp_path: Path) -> None:
    tree(tmp_path, "val", "test")
    first = data.open_data(str(tmp_path), inputs=COLOUR).ref.sha256
    (tmp_path / "test" / "cat" / ".DS_Store").write_bytes(b"\0")
    assert data.open_data(str(tmp_path), inputs=COLOUR).ref.sha256 == first
    save(tmp_path / "test" / "cat" / "00.png")
    assert data.open_data(str(tmp_path), inputs=COLOUR).ref.sha256 != first


def refused(root: Path, inputs: tuple[TensorSpec, ...] = COLOUR) -> str:
    with pytest.raises(DataError) as caught:
        list(data.open_data(str(root), inputs=inputs).batches("test"))
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value) or "input" in str(caught.value)
    return str(caught.value)


def test_an_empty_directory_says_how_to_lay_it_out(tmp_path: Path) -> None:
    assert "is empty. Fix: lay it out as [train|val|calib|test/]CLASS/image" in refused(tmp_path)


def test_directories_without_classes_or_images_are_named(tmp_path: Path) -> None:
    save(tmp_path / "flat" / "0.png")
    assert "has no class directories" in refused(tmp_path / "flat")
    save(tmp_path / "roles" / "test" / "0.png")
    assert "roles/test has no class directories" in refused(tmp_path / "roles")
    (tmp_path / "bare" / "cat").mkdir(parents=True)
    assert "has no images" in refused(tmp_path / "bare")
    tree(tmp_path / "half", "test")
    (tmp_path / "half" / "val" / "cat").mkdir(parents=True)
    assert "half/val has no images" in refused(tmp_path / "half")


def test_a_class_that_train_lacks_would_shift_labels_and_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "train", "test")
    save(tmp_path / "test" / "ant" / "0.png")
    assert "test has the class 'ant', which train has not" in refused(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "flipped"])
def test_an_unreadable_image_is_named_first_or_last(tmp_path: Path, damage: str) -> None:
    tree(tmp_path, "val", "test")
    for name in ("cat/00.png", "dog/02.png"):
        path = tmp_path / "test" / name
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[60] ^= 255
        path.write_bytes(
            {"truncated": whole[:70], "text": b"hello", "empty": b"", "flipped": flipped}[damage]
        )
        assert f"cannot read the image {path}" in refused(tmp_path)
        path.write_bytes(whole)


def test_more_than_eight_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    tree(tmp_path, "val", "test")
    deep = Image.fromarray(RNG.integers(0, 65536, (6, 8)).astype(np.uint16))
    deep.save(tmp_path / "test" / "cat" / "00.png")
    assert "more than 8 bits per channel" in refused(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "val", "test")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    assert "cannot read the image" in refused(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ((TensorSpec("ids", (None, 128), "int32"),), r"input ids \[\?, 128\] takes no images"),
        ((TensorSpec("s", (None, 30, 1, 40), "float32"),), "takes no images"),
        ((*COLOUR, *GREY), "the model has 2 inputs"),
    ],
)
def test_a_model_that_takes_no_images_says_so(
    tmp_path: Path, inputs: tuple[TensorSpec, ...], told: str
) -> None:
    tree(tmp_path, "val", "test")
    with pytest.raises(DataError, match=told):
        data.open_data(str(tmp_path), inputs=inputs)


def test_without_pillow_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "val", "test")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else find(name)
    )
    with pytest.raises(MissingExtra, match=r"pip install 'edgekit\[images\]'"):
        data.open_data(str(tmp_path), inputs=COLOUR)
