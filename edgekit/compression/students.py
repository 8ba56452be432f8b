"""A student of another architecture takes the place of the model that teaches it.

It gets the names of the teacher's inputs and outputs, so that data, metric and every later
conversion find them where they are.
"""

from __future__ import annotations

from typing import Any

from edgekit.compression import graph, rebuilding
from edgekit.compression.graph import Graph
from edgekit.errors import ModelError
from edgekit.keras_loading import Loaded
from edgekit.types import TensorSpec

BUILD = "build the student with the same inputs and classes"


def adopt(student: Loaded, source: Loaded) -> Any:
    """The student with the source's names of inputs and outputs.

    Args:
        student: A model of layers.
        source: The model it stands for.

    Returns:
        A `keras.Model`.

    Raises:
        ModelError: It has other inputs or outputs, or is no model of layers.
    """
    if student.model is None:
        raise ModelError("the student carries its computation only, no Keras layers", BUILD)
    _check("input", student.inputs, source.inputs)
    _check("output", student.outputs, source.outputs)
    taken = graph.read(student.model)
    if len(set(taken.output_names)) == len(taken.output_names):
        _rename_all(taken, taken.output_names, [spec.name for spec in source.outputs])
    _rename_all(taken, taken.input_names, [spec.name for spec in source.inputs])
    return rebuilding.rebuild(taken)


def _check(side: str, own: tuple[TensorSpec, ...], wanted: tuple[TensorSpec, ...]) -> None:
    mine, theirs = ([spec.shape[1:] for spec in specs] for specs in (own, wanted))
    if mine != theirs:
        shown = [", ".join(str([*shape]) for shape in shapes) for shapes in (mine, theirs)]
        raise ModelError(
            f"the student's {side}s have the shapes {shown[0]}, the model's {shown[1]}", BUILD
        )


def _rename_all(taken: Graph, names: list[str], wanted: list[str]) -> None:
    """Renames layers; one that has a wanted name already makes room for it first."""
    for place, (name, new) in enumerate(zip(list(names), wanted, strict=True)):
        if name == new:
            continue
        if new in taken.layers:
            spare = f"{new}_of_student"
            graph.rename(taken, new, spare)
            names[:] = [spare if one == new else one for one in names]
        graph.rename(taken, names[place], new)
        names[place] = new
