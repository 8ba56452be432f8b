"""Reads float `.onnx` models: the source's names, the batch asked for, and nothing superfluous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import checker, shape_inference, version_converter

from edgekit.chunks import Arrays
from edgekit.converters import onnx_execution, onnx_graph
from edgekit.converters.onnx_graph import Model
from edgekit.errors import ConversionError, one_line
from edgekit.types import TensorSpec

OLDEST_OPSET = 13
"""The first with quantization per channel."""

WANTED_OPSET = 18
SIMPLIFIED_TOLERANCE = 1e-5
"""Largest difference, relative to an output's largest value, that folding constants may make."""

OPEN_SIZE = 64
"""Of an axis that may vary, in a probe."""

QUANTIZED = frozenset({
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul", "MatMulInteger", "MatMulNBits", "QGemm", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear",
})  # fmt: skip


def read(
    hub: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], batch: int | None
) -> Model:
    """A float model with the source's names and the batch asked for.

    Args:
        hub: A float .onnx.
        inputs: The source's inputs.
        outputs: The source's outputs.
        batch: The static batch size, or None where it may vary.

    Raises:
        ConversionError: It is quantized, has other names, or cannot have that batch.
    """
    model = onnx.load(str(hub))
    _refuse_quantized(model, hub)
    model = _recent(model)
    _check_names(model, inputs, outputs)
    _set_batch(model, batch)
    model = _simplified(model)
    model.graph.name = "model"
    onnx_graph.name_nodes(model)
    model = onnx_graph.infer_shapes(model)
    _check_batch(model, outputs, batch)
    return model


def _refuse_quantized(model: Model, hub: Path) -> None:
    found = sorted({node.op_type for node in onnx_graph.nodes(model.graph)} & QUANTIZED)
    if found:
        raise ConversionError(
            f"{hub.name} is quantized already ({', '.join(found)}); quantizing twice loses"
            " accuracy",
            "give the float model; edgekit inspect --target says whether TensorRT takes this one",
        )


def _recent(model: Model) -> Model:
    have = next(
        (entry.version for entry in model.opset_import if entry.domain in onnx_graph.STANDARD), 0
    )
    if have >= OLDEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, WANTED_OPSET)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ConversionError(
            f"the model has opset {have}, and ONNX cannot bring it to {WANTED_OPSET}:"
            f" {one_line(str(error))[:200]}",
            f"export it again with opset {WANTED_OPSET} (torch.onnx.export, opset_version)",
        ) from None


def _check_names(model: Model, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> None:
    constants = {entry.name for entry in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]  # old exporters list weights among the inputs
    model.graph.input.extend(given)
    for side, have, wanted in (
        ("inputs", model.graph.input, inputs),
        ("outputs", model.graph.output, outputs),
    ):
        names, expected = [value.name for value in have], [spec.name for spec in wanted]
        if sorted(names) != sorted(expected):
            raise ConversionError(
                f"the ONNX model has the {side} {', '.join(names)}, its source"
                f" {', '.join(expected)}",
                "report it with the output of edgekit inspect",
            )


def _set_batch(model: Model, batch: int | None) -> None:
    """Fixes the first axis of every input, or says that it may vary.

    Outputs follow from the inputs: their first axis is left open for shape inference to close.
    """
    for value in model.graph.input:
        sizes = value.type.tensor_type.shape.dim
        if not sizes:
            continue
        own = sizes[0].dim_value if sizes[0].HasField("dim_value") else None
        if own is not None and own != batch:
            raise ConversionError(
                f"input '{value.name}' has a fixed batch of {own}; asked was {batch or 'dynamic'}",
                f"use --batch {own}, or export the model with a dynamic batch",
            )
        if batch is None:
            sizes[0].dim_param = "batch"
        else:
            sizes[0].dim_value = batch
    for value in model.graph.output:
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].Clear()
            if batch is None:
                sizes[0].dim_param = "batch"
    del model.graph.value_info[:]


def _check_batch(model: Model, outputs: list[TensorSpec], batch: int | None) -> None:
    """Shape inference has closed the outputs, where that can be told without running it."""
    wanted = {spec.name: spec for spec in outputs}
    for value in model.graph.output:
        source = wanted[value.name]
        sizes = value.type.tensor_type.shape.dim
        if batch is None or not sizes or not source.shape or source.shape[0] is not None:
            continue
        if not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = batch
        elif sizes[0].dim_value != batch:
            raise ConversionError(
                f"batch {batch} does not reach output '{value.name}', whose first axis is"
                f" {sizes[0].dim_value}",
                "use --batch dynamic",
            )


def _simplified(model: Model) -> Model:
    """The model without identities and foldable constants, if its outputs stay equal.

    ONNX Runtime's basic optimizations write standard operators only, and fold batch normalization
    into convolutions.
    """
    try:
        simpler = onnx_execution.optimized(model)
        checker.check_model(simpler, full_check=True)
    except (ConversionError, checker.ValidationError, shape_inference.InferenceError):
        return model
    if any(node.domain not in onnx_graph.STANDARD for node in onnx_graph.nodes(simpler.graph)):
        return model
    probe = _probe(model)
    try:
        before, after = (onnx_execution.Session(one).run(probe) for one in (model, simpler))
    except ConversionError:  # sizes that may vary were guessed wrongly
        return model
    return simpler if all(map(_equal, before, after)) else model


def _probe(model: Model) -> Arrays:
    random = np.random.default_rng(0)
    made: Arrays = {}
    for spec in onnx_graph.specs(model.graph.input):
        shape = [size or (OPEN_SIZE if axis else 1) for axis, size in enumerate(spec.shape)]
        kind = np.dtype(spec.dtype)
        real = random.standard_normal(shape) if kind.kind == "f" else np.zeros(shape)
        made[spec.name] = real.astype(kind)
    return made


def _equal(before: NDArray[np.generic], after: NDArray[np.generic]) -> bool:
    if before.shape != after.shape:
        return False
    if before.dtype.kind != "f":
        return bool(np.array_equal(before, after))
    limit = SIMPLIFIED_TOLERANCE * float(np.abs(before).max(initial=1e-6))
    return bool(np.allclose(before, after, rtol=0, atol=limit, equal_nan=True))
