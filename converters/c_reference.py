"""LiteRT with its reference kernels: what generated C has to equal, and what checks its shapes."""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekit import tflite_file
from edgekit.converters.c_operands import shape
from edgekit.errors import ConversionError
from edgekit.flatbuffer import Malformed
from edgekit.tflite_file import Graph, Model


def read(path: Path) -> Model:
    """A model, from a file that nobody has vouched for.

    Raises:
        ConversionError: The file is damaged.
    """
    try:
        return tflite_file.read(path)
    except Malformed as error:
        raise damaged(error) from None


def damaged(error: Malformed) -> ConversionError:
    """The one line for a file that does not hold together."""
    return ConversionError(
        f"the .tflite is damaged: {error}", "get the file again, or convert its model again"
    )


def interpreter(path: Path) -> Interpreter:
    """A model that is ready to run, one thread.

    Raises:
        ConversionError: LiteRT refuses it.
    """
    try:
        # Kernels that work in place overwrite, in some graphs, what another one still reads.
        found = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
        found.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"LiteRT's reference kernels cannot run the model: {error}",
            "convert the model that it was made from again",
        ) from None
    return found


def check_shapes(running: Interpreter, graph: Graph) -> None:
    """What the file says of its tensors is what the operators give: C relies on it.

    Raises:
        ConversionError: A tensor has another shape than LiteRT computes.
    """
    inferred = {
        entry["index"]: tuple(map(int, entry["shape"])) for entry in running.get_tensor_details()
    }
    for index, tensor in enumerate(graph.tensors):
        if inferred.get(index, shape(tensor)) != shape(tensor):
            raise ConversionError(
                f"tensor '{tensor.name}' has the shape {shape(tensor)} in the file, and its"
                f" operator gives {inferred[index]}",
                "convert the model that it was made from again",
            )
