"""Reads float models into OpenVINO graphs under the source's names, with the batch asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import openvino
from openvino import frontend
from openvino.tools.ovc.error import BasicError

from edgekit import tflite_file
from edgekit.converters.openvino_graph import (
    Model,
    Port,
    brief,
    name_layers,
    rank_of,
    sizes_of,
)
from edgekit.errors import ConversionError
from edgekit.types import TensorSpec

READ_ERRORS = (
    RuntimeError,
    BasicError,
    frontend.GeneralFailure,
    frontend.InitializationFailure,
    frontend.NotImplementedFailure,
    frontend.OpConversionFailure,
    frontend.OpValidationFailure,
)


def read(
    hub: Path, inputs: list[TensorSpec], outputs: list[TensorSpec], batch: int | None
) -> Model:
    """A float model as a graph with the source's names, order and the batch asked for.

    Args:
        hub: A SavedModel directory, a float .onnx or a float .tflite.
        inputs: The source's inputs.
        outputs: The source's outputs.
        batch: The static batch size, or None where it may vary.

    Raises:
        ConversionError: OpenVINO cannot read it, or the inputs or outputs are not the source's.
    """
    try:
        found = openvino.convert_model(str(hub))
    except READ_ERRORS as error:
        raise ConversionError(
            f"OpenVINO cannot read the model: {brief(error)}",
            "convert it with --target host (LiteRT) instead, or simplify the layer it names",
        ) from None
    aliases = _signature_names(hub) if hub.suffix == ".tflite" else {}
    parameters = _ordered(found.inputs, inputs, "inputs", aliases)
    results = _ordered(found.outputs, outputs, "outputs", aliases)
    model = openvino.Model(
        [port.node for port in results], [port.node for port in parameters], "model"
    )
    _name_ports(model, inputs, outputs)
    _set_batch(model, inputs, outputs, batch)
    name_layers(model)  # at the end: a static batch folds layers, whose remains get new names
    return model


def free_batch(model: Model) -> None:
    """Lets the first axis of every input vary.

    Raises:
        ConversionError: The graph holds on to its batch.
    """
    _reshape(model, -1, "keep the batch that the source has")


def _signature_names(path: Path) -> dict[str, str]:
    """The tensor that each input or output of a .tflite's signature stands for."""
    model = tflite_file.read(path)
    return {
        name: model.main.tensors[index].name
        for signature in model.signatures[:1]
        for name, index in {**signature.inputs, **signature.outputs}.items()
    }


def _ordered(
    ports: list[Port], wanted: list[TensorSpec], side: str, aliases: Mapping[str, str]
) -> list[Port]:
    """The graph's ports in the source's order: by name, else, where it is certain, by position."""
    if len(ports) != len(wanted):
        raise ConversionError(
            f"OpenVINO sees {len(ports)} {side}, the source has {len(wanted)}"
            f" ({', '.join(spec.name for spec in wanted)})",
            "remove unused inputs and repeated outputs from the model",
        )
    named = [_matching(ports, spec.name, aliases.get(spec.name)) for spec in wanted]
    if all(port is not None for port in named) and len({id(port) for port in named}) == len(ports):
        return [port for port in named if port is not None]
    fits = [[_fits(port, spec) for port in ports] for spec in wanted]
    if all(row[at] and (sum(row) == 1) for at, row in enumerate(fits)):
        return list(ports)
    have = ", ".join(sorted(name for port in ports for name in port.get_names()))
    raise ConversionError(
        f"OpenVINO names the {side} {have}; which is which of"
        f" {', '.join(spec.name for spec in wanted)} cannot be told",
        "give the model's inputs and outputs names",
    )


def _matching(ports: list[Port], name: str, alias: str | None) -> Port | None:
    for port in ports:
        if {name, alias} & {*port.get_names(), port.node.get_friendly_name()}:
            return port
    return None


def _fits(port: Port, spec: TensorSpec) -> bool:
    sizes = sizes_of(port)
    if len(sizes) != len(spec.shape):
        return False
    return all(
        size.is_dynamic or wanted is None or size.get_length() == wanted
        for size, wanted in zip(sizes, spec.shape, strict=True)
    )


def _name_ports(model: Model, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> None:
    for node in model.get_ordered_ops():
        for port in node.outputs():
            port.get_tensor().set_names(set())
    for parameter, spec in zip(model.get_parameters(), inputs, strict=True):
        parameter.set_friendly_name(spec.name)
        parameter.output(0).get_tensor().set_names({spec.name})
    for result, spec in zip(model.get_results(), outputs, strict=True):
        result.set_friendly_name(spec.name)
        result.output(0).get_tensor().add_names({spec.name})


def _reshape(model: Model, batch: int, fix: str) -> None:
    shapes = {
        port: openvino.PartialShape([batch, *sizes_of(port)[1:]])
        for port in model.inputs
        if rank_of(port)
    }
    try:
        model.reshape(shapes)
        model.validate_nodes_and_infer_types()
    except RuntimeError as error:
        asked = "that varies" if batch < 0 else batch
        raise ConversionError(
            f"the model cannot have a batch {asked}: {brief(error)}", fix
        ) from None


def _set_batch(
    model: Model, inputs: list[TensorSpec], outputs: list[TensorSpec], batch: int | None
) -> None:
    own = next((spec.shape[0] for spec in inputs if spec.shape and spec.shape[0]), 1)
    _reshape(model, -1 if batch is None else batch, f"use --batch {own}")
    for port, spec in zip(model.outputs, outputs, strict=True):
        sizes = sizes_of(port)
        if batch is None or not spec.shape or spec.shape[0] is not None or not sizes:
            continue
        if sizes[0].is_dynamic or sizes[0].get_length() != batch:
            raise ConversionError(
                f"batch {batch} does not reach output '{spec.name}', whose shape is"
                f" {port.get_partial_shape()}",
                "use --batch dynamic",
            )
