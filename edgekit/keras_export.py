"""Writes a loaded Keras model as float TFLite, or as the SavedModel that other converters read.

Both come from one frozen function: traced once, variables folded in. For MobileNetV2 that takes a
quarter of the time of `TFLiteConverter.from_keras_model`, loses no weights (as
`from_concrete_functions` with a Keras 3 model does), and keeps every name as it is.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from edgekit import frozen_graph, tflite_interface
from edgekit.errors import ConversionError, one_line
from edgekit.keras_loading import LOADER_ERRORS, Loaded
from edgekit.types import TensorSpec

GUARD_TOLERANCE = 1e-2
"""Largest difference, relative to an output's largest value, before a file counts as broken.

A guard against lost weights, not a parity check: conversion does that on real samples.
"""


def trace(loaded: Loaded, batch: int | None) -> Any:
    """The model as a concrete function with a fixed batch, or a dynamic one for None.

    Raises:
        ConversionError: The model has another fixed batch, or cannot be traced.
    """
    specs = [tf.TensorSpec(_shape(spec, batch), spec.dtype) for spec in loaded.inputs]

    def serve(*tensors: Any) -> list[Any]:
        return [tf.identity(tensor) for tensor in loaded.call(tensors)]

    try:
        return tf.function(serve, autograph=False).get_concrete_function(*specs)
    except LOADER_ERRORS as error:
        raise ConversionError(
            f"the model cannot be traced with batch {batch or 'dynamic'}:"
            f" {one_line(str(error))[:300]}",
            "check that it runs in Keras with an input of that batch",
        ) from None


def to_tflite(loaded: Loaded, function: Any, path: Path) -> None:
    """Writes a float32 `.tflite` whose serving signature has the model's own names.

    Raises:
        ConversionError: A layer has no counterpart in TFLite, or the file came out broken.
    """
    _refuse_quantized(loaded)
    batch = function.inputs[0].shape[0] if loaded.inputs[0].shape else None
    if loaded.model is None and batch:
        function = frozen_graph.with_fixed_batch(function, batch)
    converter = _converter(function)
    _give_back_memory()
    try:
        content = converter.convert()
    except LOADER_ERRORS as error:
        raise explain(error, _layer_names(loaded)) from None
    except Exception as error:
        if type(error).__name__ != "ConverterError":  # its class has no public name
            raise
        raise explain(error, _layer_names(loaded)) from None
    _give_back_memory()
    named = tflite_interface.with_names(content, _names(loaded.inputs), _names(loaded.outputs))
    _guard(loaded, function, named)
    path.write_bytes(named)


def to_savedmodel(loaded: Loaded, function: Any, path: Path) -> None:
    """Writes a SavedModel without variables, its signature with the model's own names."""
    frozen, graph_def = frozen_graph.freeze(function)
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta_graph = model.meta_graphs.add()
    meta_graph.meta_info_def.tags.append(tf.saved_model.SERVING)
    meta_graph.meta_info_def.tensorflow_version = tf.__version__
    meta_graph.graph_def.CopyFrom(graph_def)
    signature = meta_graph.signature_def["serving_default"]
    signature.method_name = tf.saved_model.PREDICT_METHOD_NAME
    for specs, tensors, named in (
        (loaded.inputs, frozen.inputs, signature.inputs),
        (loaded.outputs, frozen.outputs, signature.outputs),
    ):
        for spec, tensor in zip(specs, tensors, strict=True):
            named[spec.name].name = tensor.name
            named[spec.name].dtype = tensor.dtype.as_datatype_enum
            named[spec.name].tensor_shape.CopyFrom(tensor.shape.as_proto())
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(model.SerializeToString(deterministic=True))


def explain(error: BaseException, layers: Sequence[str]) -> ConversionError:
    """The converter's error as one line: which operation of which layer, and the way out."""
    data = [entry for entry in getattr(error, "errors", []) if entry.operator.name]
    data = [entry for entry in data if entry.operator.name != "tf.Const"] or data
    if not data:
        text = one_line(str(error).partition("\n")[0])[:300]
        return ConversionError(
            f"TFLiteConverter refuses the model: {text or type(error).__name__}",
            "inspect the model, or choose --target host-openvino",
        )
    operations = sorted({entry.operator.name.removeprefix("tf.") for entry in data})
    where = next((found for entry in data if (found := _layer_of(entry, layers))), None)
    label = f"layer '{where}'" if where else "the model"
    if any(operation.startswith("TensorList") for operation in operations):
        return ConversionError(
            f"{label} is recurrent, and TFLite needs a fixed batch there",
            "leave out --batch dynamic (--batch 1 is the default)",
        )
    return ConversionError(
        f"{label} needs {', '.join(operations)}, which TFLite has no built-in operator for",
        "replace that layer, or choose --target host-openvino",
    )


def _give_back_memory() -> None:
    """Returns what is no longer used to the system: 150 MB for MobileNetV2, twice."""
    gc.collect()  # functions and graphs hold each other
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
    if trim is not None:
        trim(0)


def _refuse_quantized(loaded: Loaded) -> None:
    for layer in loaded.model._flatten_layers(include_self=False) if loaded.model else ():
        if getattr(layer, "quantization_mode", None):
            raise ConversionError(
                f"layer '{layer.name}' was quantized by Keras ({layer.quantization_mode}), which"
                " TFLite has no operators for",
                "give edgekit the float model, and --precision int8",
            )


def _converter(function: Any) -> Any:
    """A TFLite converter that holds a GraphDef and nothing else.

    The converter of a concrete function keeps the function, its frozen copy and their libraries
    while it converts: 90 MB more for MobileNetV2.
    """
    frozen, graph_def = frozen_graph.freeze(function)
    with tf.Graph().as_default():
        inputs, outputs = (
            [
                tf.compat.v1.placeholder(tensor.dtype, tensor.shape, tensor.op.name)
                for tensor in tensors
            ]
            for tensors in (frozen.inputs, frozen.outputs)
        )
    return tf.compat.v1.lite.TFLiteConverter(graph_def, inputs, outputs)


def _shape(spec: TensorSpec, batch: int | None) -> tuple[int | None, ...]:
    if not spec.shape:
        return ()
    fixed = spec.shape[0]
    if fixed is not None and fixed != batch:
        raise ConversionError(
            f"input '{spec.name}' has a fixed batch of {fixed}; asked was {batch or 'dynamic'}",
            f"use --batch {fixed}, or save the model with keras.Input(shape=…), without a batch",
        )
    return (batch, *spec.shape[1:])


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _layer_names(loaded: Loaded) -> list[str]:
    if loaded.model is None:
        return []
    return [layer.name for layer in loaded.model._flatten_layers(include_self=False)]


def _layer_of(entry: Any, layers: Sequence[str]) -> str | None:
    """The layer in whose name scope an operation stands; scopes get a number at each call."""
    for call in entry.location.call:
        for part in reversed(str(call.name).split("/")):
            for name in (part, re.sub(r"_\d+$", "", part)):
                if name in layers:
                    return name
    return None


def _guard(loaded: Loaded, function: Any, content: bytes) -> None:
    """Runs one probe through both; a lost weight shows at once."""
    random = np.random.default_rng(0)
    probes = [_probe(tensor, random) for tensor in function.inputs[: len(loaded.inputs)]]
    expected = function(*map(tf.constant, probes))
    try:
        actual = tflite_interface.run(
            content, dict(zip(_names(loaded.inputs), probes, strict=True))
        )
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"the TFLite file does not run: {one_line(str(error))[:300]}",
            "inspect the model, or choose --target host-openvino",
        ) from None
    for spec, tensor in zip(loaded.outputs, expected, strict=True):
        reference = np.asarray(tensor, np.float64)
        difference = np.abs(actual[spec.name].reshape(reference.shape) - reference)
        limit = GUARD_TOLERANCE * np.abs(reference).max(initial=1e-6)
        if np.isfinite(reference).all() and not difference.max(initial=0.0) <= limit:
            raise ConversionError(
                f"the TFLite file came out broken: output '{spec.name}' is off by"
                f" {difference.max():.2g}",
                "choose --target host-openvino, and report this model",
            )


def _probe(tensor: Any, random: np.random.Generator) -> Any:
    shape = [size or 1 for size in tensor.shape]
    if tensor.dtype.is_floating:
        return random.standard_normal(shape).astype(tensor.dtype.as_numpy_dtype)
    return np.zeros(shape, tensor.dtype.as_numpy_dtype)
