"""Model files of other frameworks: recognised, and told how to become something edgekit reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgekit.errors import ModelError


class Foreign(NamedTuple):
    """What a file is, and the conversion that leads to a supported format."""

    what: str
    fix: str


PYTORCH = Foreign("a PyTorch file", "in PyTorch: torch.onnx.export(model, example, 'm.onnx')")
PICKLE = Foreign(
    "a Python pickle, which runs code when it is read",
    "export the model from its framework: to ONNX (skl2onnx, torch.onnx), or to Keras",
)
ARCHIVE = Foreign("a packed archive", "unpack it and name the model inside")
ARTIFACT = Foreign(
    "an artifact already, not a model to start from",
    "name the model it was made from (.keras, .h5, SavedModel, .tflite or .onnx)",
)
CHECKPOINT = Foreign(
    "a TensorFlow checkpoint: weights only",
    "build the model, load_weights(...), then model.save('m.keras')",
)
ARCHITECTURE = Foreign(
    "an architecture without weights",
    "build the model from it, load_weights(...), then model.save('m.keras')",
)
FROZEN_GRAPH = Foreign(
    "a TensorFlow 1 graph",
    "write a SavedModel: tf.compat.v1.saved_model.simple_save(session, 'DIR', inputs, outputs)",
)

_BY_HEAD: tuple[tuple[bytes, Foreign], ...] = (
    (b"version https://git-lfs", Foreign("a Git LFS pointer, not the file itself", "git lfs pull")),
    (b"<!DOCTYPE", Foreign("a web page, not a model", "download the file itself")),
    (b"<html", Foreign("a web page, not a model", "download the file itself")),
    (b"GGUF", Foreign("a GGUF language model", "edgekit does not run language models")),
    (b"ftrt", Foreign("a TensorRT engine", ARTIFACT.fix)),
    (b"<?xml", ARTIFACT),
    (b"\x1f\x8b", ARCHIVE),
    (b"BZh", ARCHIVE),
    (b"7z\xbc\xaf", ARCHIVE),
    (b"Rar!", ARCHIVE),
)
_BY_SUFFIX: dict[str, Foreign] = {
    ".pt": PYTORCH,
    ".pth": PYTORCH,
    ".ckpt": Foreign(
        "a checkpoint: weights only", PYTORCH.fix + "; in Keras: model.save('m.keras')"
    ),
    ".safetensors": Foreign("a file of weights only", PYTORCH.fix),
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".joblib": PICKLE,
    ".mlmodel": Foreign("a Core ML model", "convert the model it was made from"),
    ".mlpackage": Foreign("a Core ML model", "convert the model it was made from"),
    ".engine": ARTIFACT,
    ".plan": ARTIFACT,
    ".xml": ARTIFACT,
    ".pb": FROZEN_GRAPH,
    ".pbtxt": FROZEN_GRAPH,
    ".json": ARCHITECTURE,
    ".yaml": ARCHITECTURE,
    ".index": CHECKPOINT,
    ".pdmodel": Foreign("a PaddlePaddle model", "paddle2onnx writes .onnx from it"),
    ".caffemodel": Foreign("a Caffe model", "convert it to .onnx first"),
    ".npz": Foreign("a file of arrays, not a model", "for samples use --data"),
    ".npy": Foreign("an array, not a model", "for samples use --data"),
    ".py": Foreign(
        "a script, not a model", "run it, and save the model with model.save('m.keras')"
    ),
}


def refuse(path: Path, head: bytes) -> None:
    """Refuses a file of another framework.

    Args:
        path: The file.
        head: Its first bytes.

    Raises:
        ModelError: It was recognised.
    """
    for magic, foreign in _BY_HEAD:
        if head.lower().startswith(magic.lower()):
            raise _refusal(path, foreign)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise _refusal(path, _BY_SUFFIX.get(path.suffix.lower(), PICKLE))
    if path.suffix.lower() in _BY_SUFFIX:
        raise _refusal(path, _BY_SUFFIX[path.suffix.lower()])
    if ".data-0" in path.name:
        raise _refusal(path, CHECKPOINT)


def refuse_archive(path: Path, names: list[str]) -> None:
    """Refuses a zip archive of another framework.

    Raises:
        ModelError: It was recognised.
    """
    if any(name.endswith("data.pkl") for name in names):
        raise _refusal(path, PYTORCH)
    if names and all(name.endswith(".npy") for name in names):
        raise _refusal(path, _BY_SUFFIX[".npz"])
    models = [name for name in names if not name.endswith(".weights.h5")]  # a part of a .keras
    if any(
        name.endswith(("saved_model.pb", ".keras", ".h5", ".tflite", ".onnx")) for name in models
    ):
        raise _refusal(path, ARCHIVE)


def _refusal(path: Path, foreign: Foreign) -> ModelError:
    return ModelError(f"{path} is {foreign.what}", foreign.fix)
