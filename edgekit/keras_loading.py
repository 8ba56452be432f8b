"""Opens Keras models of both generations and SavedModels; runs in a worker, after `identify`.

What the old Keras wrote is read by tf_keras and replayed; that Keras 3 opens some of those files
too proves nothing (its hard_sigmoid is another function than theirs).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from edgekit import graph_safety, loading, model_safety, replay
from edgekit.errors import ModelError, one_line
from edgekit.types import Dimension, ModelFile, TensorSpec
from edgekit.workers import scratch

LOADER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError,
    NotImplementedError, OSError, RuntimeError, TypeError, ValueError, tf.errors.OpError,
)  # fmt: skip
"""What Keras and TensorFlow raise on a model that they cannot trace or convert."""

REDUCED_POLICIES = frozenset({"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"})
OLD_VERSIONS = ("1.", "2.")
SAVE_AGAIN = "save the model again with Keras 3: model.save('m.keras')"
Call = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be called: with its tensors in the order of `inputs`, as `outputs`.

    `model` is None for a SavedModel that only has its signature. `owner` keeps variables alive.
    """

    call: Call
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    model: Any = None
    generation: str | None = None
    notes: tuple[str, ...] = ()
    owner: Any = field(default=None, repr=False)


def load(file: ModelFile, *, trust: bool) -> Loaded:
    """Opens a file that `identify` has accepted.

    Raises:
        ModelError: It cannot be loaded, or a layer cannot be replayed into Keras 3.
    """
    path = Path(file.path)
    if file.format == "savedmodel":
        return _saved_model(path, trust)
    version = loading.keras_config(path, isolated=False).keras_version
    if version is None or not version.startswith(OLD_VERSIONS):
        try:
            return of_model(_keras3(file, trust), "keras3")
        except ModelError:
            if version is not None:
                raise
    return _replayed(_tf_keras(file, trust), trust)


def _keras3(file: ModelFile, trust: bool) -> Any:
    return _guarded(
        file, lambda path: keras.saving.load_model(path, compile=False, safe_mode=not trust)
    )


def _tf_keras(file: ModelFile, trust: bool) -> Any:
    return _guarded(
        file, lambda path: tf_keras.models.load_model(path, compile=False, safe_mode=not trust)
    )


def _guarded(file: ModelFile, load_model: Callable[[str], Any]) -> Any:
    """Loads under the suffix that the content deserves, and explains what the loader raises."""
    suffix = "" if file.format == "savedmodel" else f".{file.format}"
    with scratch() as directory:
        link = directory / f"model{suffix}"
        link.symlink_to(Path(file.path).absolute())
        try:
            return load_model(str(link))
        except Exception as error:  # a loader of damaged files raises whatever it happens on
            raise ModelError(
                f"Keras cannot load {file.path}: {_brief(error)}", SAVE_AGAIN
            ) from None


def _brief(error: BaseException) -> str:
    """The part of a loader's message that says what is wrong; the rest is the whole config."""
    text = str(error).partition("Full object config:")[0].partition("\n\nconfig=")[0]
    _, cause, after = str(error).partition("Exception encountered: ")
    return one_line(f"{text} {after if cause else ''}")[:300] or type(error).__name__


def _replayed(legacy: Any, trust: bool, notes: tuple[str, ...] = ()) -> Loaded:
    rebuilt, difference = replay.replay(legacy, trust=trust)
    tf_keras.backend.clear_session()
    del legacy
    gc.collect()
    note = (
        f"replayed from tf_keras: largest difference {difference:.1g} of an output's largest value"
        f" on {replay.PROBES} probe inputs"
    )
    return of_model(rebuilt, "keras2", (note, *notes))


def of_model(model: Any, generation: str | None, notes: tuple[str, ...] = ()) -> Loaded:
    """A Keras 3 model in the form that is called.

    Raises:
        ModelError: It is subclassed, or was never built.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ModelError(
            f"the model ({type(model).__name__}) has no fixed inputs: it is subclassed, or was"
            " never built",
            "call it once and write a SavedModel: model.export('DIR'), and use that",
        )
    graph = getattr(model, "_functional", None) or model
    structure = graph._inputs_struct
    notes = (*notes, *_in_float32(model))

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        packed = keras.tree.pack_sequence_as(structure, list(tensors))
        return list(keras.tree.flatten(model(packed, training=False)))

    names = [tensor._keras_history.operation.name for tensor in model.inputs]
    return Loaded(
        call=call,
        inputs=_specs(names, model.inputs),
        outputs=_specs(_unique(graph.output_names), model.outputs),
        model=model,
        generation=generation,
        notes=notes,
        owner=model,
    )


def _in_float32(model: Any) -> tuple[str, ...]:
    """Has a model of reduced precision compute in float32: what it ships in is decided later."""
    found = set()
    for layer in model._flatten_layers():
        name = str(layer.dtype_policy.name)
        if name in REDUCED_POLICIES:
            layer.dtype_policy = "float32"
            found.add(name)
    return (f"trained in {', '.join(sorted(found))}; computed in float32",) if found else ()


def _specs(names: Sequence[str], tensors: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(str(name), _shape(tensor.shape), _dtype(tensor.dtype))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _dtype(dtype: Any) -> str:
    name = str(keras.backend.standardize_dtype(dtype))
    return "float32" if name in ("float16", "bfloat16") else name


def _shape(shape: Any) -> tuple[Dimension, ...]:
    return tuple(None if size is None else int(size) for size in shape)


def _unique(names: Sequence[str]) -> list[str]:
    """Names as tf_keras makes them: a layer with several outputs gives rec, rec_1, rec_2."""
    found: list[str] = []
    for name in names:
        candidate, count = name, 0
        while candidate in found:
            count += 1
            candidate = f"{name}_{count}"
        found.append(candidate)
    return found


def _saved_model(path: Path, trust: bool) -> Loaded:
    content = memoryview((path / "saved_model.pb").read_bytes())
    stored = graph_safety.stored_keras_configs(path, content)
    if not stored:
        return _signature(path, ("it carries no Keras layers; its serving signature is used",))
    unsafe = None if trust else _first_hazard(stored, path)
    if unsafe:
        return _signature(path, (f"its serving signature is used, not its layers: {unsafe}",))
    file = ModelFile(str(path), "keras", "savedmodel", "", 0)
    try:
        return _replayed(_tf_keras(file, trust), trust)
    except ModelError as error:
        return _signature(
            path, (f"its serving signature is used, not its layers: {error.message}",)
        )


def _first_hazard(stored: Sequence[str], path: Path) -> str | None:
    for text in stored:
        config = model_safety.parse_json(text, path, "Keras metadata")
        for hazard in model_safety.hazards(config):
            return hazard.problem
    return None


def _signature(path: Path, notes: tuple[str, ...]) -> Loaded:
    try:
        owner = tf.saved_model.load(str(path))
        signatures = dict(owner.signatures)
    except Exception as error:  # a loader of damaged files raises whatever it happens on
        raise ModelError(
            f"TensorFlow cannot load {path}: {_brief(error)}", "write the SavedModel again"
        ) from None
    function = signatures.get("serving_default") or next(iter(signatures.values()), None)
    if function is None or ("serving_default" not in signatures and len(signatures) > 1):
        raise ModelError(
            f"{path} has the signatures {sorted(signatures)}, and not serving_default",
            "export it with one signature: tf.saved_model.save(model, DIR, signatures=function)",
        )
    given = function.structured_input_signature[1]
    made = function.structured_outputs
    inputs = tuple(_graph_spec(name, given[name], path) for name in sorted(given))
    outputs = tuple(_graph_spec(name, made[name], path) for name in sorted(made))

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        named = dict(zip((spec.name for spec in inputs), tensors, strict=True))
        answer = function(**named)
        return [answer[spec.name] for spec in outputs]

    return Loaded(call=call, inputs=inputs, outputs=outputs, notes=notes, owner=owner)


def _graph_spec(name: str, spec: Any, path: Path) -> TensorSpec:
    if spec.shape.rank is None:
        raise ModelError(
            f"{path}: '{name}' may have any number of axes",
            "export it with a shape: tf.TensorSpec([None, …])",
        )
    return TensorSpec(name, _shape(spec.shape), spec.dtype.name)
