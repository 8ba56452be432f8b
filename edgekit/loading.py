"""Says what a model file is, by its content, and refuses what no loader should be shown.

Nothing is executed and no framework is imported. What could crash while being read is read in a
child process.
"""

from __future__ import annotations

import contextlib
import mmap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from edgekit import foreign_formats, graph_safety, model_safety, onnx_file, registry
from edgekit.errors import ConversionError, ModelError
from edgekit.flatbuffer import Malformed as MalformedFlatbuffer
from edgekit.hashing import file_ref
from edgekit.types import ModelFile as ModelFile  # noqa: PLC0414 callers find it beside identify
from edgekit.types import ModelInfo
from edgekit.wire_format import Malformed as MalformedMessage
from edgekit.workers import Worker

ACCEPTED = ".keras, .h5, a SavedModel directory, .tflite or .onnx"
COPY_AGAIN = "copy the file again, or make it again"
HDF5_LIMIT_S = 60.0
"""The HDF5 library loops for ever on some damaged files; reading a config takes a second."""

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
TFLITE_IDENTIFIER = b"TFL3"

Format = Literal["keras", "h5", "savedmodel", "tflite", "onnx"]
Family = Literal["keras", "tflite", "onnx"]


class KerasConfig(NamedTuple):
    """The config stored in a .keras or .h5 file, and the version of Keras that wrote it."""

    text: str
    keras_version: str | None


def identify(path: str | Path, *, trust: bool = False, isolated: bool = True) -> ModelFile:
    """Looks at a model file: what it is, whether it is whole, whether it is safe to load.

    Args:
        path: A file or a SavedModel directory.
        trust: Accept code and classes that only the file's maker knows.
        isolated: Read HDF5 in a child process; False where the caller already is one.

    Returns:
        The file, with the family that reads it and the SHA-256 of its bytes.

    Raises:
        ModelError: It is missing, empty, damaged, unsafe, or of no supported format.
    """
    where = Path(path)
    try:
        found = _format(where)
        _CHECKS[found](where, trust, isolated)
        reference = file_ref(where)
    except OSError as error:
        raise ModelError(
            f"cannot read {where}: {error.strerror or error}", "check the path and its permissions"
        ) from None
    return ModelFile(
        path=str(where),
        family=_FAMILIES[found],
        format=found,
        sha256=reference.sha256,
        size_bytes=reference.size_bytes,
    )


@contextlib.contextmanager
def opened(
    file: ModelFile,
    *,
    trust: bool = False,
    reference: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Worker, ModelInfo]]:
    """A worker with the model open in it, and what the model is.

    Args:
        file: What `identify` found.
        trust: Run code that the file carries.
        reference: `module:Class` of a source that can do more than the family's own.
        environment: Variables of the worker beyond this process's own.

    Raises:
        ModelError: It cannot be opened, or its loader crashed on it.
        MissingExtra: The framework that reads it is not installed.
    """
    own = registry.source_reference(file.family)
    what = f"loading {file.path}"
    with Worker(reference or own, what, environment=environment) as worker:
        try:
            answer = worker.call("open", path=file.path, trust=trust)
        except ConversionError as error:
            raise ModelError(error.message, COPY_AGAIN) from None
        yield worker, msgspec.convert(answer, type=ModelInfo)


def keras_config(path: Path, *, isolated: bool = True) -> KerasConfig:
    """The config that a .keras or .h5 file carries, as text.

    Raises:
        ModelError: There is none, or it cannot be read.
    """
    if zipfile.is_zipfile(path):
        return _archived_config(path)
    stored = _read_hdf5(path, isolated=isolated)
    config = stored["model_config"]
    if config is None:
        raise ModelError(
            f"{path} holds weights only, without the model they belong to",
            "save the whole model: build it, model.load_weights(...), model.save('m.keras')",
        )
    return KerasConfig(config, stored["keras_version"])


def _format(path: Path) -> Format:
    if not path.exists():
        raise ModelError(f"there is no {path}", f"check the path; a model is {ACCEPTED}")
    if path.is_dir():
        return _directory_format(path)
    if not path.is_file():
        raise ModelError(f"{path} is neither a file nor a directory", f"name {ACCEPTED}")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", COPY_AGAIN)
    with path.open("rb") as handle:
        head = handle.read(4096)
    return _by_content(path, head)


def _by_content(path: Path, head: bytes) -> Format:
    if head.startswith(ZIP_MAGIC):
        return _archive_format(path)
    if head.startswith(HDF5_MAGIC) or HDF5_MAGIC in (head[512:520], head[1024:1032]):
        return "h5"
    if head[4:8] == TFLITE_IDENTIFIER:
        return "tflite"
    foreign_formats.refuse(path, head)
    expected = _BY_SUFFIX.get(path.suffix.lower())
    if expected == "onnx" or (expected is None and onnx_file.looks_like(_mapped(path))):
        return "onnx"
    if expected:
        raise ModelError(
            f"{path} is damaged, or is no {path.suffix} file: it begins with {head[:8]!r}",
            COPY_AGAIN,
        )
    raise ModelError(f"{path} is not a model that edgekit reads", f"name {ACCEPTED}")


def _directory_format(path: Path) -> Format:
    if (path / "saved_model.pb").is_file():
        return "savedmodel"
    if not any(path.iterdir()):
        raise ModelError(f"{path} is an empty directory", f"name {ACCEPTED}")
    inside = [entry for entry in sorted(path.iterdir()) if entry.suffix in _BY_SUFFIX]
    raise ModelError(
        f"{path} is a directory without saved_model.pb, so it is no SavedModel",
        f"did you mean {inside[0]}?" if inside else f"name {ACCEPTED}",
    )


def _archive_format(path: Path) -> Format:
    with _archive(path) as archive:
        names = archive.namelist()
    if "config.json" in names:
        return "keras"
    foreign_formats.refuse_archive(path, names)
    raise ModelError(
        f"{path} is a zip archive without config.json, so it is no .keras file",
        "if a SavedModel is inside, unzip it and name its directory",
    )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise ModelError(
            f"{path} is truncated or damaged ({error})", "copy the file again, or save it again"
        ) from None


def _check_keras(path: Path, trust: bool, isolated: bool) -> None:
    del isolated
    with _archive(path) as archive:
        model_safety.check_archive(archive, path)
    config = model_safety.parse_json(_archived_config(path).text, path, "config.json")
    model_safety.check_config(config, path, trust=trust)


def _check_h5(path: Path, trust: bool, isolated: bool) -> None:
    stored = keras_config(path, isolated=isolated).text
    config = model_safety.parse_json(stored, path, "model_config")
    model_safety.check_config(config, path, trust=trust)


def _check_savedmodel(path: Path, trust: bool, isolated: bool) -> None:
    del isolated
    graph_safety.check_saved_model(_mapped(path / "saved_model.pb"), path, trust=trust)


def _check_tflite(path: Path, trust: bool, isolated: bool) -> None:
    del trust, isolated
    registry.require(registry.SOURCES["tflite"], f"reading {path}")
    from edgekit import tflite_file  # noqa: PLC0415 its schema is 20,000 lines, for .tflite only

    try:
        model = tflite_file.read(path)
    except MalformedFlatbuffer as error:
        raise ModelError(f"{path} is truncated or damaged: {error}", COPY_AGAIN) from None
    flex = sorted({operator.name for operator in model.operators() if operator.flex})
    if flex:
        raise ModelError(
            f"{path} needs TensorFlow's own operators ({', '.join(flex)}), which LiteRT lacks",
            "convert the model it was made from again, without SELECT_TF_OPS",
        )


def _check_onnx(path: Path, trust: bool, isolated: bool) -> None:
    del trust, isolated
    try:
        onnx_file.check(_mapped(path), path)
    except MalformedMessage as error:
        raise ModelError(
            f"{path} is truncated or damaged, or no ONNX file ({error})", COPY_AGAIN
        ) from None


def _archived_config(path: Path) -> KerasConfig:
    with _archive(path) as archive:
        config = _entry(archive, path, "config.json")
        named = "metadata.json" in archive.namelist()
        metadata = _entry(archive, path, "metadata.json") if named else "{}"
    parsed = model_safety.parse_json(metadata, path, "metadata.json")
    version = parsed.get("keras_version") if isinstance(parsed, dict) else None
    return KerasConfig(config, version if isinstance(version, str) else None)


def _entry(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    if archive.getinfo(name).file_size > model_safety.MAX_CONFIG_BYTES:
        raise ModelError(f"{path}: its {name} is absurdly large", COPY_AGAIN)
    try:
        return archive.read(name).decode()
    except UnicodeDecodeError:
        raise ModelError(f"{path}: its {name} is not text", COPY_AGAIN) from None


def _read_hdf5(path: Path, *, isolated: bool) -> dict[str, str | None]:
    registry.require(registry.SOURCES["keras"], f"reading {path}")
    if not isolated:
        from edgekit import hdf5_config  # noqa: PLC0415 brings h5py, for .h5 only

        return hdf5_config.Reader().read(str(path))
    with Worker("edgekit.hdf5_config:Reader", "the HDF5 library", HDF5_LIMIT_S) as worker:
        try:
            answer: dict[str, str | None] = worker.call("read", path=str(path))
        except ConversionError as error:
            raise ModelError(f"{path} is damaged: {error.message}", COPY_AGAIN) from None
    return answer


def _mapped(path: Path) -> memoryview:
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty", COPY_AGAIN)
    with path.open("rb") as handle:
        return memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))


_CHECKS: dict[Format, Callable[[Path, bool, bool], None]] = {
    "keras": _check_keras,
    "h5": _check_h5,
    "savedmodel": _check_savedmodel,
    "tflite": _check_tflite,
    "onnx": _check_onnx,
}
_FAMILIES: dict[Format, Family] = {
    "keras": "keras",
    "h5": "keras",
    "savedmodel": "keras",
    "tflite": "tflite",
    "onnx": "onnx",
}
_BY_SUFFIX: dict[str, Format] = {
    ".keras": "keras",
    ".h5": "h5",
    ".hdf5": "h5",
    ".tflite": "tflite",
    ".onnx": "onnx",
}
