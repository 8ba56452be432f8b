"""Makes the files that nobody should be given: damaged, lying, or meant to do harm.

Each function changes or writes files of a directory in which harmless models already lie.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

Make = Callable[[Path], object]
"""Makes a hostile file in a directory."""

HUGE = 1 << 40


def together(*makes: Make) -> Make:
    """One after the other."""
    return lambda folder: [make(folder) for make in makes]


def nothing(folder: Path) -> None:
    """Leaves the directory as it is."""


def text(name: str, content: str) -> Make:
    """A file with this text, whatever its name promises."""

    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return make


def binary(name: str, content: bytes) -> Make:
    """A file with these bytes."""
    return lambda folder: (folder / name).write_bytes(content)


def removed(name: str) -> Make:
    """Takes a file away."""
    return lambda folder: (folder / name).unlink()


def link(name: str, target: str) -> Make:
    """A symbolic link."""
    return lambda folder: (folder / name).symlink_to(target)


def pipe(name: str) -> Make:
    """A named pipe, from which nothing will ever come."""
    return lambda folder: os.mkfifo(folder / name)


def directory(name: str) -> Make:
    """An empty directory."""
    return lambda folder: (folder / name).mkdir(parents=True)


# ------------------------------------------------------------------------------------- damage


def cut(name: str, share: float) -> Make:
    """Keeps that share of a file's bytes; 1 takes one byte from its end."""

    def make(folder: Path) -> None:
        content = (folder / name).read_bytes()
        kept = min(len(content) - 1, int(share * len(content)))
        (folder / name).write_bytes(content[:kept])

    return make


def flip(name: str, at: int, bit: int = 4) -> Make:
    """Flips one bit of a file."""

    def make(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[at] ^= 1 << bit
        (folder / name).write_bytes(content)

    return make


def flip_in_entry(name: str, entry: str, seed: int) -> Make:
    """Flips a random bit of what a zip archive holds under a name."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            info = archive.getinfo(entry)
        content = (folder / name).read_bytes()
        start = info.header_offset + 30 + len(entry)
        draw = random.Random(seed)  # noqa: S311 no secret
        at = draw.randrange(start, start + info.compress_size)
        assert at < len(content)
        flip(name, at, draw.randrange(8))(folder)

    return make


def replaced(name: str, old: bytes, new: bytes) -> Make:
    """Writes other bytes of the same length in place of some that are there."""
    assert len(old) == len(new)

    def make(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new))

    return make


def hdf5_heap_without_end(name: str) -> Make:
    """Gives the free space of an HDF5 file's global heap the size 0: the library walks for ever.

    Source: HDF5 File Format Specification, III.E (index, references, size, then the object).
    """

    def make(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        at = content.index(b"GCOL") + 16
        while int.from_bytes(content[at : at + 2], "little"):
            size = int.from_bytes(content[at + 8 : at + 16], "little")
            at += 16 + (size + 7) // 8 * 8
        content[at + 8 : at + 16] = bytes(8)
        (folder / name).write_bytes(content)

    return make


# ----------------------------------------------------------------------------------- archives


def with_entry(name: str, entry: str, content: bytes) -> Make:
    """Adds an entry to a zip archive."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "a") as archive:
            archive.writestr(entry, content)

    return make


def with_declared_size(name: str, entry: str, size_bytes: int) -> Make:
    """Adds an entry whose directory record claims another size."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "a") as archive:
            archive.writestr(entry, b"")
            archive.getinfo(entry).file_size = size_bytes

    return make


def with_config(name: str, config: str) -> Make:
    """A .keras file with another config.json."""
    return rewritten(name, {"config.json": config.encode()})


def with_other_units(name: str, old: int, new: int) -> Make:
    """A .keras file whose dense layer is declared with another width than its weights have."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            config = archive.read("config.json").decode()
        declared, other = (json.dumps({"units": units})[1:-1] for units in (old, new))
        assert declared in config
        with_config(name, config.replace(declared, other))(folder)

    return make


def rewritten(name: str, entries: dict[str, bytes | None]) -> Make:
    """A zip archive with entries replaced, or left out where they are None."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as archive:
            content = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(folder / name, "w") as archive:
            for entry, stored in {**content, **entries}.items():
                if stored is not None:
                    archive.writestr(entry, stored)

    return make


# ------------------------------------------------------------------------------- HDF5, TFLite


def hdf5(name: str, change: Callable[[Any], object]) -> Make:
    """Changes an HDF5 file through its library."""

    def make(folder: Path) -> None:
        import h5py  # noqa: PLC0415 an extra

        with h5py.File(folder / name, "a") as stored:
            change(stored)

    return make


def external_link(stored: Any) -> None:
    """Makes an HDF5 file take a part of itself from elsewhere."""
    import h5py  # noqa: PLC0415 an extra

    stored["stolen"] = h5py.ExternalLink("/etc/hostname", "/")


def onnx_weights_at(name: str, location: str) -> Make:
    """An .onnx whose weights are said to lie in another file."""

    def make(folder: Path) -> None:
        import onnx  # noqa: PLC0415 an extra

        model = onnx.load(folder / name)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        (folder / name).write_bytes(model.SerializeToString())

    return make


def tflite(name: str, change: Callable[[schema.ModelT], None]) -> Make:
    """Changes a .tflite through its schema."""

    def make(folder: Path) -> None:
        import flatbuffers  # noqa: PLC0415

        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((folder / name).read_bytes()))
        change(model)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        (folder / name).write_bytes(builder.Output())

    return make


def custom_operator(code: str) -> Callable[[schema.ModelT], None]:
    """The model's first operator becomes a custom one of this name."""

    def change(model: schema.ModelT) -> None:
        found = model.operatorCodes[0]
        found.builtinCode = found.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        found.customCode = code
        operator = model.subgraphs[0].operators[0]
        operator.builtinOptionsType, operator.builtinOptions = 0, None

    return change


def input_rows(rows: int) -> Callable[[schema.ModelT], None]:
    """The model's input takes that many samples at once."""

    def change(model: schema.ModelT) -> None:
        model.subgraphs[0].tensors[0].shape = [rows, 4]

    return change


def constant(value: float) -> Callable[[schema.ModelT], None]:
    """The model's last constant becomes this value."""

    def change(model: schema.ModelT) -> None:
        data = np.full(len(model.buffers[-1].data) // 4, value, np.float32)
        model.buffers[-1].data = np.frombuffer(data.tobytes(), np.uint8)

    return change


# --------------------------------------------------------------------------------------- data


def samples(**changes: Any) -> Make:
    """`d.npz` with 60 labelled samples of the dense model's shape, and these keys changed.

    A key that is None is left out.
    """

    def make(folder: Path) -> None:
        draw = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for role in ("calib", "val", "test"):
            arrays[f"x_{role}"] = draw.normal(size=(20, 4)).astype(np.float32)
            arrays[f"y_{role}"] = np.arange(20) % 3
        kept = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
        np.savez(folder / "d.npz", **kept)

    return make


def only_samples(**arrays: Any) -> Make:
    """`d.npz` with these arrays."""
    return lambda folder: np.savez(folder / "d.npz", **arrays)


def spoilt(value: float) -> np.ndarray:
    """Samples of which one holds this value."""
    x = np.zeros((20, 4), np.float32)
    x[7, 2] = value
    return x


def copied(source: Path, folder: Path) -> Path:
    """A file or directory, copied under its own name."""
    copy = shutil.copytree if source.is_dir() else shutil.copy
    return Path(copy(source, folder / source.name))
