"""Finds converters, sources, targets and runtimes by name, and imports them only then.

This is the one place that imports by name: a backend module imports its framework at its top, and
a missing framework becomes one line that says what to install. Third parties add converters,
targets and profiles through the entry-point groups `edgekit.converters`, `edgekit.targets` and
`edgekit.profiles`.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from importlib import metadata
from types import ModuleType
from typing import NamedTuple

from edgekit.errors import DeviceError, MissingExtra, UsageError, UserError


class Backend(NamedTuple):
    """Where a backend lives, the extra that brings its frameworks, and their import names.

    `commands` are programs that it starts, which no extra brings. `install` is what to type where
    no extra brings its frameworks.
    """

    module: str
    extra: str | None
    needs: tuple[str, ...]
    commands: tuple[str, ...] = ()
    install: str | None = None


class Format(NamedTuple):
    """What the stages know of an artifact format without importing its frameworks.

    `hubs` are the forms its converter reads, best first: a Keras model or SavedModel is exported to
    the first one; "tflite" and "onnx" also say that such a file can itself be the source.
    `per_tensor` says that its converter can calibrate single tensors (`tensors`, `overrides`).
    `siblings` are the suffixes of the files that an artifact has beside its main one. `base` is the
    format that its artifacts are, or are compiled from; nothing on this machine runs them as the
    target does. `trained_ranges`: its converter has `take_ranges`.
    """

    suffix: str
    runtime: str
    hubs: tuple[str, ...]
    per_tensor: bool = False
    siblings: tuple[str, ...] = ()
    base: str | None = None
    trained_ranges: bool = False


class Emitter(NamedTuple):
    """C sources made of a .tflite: `module:Class`, and the endings of the files beside NAME.h.

    `needs_int8`: only models that are int8 throughout can be written so. `runtime` is what devices
    that run the sources know them by; None where edgekit reaches none.
    """

    reference: str
    siblings: tuple[str, ...]
    needs_int8: bool = False
    suffix: str = ".h"
    runtime: str | None = None


CONVERTERS = {
    "tflite": Backend("edgekit.converters.tflite", "tflite", ("litert_quantizer",)),
    "openvino": Backend("edgekit.converters.openvino", "openvino", ("openvino", "nncf")),
    "ethos_u": Backend("edgekit.converters.ethos_u", "ethos-u", ("ethosu", "litert_quantizer")),
    "onnx": Backend("edgekit.converters.onnx", "onnx", ("onnx", "onnxruntime", "tf2onnx")),
    "tensorrt": Backend(
        "edgekit.converters.tensorrt", "tensorrt", ("onnx", "onnxruntime", "tf2onnx")
    ),
}
FORMATS = {
    "tflite": Format(".tflite", "litert", ("tflite",), per_tensor=True, trained_ranges=True),
    "openvino": Format(
        ".xml",
        "openvino",
        ("savedmodel", "onnx", "tflite"),
        siblings=(".bin",),
        trained_ranges=True,
    ),
    "ethos_u": Format(".tflite", "litert", ("tflite",), per_tensor=True, base="tflite"),
    "onnx": Format(".onnx", "onnxruntime", ("onnx",), trained_ranges=True),
    "tensorrt": Format(".onnx", "onnxruntime", ("onnx",), base="onnx", trained_ranges=True),
}

EMITTERS = {
    "c": Emitter(
        "edgekit.converters.c_source:Emitter",
        (".c", "_golden.h", "_main.c"),
        needs_int8=True,
        runtime="c",
    ),
    "c-array": Emitter(
        "edgekit.converters.c_array:Emitter", (".cc", "_golden.h", "_resolver.h", "_main.cc")
    ),
}
"""What `convert --emit` writes instead of the .tflite; both need nothing but the core."""

SOURCES = {
    "keras": Backend("edgekit.keras_source", "tensorflow", ("tensorflow", "tf_keras", "h5py")),
    "tflite": Backend("edgekit.tflite_source", None, ("ai_edge_litert",)),
    "onnx": Backend("edgekit.onnx_source", "onnx", ("onnx", "onnxruntime")),
}
EXPORTERS = {"onnx": Backend("edgekit.onnx_export", "onnx", ("onnx", "tf2onnx"))}
"""What writes a loaded Keras model in a form that needs more than TensorFlow."""

ENGINES = {
    "tfmot": Backend(
        "edgekit.compression.tfmot_engine", "tfmot",
        ("tensorflow", "tf_keras", "tensorflow_model_optimization"),
    ),
}  # fmt: skip
"""What carries steps of a recipe out in place of edgekit's own code."""

RUNTIMES = {
    "litert": Backend("edgekit.targets.runner.litert", None, ("ai_edge_litert",)),
    "openvino": Backend("edgekit.targets.runner.openvino", "openvino", ("openvino",)),
    "onnxruntime": Backend("edgekit.targets.runner.onnxruntime", "onnx", ("onnxruntime",)),
    "tensorrt": Backend(
        "edgekit.targets.runner.tensorrt",
        None,
        ("tensorrt",),
        install="pip install tensorrt (Jetson: sudo apt install python3-libnvinfer)",
    ),
}
LAYERS = {
    "keras": Backend("edgekit.layer_keras", "tensorflow", ("tensorflow", "tf_keras", "h5py")),
    "litert": Backend("edgekit.layer_tflite", None, ("ai_edge_litert",)),
    "openvino": Backend("edgekit.layer_openvino", "openvino", ("openvino",)),
    "onnxruntime": Backend("edgekit.layer_onnx", "onnx", ("onnx", "onnxruntime")),
}
"""What looks into models, by the runtime that runs them; for `compare --layers`."""
TARGETS = {
    "local": Backend("edgekit.targets.local", None, ()),
    "ssh": Backend("edgekit.targets.ssh", None, (), ("ssh",)),
    "adb": Backend("edgekit.targets.adb", None, (), ("adb",)),
    "qemu": Backend("edgekit.targets.qemu", None, ()),
}

LINTERS = {"tensorrt": "edgekit.converters.tensorrt:Linter"}
"""What holds a given .onnx against what a format's runtime refuses, as `module:Class`."""

_GROUPS = {
    "converter": (CONVERTERS, "edgekit.converters"),
    "source": (SOURCES, None),
    "exporter": (EXPORTERS, None),
    "engine": (ENGINES, None),
    "runtime": (RUNTIMES, None),
    "layer reader": (LAYERS, None),
    "target": (TARGETS, "edgekit.targets"),
}


def has_module(name: str) -> bool:
    """Whether a module could be imported, without importing it."""
    return importlib.util.find_spec(name) is not None


def missing(backend: Backend) -> tuple[str, ...]:
    """The import names that a backend needs and this environment lacks."""
    return tuple(name for name in backend.needs if not has_module(name))


def how_to_get(backend: Backend) -> str:
    """What to type for the frameworks of a backend."""
    own = f"pip install 'edgekit[{backend.extra}]'" if backend.extra else "pip install edgekit"
    return backend.install or own


def missing_commands(backend: Backend) -> tuple[str, ...]:
    """The programs that a backend starts and this machine lacks."""
    return tuple(name for name in backend.commands if shutil.which(name) is None)


def exists(kind: str, name: str) -> bool:
    """Whether a backend of this kind is known, installed or not."""
    table, group = _GROUPS[kind]
    return name in table or (group is not None and name in _entry_points(group))


def converter(name: str) -> ModuleType:
    """The converter module of a format, imported into this process."""
    return _load("converter", name)


def artifact_format(name: str) -> Format:
    """The facts of a format: built in, or the `FORMAT` of a third party's converter module."""
    if name in FORMATS:
        return FORMATS[name]
    found: Format = converter(name).FORMAT
    return found


def is_compiled(name: str) -> bool:
    """Whether a format's artifacts are compiled from another format's."""
    return name in FORMATS and FORMATS[name].base is not None


def converter_reference(name: str) -> str:
    """`module:Class` of a format's converter, to run in a worker.

    Raises:
        MissingExtra: Its framework is not installed.
        UserError: No converter of this name exists in this version.
    """
    return _reference("converter", name, "Converter")


def emitter(name: str) -> Emitter:
    """What writes C sources of one kind.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in EMITTERS:
        raise UsageError(f"--emit {name} is not one of {', '.join(EMITTERS)}", "name one of these")
    return EMITTERS[name]


def source_reference(name: str) -> str:
    """`module:Class` of what reads models of a format family: keras, tflite or onnx."""
    return _reference("source", name, "Source")


def engine_reference(name: str) -> str:
    """`module:Class` of another engine for steps of a recipe, to run in a worker of its own.

    Raises:
        MissingExtra: It is not installed.
    """
    return _reference("engine", name, "Engine")


def layers_reference(name: str) -> str:
    """`module:Class` of what looks into the models that a runtime runs."""
    return _reference("layer reader", name, "Layers")


def source(name: str) -> ModuleType:
    """The module that reads models of a format family, imported into this process."""
    return _load("source", name)


def exporter(name: str) -> ModuleType:
    """The module that writes a loaded Keras model as a hub of this form."""
    return _load("exporter", name)


def runtime(name: str) -> ModuleType:
    """The runner's module that executes artifacts with a runtime."""
    return _load("runtime", name)


def target(name: str) -> ModuleType:
    """The module that reaches one kind of device."""
    if not exists("target", name):
        known = ", ".join(sorted({*TARGETS, *_entry_points("edgekit.targets")}))
        raise DeviceError(f"unknown device '{name}'; known: {known}", "--device local")
    return _load("target", name)


def _reference(kind: str, name: str, served: str) -> str:
    table, _ = _GROUPS[kind]
    if name in table:
        require(table[name], f"the {name} {kind}")
        return f"{table[name].module}:{served}"
    return f"{_load(kind, name).__name__}:{served}"


def require(backend: Backend, what: str) -> None:
    """Raises MissingExtra when a backend's frameworks are not installed."""
    lacking = missing(backend)
    if lacking:
        raise MissingExtra(
            f"{what} needs {', '.join(lacking)}, which is not installed here",
            how_to_get(backend),
        )


def _load(kind: str, name: str) -> ModuleType:
    table, group = _GROUPS[kind]
    if name in table:
        require(table[name], f"the {name} {kind}")
        return importlib.import_module(table[name].module)
    found = _entry_points(group) if group else {}
    if name in found:
        module = found[name].load()
        assert isinstance(module, ModuleType), f"entry point {name} of {group} is not a module"
        return module
    raise UserError(
        f"unknown {kind} '{name}'; known: {', '.join(sorted({*table, *found}))}",
        "install the package that brings it, or name one of these",
    )


def _entry_points(group: str) -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=group)}
