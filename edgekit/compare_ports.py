"""Which input and output of the artifact stands for which of the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.chunks import Arrays
from edgekit.compare_sides import Side
from edgekit.data_checks import shape_text
from edgekit.errors import ModelError
from edgekit.types import Dimension, TensorSpec


def match(reference: Side, artifact: Side, side: str) -> dict[str, str]:
    """The artifact's names by the reference's: by name, else by position where the shapes fit.

    Args:
        reference: The one model.
        artifact: The other one.
        side: "inputs" or "outputs".

    Raises:
        ModelError: There are more or fewer, or the shapes per sample differ.
    """
    wanted: Sequence[TensorSpec] = getattr(reference, side)
    given: Sequence[TensorSpec] = getattr(artifact, side)
    if len(wanted) != len(given):
        raise ModelError(
            f"{artifact.about.path} has {len(given)} {side} ({_names(given)}), and"
            f" {reference.about.path} {len(wanted)} ({_names(wanted)})",
            "compare an artifact with the model that it was made from",
        )
    by_name = {spec.name: spec for spec in given}
    named = all(spec.name in by_name for spec in wanted)
    pairs = [(spec, by_name[spec.name]) for spec in wanted] if named else _by_order(wanted, given)
    for one, other in pairs:
        if not _fits(one.shape, other.shape):
            raise ModelError(
                f"{side[:-1]} '{other.name}' of {artifact.about.path} has shape"
                f" {shape_text(other.shape[1:])} per sample, and '{one.name}' of"
                f" {reference.about.path} {shape_text(one.shape[1:])}",
                "compare an artifact with the model that it was made from",
            )
    return {one.name: other.name for one, other in pairs}


def renamed(arrays: Mapping[str, object], names: Mapping[str, str]) -> Arrays:
    """Arrays under the artifact's names."""
    return {names[name]: array for name, array in arrays.items()}  # type: ignore[misc]


def steps(side: Side) -> dict[str, float]:
    """The quantization step of each output that has one.

    A .tflite with float outputs has its integers behind a last DEQUANTIZE.
    """
    found = {spec.name: spec.scale for spec in side.outputs if spec.scale is not None}
    if side.about.format != "tflite":
        return found
    from edgekit import tflite_file  # noqa: PLC0415 brings LiteRT's schema, for .tflite only

    model = tflite_file.read(Path(side.about.path))
    graph = model.main
    tensors = dict(zip((graph.tensors[index].name for index in graph.outputs), graph.outputs))  # noqa: B905 one for each
    tensors |= {
        name: index
        for signature in model.signatures[:1]
        for name, index in signature.outputs.items()
        if signature.graph == 0
    }
    behind = {
        operator.outputs[0]: operator.inputs[0]
        for operator in graph.operators
        if operator.name == "DEQUANTIZE"
    }
    for spec in side.outputs:
        source = behind.get(tensors.get(spec.name, -1))
        if source is not None and graph.tensors[source].scales.size == 1:
            found[spec.name] = float(graph.tensors[source].scales[0])
    return found


def _by_order(
    wanted: Sequence[TensorSpec], given: Sequence[TensorSpec]
) -> list[tuple[TensorSpec, TensorSpec]]:
    """By the one shape that fits where that is certain, else by position."""
    fitting = [[other for other in given if _fits(one.shape, other.shape)] for one in wanted]
    if all(len(found) == 1 for found in fitting) and len({found[0].name for found in fitting}) == (
        len(given)
    ):
        return [(one, found[0]) for one, found in zip(wanted, fitting, strict=True)]
    return list(zip(wanted, given, strict=True))


def _fits(one: Sequence[Dimension], other: Sequence[Dimension]) -> bool:
    """Shapes per sample; a size that may vary fits any."""
    if len(one) != len(other):
        return False
    pairs = zip(one[1:], other[1:], strict=True)
    return all(left is None or right is None or left == right for left, right in pairs)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(spec.name for spec in specs)
