"""Reads image directories: `[train|val|calib|test/]CLASS/image`, one image at a time.

Labels are the positions of the class names in sorted order. Values stay 0…255 until
`--preprocess`.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekit import hashing
from edgekit.data_checks import is_integer, shape_text
from edgekit.data_reading import Numbers
from edgekit.errors import DataError
from edgekit.preprocessing import channel_axis
from edgekit.types import ROLES, Batch, Role, TensorSpec

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_CHUNK = 64
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
               Image.DecompressionBombError, Image.DecompressionBombWarning)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """What the model's input asks of an image: size in pixels, colour mode, axis order."""

    height: int
    width: int
    mode: str
    channels_axis: int | None


@dataclass(frozen=True)
class ImageReader:
    """See `edgekit.data_reading.Reader`."""

    root: Path
    spec: TensorSpec
    form: Form
    files: Mapping[Role, tuple[tuple[Path, int], ...]]
    notes: tuple[str, ...]

    @property
    def pools(self) -> dict[Role, int | None]:
        """The images of each role."""
        return {role: len(files) for role, files in self.files.items()}

    def count(self, pool: Role) -> int:
        """The images of a role."""
        return len(self.files[pool])

    def read(self, pool: Role, wanted: Numbers | None) -> Iterator[Batch]:
        """Decodes the wanted images in order."""
        files = self.files[pool]
        numbers = range(len(files)) if wanted is None else wanted.tolist()
        for start in range(0, len(numbers), _CHUNK):
            chosen = [files[number] for number in numbers[start : start + _CHUNK]]
            images = np.stack([decode(path, self.form) for path, _ in chosen])
            labels = np.array([label for _, label in chosen], dtype=np.int64)
            kind = self.spec.dtype if is_integer(self.spec) else "float32"
            yield Batch({self.spec.name: images.astype(kind)}, labels)

    def labels(self, pool: Role) -> NDArray[np.generic] | None:
        """The class numbers, from the directory names."""
        return np.array([label for _, label in self.files[pool]], dtype=np.int64)

    def fingerprints(self, pool: Role, limit_bytes: int) -> NDArray[np.uint64]:
        """A hash of each file: images are not decoded for it."""
        found: list[int] = []
        read_bytes = 0
        for path, _ in self.files[pool]:
            found.append(int(hashing.sha256_file(path)[:16], 16))
            read_bytes += path.stat().st_size
            if read_bytes >= limit_bytes:
                break
        return np.array(found, dtype=np.uint64)

    def sha256(self) -> str:
        """SHA-256 of the listing of all images that belong to a role."""
        files = [path for listed in self.files.values() for path, _ in listed]
        names = [(path.relative_to(self.root).as_posix(), path) for path in files]
        return hashing.sha256_listing((name, hashing.sha256_file(path)) for name, path in names)


def open_images(root: Path, inputs: Sequence[TensorSpec]) -> ImageReader:
    """Lists the images and decodes the first one of every role.

    Raises:
        DataError: There are no class directories or images, or the model takes no image.
    """
    if len(inputs) != 1:
        raise DataError(
            f"{root} holds one image per sample; the model has {len(inputs)} inputs",
            "give an .npz with x_test.NAME, or file.py:function",
        )
    roles = _role_directories(root)
    classes = _class_names(root, roles)
    skipped: list[str] = []
    files = {role: _list(folder, classes, skipped) for role, folder in roles.items()}
    for role, listed in files.items():
        if not listed:
            raise DataError(
                f"{roles[role]} has no images ({', '.join(sorted(SUFFIXES))}) in its classes",
                f"put images into {roles[role]}/CLASS/",
            )
    first = next(iter(files.values()))[0][0]
    form = _form(inputs[0], first)
    for listed in files.values():
        decode(listed[0][0], form)
    return ImageReader(root, inputs[0], form, files, _notes(form, classes, skipped))


def decode(path: Path, form: Form) -> NDArray[np.uint8]:
    """One image as the model takes it, with values 0…255.

    Raises:
        DataError: The file is no image, is damaged, or has more than 8 bits per channel.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                pixels = _pixels(image, form)
    except _UNREADABLE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read the image {path}: {detail}", "remove or repair it") from None
    if form.channels_axis is None:
        return pixels
    pixels = pixels.reshape(form.height, form.width, -1)
    return np.moveaxis(pixels, -1, 0) if form.channels_axis == 1 else pixels


def _pixels(image: Image.Image, form: Form) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode} has more than 8 bits per channel; convert it to 8")
    converted = image.convert(form.mode)
    if converted.size != (form.width, form.height):
        converted = converted.resize((form.width, form.height), Image.Resampling.BILINEAR)
    return np.asarray(converted)


def _form(spec: TensorSpec, first: Path) -> Form:
    axis = channel_axis(spec.shape)
    channels = 1 if axis is None else spec.shape[axis]
    if len(spec.shape) not in {3, 4} or channels not in _MODES:
        raise DataError(
            f"the input {spec.name} {shape_text(spec.shape)} takes no images "
            "([n, height, width, 1, 3 or 4 channels])",
            "give an .npz or file.py:function",
        )
    height, width = [spec.shape[index] for index in range(1, len(spec.shape)) if index != axis]
    if height is None or width is None:
        try:
            with Image.open(first) as image:
                natural = image.size
        except _UNREADABLE as error:
            raise DataError(
                f"cannot read the image {first}: {error}", "remove or replace it"
            ) from None
        height, width = height or natural[1], width or natural[0]
    return Form(height, width, _MODES[channels], axis)


def _role_directories(root: Path) -> dict[Role, Path]:
    folders = {entry.name: entry for entry in _entries(root) if entry.is_dir()}
    if not folders:
        found = "is empty" if not _entries(root) else "has no class directories"
        raise DataError(f"{root} {found}", "lay it out as [train|val|calib|test/]CLASS/image")
    # A class may be called "train" as well: a role holds directories, a class holds images.
    roles: dict[Role, Path] = {
        role: folders[role]
        for role in ROLES
        if role in folders and any(entry.is_dir() for entry in _entries(folders[role]))
    }
    if roles:
        return roles
    if set(folders) <= set(ROLES):
        raise DataError(
            f"{root}/{next(iter(folders))} has no class directories",
            "lay it out as [train|val|calib|test/]CLASS/image",
        )
    return {"test": root}


def _class_names(root: Path, roles: Mapping[Role, Path]) -> tuple[str, ...]:
    found = {
        role: {entry.name for entry in _entries(folder) if entry.is_dir()}
        for role, folder in roles.items()
    }
    leading = "train" if "train" in found else max(found, key=lambda role: len(found[role]))
    for role, names in found.items():
        if strange := sorted(names - found[leading]):
            raise DataError(
                f"{root}/{role} has the class {strange[0]!r}, which {leading} has not",
                "use the same class directories in every role (empty ones count)",
            )
    return tuple(sorted(found[leading]))


def _list(
    folder: Path, classes: tuple[str, ...], skipped: list[str]
) -> tuple[tuple[Path, int], ...]:
    listed: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        for entry in _entries(folder / name) if (folder / name).is_dir() else ():
            if entry.suffix.lower() in SUFFIXES and entry.is_file():
                listed.append((entry, label))
            else:
                skipped.append(str(entry))
    return tuple(listed)


def _entries(folder: Path) -> list[Path]:
    try:
        visible = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror}", "check the path and its permissions"
        ) from None
    return sorted(visible, key=lambda entry: entry.name)


def _notes(form: Form, classes: tuple[str, ...], skipped: list[str]) -> tuple[str, ...]:
    shown = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
    size = f"{form.mode}, resized to {form.width}×{form.height}"
    notes = [
        f"images: {size} (PIL bilinear, EXIF orientation not applied)",
        f"{len(classes)} classes, sorted by name: {shown}",
    ]
    numbered = classes if all(name.isdecimal() for name in classes) else ()
    for label, name in enumerate(numbered):
        if int(name) != label:
            notes.append(f"the class directory {name!r} has label {label}")
            break
    if skipped:
        notes.append(f"{len(skipped)} entries that are no images were skipped: {skipped[0]}")
    return tuple(notes)
