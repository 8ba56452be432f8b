"""What a model file would make its loader execute, found before any loader sees it.

Keras configs are read as JSON. tf_keras runs a Lambda from an .h5 even with `safe_mode=True`, and
imports whatever module a config names, so that trust in the loaders' own checks is not enough.
"""

from __future__ import annotations

import builtins
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from edgekit.errors import ModelError

Json = Any
"""Parsed JSON: dict, list, str, int, float, bool or None."""

STORED_CODE = frozenset({"Lambda", "__lambda__"})
FOREIGN_CODE = {
    "TFSMLayer": "loads another SavedModel",
    "TorchModuleWrapper": "unpickles a PyTorch module",
    "JaxLayer": "runs a stored JAX function",
    "FlaxLayer": "runs a stored JAX function",
    "ClassMethod": "calls a method of a TensorFlow class",
}
VOCABULARY_LAYERS = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
KERAS_PACKAGES = frozenset({"keras", "tf_keras"})
MODELLING = frozenset({
    "activations", "constraints", "dtype_policies", "engine", "initializers", "layers", "losses",
    "metrics", "models", "ops", "optimizers", "quantizers", "regularizers",
})  # fmt: skip
"""Parts of Keras that a config has a reason to name; `keras.utils.get_file` is not among them."""
FUNCTION_HOMES = frozenset({
    "activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers",
})  # fmt: skip
FORBIDDEN_TF_CALLS = frozenset({
    "autograph", "compat", "config", "data", "debugging", "distribute", "function", "io", "lite",
    "load_library", "load_op_library", "numpy_function", "print", "profiler", "py_function",
    "queue", "raw_ops", "saved_model", "summary", "sysconfig", "train",
})  # fmt: skip
"""First parts of TensorFlow functions that an old config may name and that reach beyond tensors."""

PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill")
BOMB_BYTES = 100 << 20
BOMB_RATIO = 100
MAX_ENTRIES = 10_000
MAX_CONFIG_BYTES = 256 << 20

EXPORT_FIX = "where its code is at hand, write a SavedModel with model.export('DIR') and use that"


class Hazard(NamedTuple):
    """Something in a config that may execute code, reach outside the file, or not be known."""

    problem: str
    fix: str


def check_config(config: Json, path: Path, *, trust: bool) -> None:
    """Refuses a Keras config that executes stored code or names classes outside Keras.

    Args:
        config: The parsed config.json, or `model_config` of an .h5.
        path: The model file, for the message.
        trust: The user's word that the file is harmless.

    Raises:
        ModelError: With the layer's name.
    """
    if trust:
        return
    for hazard in hazards(config):
        raise ModelError(f"{path}: {hazard.problem}", hazard.fix)


def hazards(config: Json) -> Iterator[Hazard]:
    """Everything in a Keras config that a loader should not be shown."""
    for entry in _objects(config):
        found = _hazard(entry)
        if found:
            yield found


def parse_json(text: str | bytes, path: Path, what: str) -> Json:
    """Parses a stored config.

    Raises:
        ModelError: It is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: its {what} is damaged ({error})", "save the model again, or copy it again"
        ) from None


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses a .keras archive that is damaged, reaches outside, explodes, or carries pickles.

    Every byte is read once, which compares the checksums: a flipped bit cannot get past it.

    Raises:
        ModelError: With the entry's name.
    """
    entries = archive.infolist()
    total_bytes = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES or _explodes(total_bytes, path.stat().st_size):
        raise ModelError(
            f"{path}: {len(entries)} entries would unpack to {total_bytes:,} bytes, from"
            f" {path.stat().st_size:,}",
            "a .keras file is about as large as its weights; get the model from its maker again",
        )
    for entry in entries:
        _check_entry(archive, entry, path)


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    parts = PurePosixPath(entry.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise ModelError(
            f"{path}: its entry '{entry.filename}' points outside the archive",
            "do not use this file; get the model from its maker again",
        )
    first = _read_through(archive, entry, path)
    if parts.suffix.lower() in PICKLE_SUFFIXES or (
        first[:1] == b"\x80" and first[1:2] in b"\x02\x03\x04\x05"
    ):
        raise ModelError(
            f"{path}: its entry '{entry.filename}' is a pickle, which runs code when it is read",
            "save the model with Keras 3 (model.save('m.keras')), which needs none",
        )


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    first = b""
    try:
        with archive.open(entry) as stream:
            while block := stream.read(1 << 20):
                first = first or block[:2]
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError,
        NotImplementedError, IndexError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"{path}: its entry '{entry.filename}' is damaged ({error})",
            "copy the file again, or save the model again",
        ) from None
    return first


def _explodes(total_bytes: int, file_bytes: int) -> bool:
    return total_bytes > BOMB_BYTES and total_bytes > BOMB_RATIO * file_bytes


def _objects(config: Json) -> Iterator[dict[str, Json]]:
    """Every serialised object in a config. The outermost compile_config is never loaded."""
    waiting: list[Json] = [config]
    if isinstance(config, dict):
        waiting = [{key: value for key, value in config.items() if key != "compile_config"}]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _hazard(entry: dict[str, Json]) -> Hazard | None:
    kind: str = entry["class_name"]
    inner = entry.get("config")
    config: dict[str, Json] = inner if isinstance(inner, dict) else {}
    label = _label(kind, entry, config)
    registered = str(entry.get("registered_name") or "")
    if kind in STORED_CODE or registered.rpartition(">")[2] in STORED_CODE:
        return Hazard(
            f"{label} executes code stored in the file",
            f"replace it by a built-in layer; or {EXPORT_FIX}; or add --trust",
        )
    if kind in FOREIGN_CODE:
        return Hazard(f"{label} {FOREIGN_CODE[kind]}", f"{EXPORT_FIX}; or add --trust")
    if kind in VOCABULARY_LAYERS and isinstance(config.get("vocabulary"), str):
        return Hazard(
            f"{label} reads its vocabulary from '{config['vocabulary']}'",
            "save the model with its vocabulary inside; or add --trust",
        )
    if kind == "TFOpLambda" and _forbidden_call(config):
        return Hazard(
            f"{label} calls tf.{config.get('function')}, which reaches beyond tensors",
            f"{EXPORT_FIX}; or add --trust",
        )
    return _unknown_class(kind, entry, label, registered)


def _unknown_class(kind: str, entry: dict[str, Json], label: str, registered: str) -> Hazard | None:
    module = entry.get("module")
    if kind == "function":
        name = str(entry.get("config"))
        known = "." not in name and _known_home(str(module or "builtins"), FUNCTION_HOMES)
        if known and not hasattr(builtins, name):
            return None
        return Hazard(f"the function '{name}' of {module} is not a part of Keras", EXPORT_FIX)
    foreign = module and not _known_home(str(module), MODELLING)
    if foreign or ">" in registered or ">" in kind or "." in kind:
        origin = f" of {module}" if module else f" ({registered or kind})"
        return Hazard(f"{label}{origin} is not a part of Keras", EXPORT_FIX)
    return None


def _known_home(module: str, homes: frozenset[str]) -> bool:
    """Whether a config may name things in a module. tf_keras would import any module at all."""
    package, *parts = module.split(".")
    if module == "builtins" or module in KERAS_PACKAGES:
        return True
    parts = parts[1:] if parts[:1] == ["src"] else parts
    return package in KERAS_PACKAGES and bool(parts) and parts[0] in homes


def _forbidden_call(config: dict[str, Json]) -> bool:
    parts = str(config.get("function", "")).split(".")
    parts = parts[2:] if parts[:1] == ["compat"] and len(parts) > 2 else parts
    return parts[0] in FORBIDDEN_TF_CALLS


def _label(kind: str, entry: dict[str, Json], config: dict[str, Json]) -> str:
    name = config.get("name") or entry.get("name")
    return f"layer '{name[:60]}' ({kind[:60]})" if isinstance(name, str) else kind[:60]
