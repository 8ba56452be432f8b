"""Executes `.tflite` files with LiteRT and its default XNNPACK delegate.

Where there is no wheel of LiteRT (32-bit Arm), its predecessor tflite-runtime 2.14 does: the same
interpreter, which tells less of its operators, knows older ones, and wants numpy 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import batching, environment
from .protocol import RunnerError
from .tensors import Array, Tensor

try:
    from ai_edge_litert.interpreter import Interpreter

    _DISTRIBUTION = "ai-edge-litert"
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "ai_edge_litert":
        raise
    try:
        from tflite_runtime.interpreter import Interpreter
    except ModuleNotFoundError:
        raise ImportError(
            "neither ai_edge_litert nor tflite_runtime is installed", name=error.name
        ) from None

    _DISTRIBUTION = "tflite-runtime"

_COMPILED_OPERATORS = {"ethos-u": "Arm Ethos-U", "edgetpu-custom-op": "Edge TPU"}
"""Custom operators that hold a compiler's output, and what runs them."""
_COMPUTE_DTYPES = ("float32", "float16", "int8", "uint8", "int16")


class Session:
    """A loaded `.tflite`. `invoke` is exactly what is timed.

    Names are those of the serving signature where the file has one, else the tensors' own.
    """

    failures = (ValueError, RuntimeError)

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self.invoke = interpreter.invoke
        inputs, outputs = _named_details(interpreter)
        self._input_index = {name: entry["index"] for name, entry in inputs.items()}
        self._output_index = {name: entry["index"] for name, entry in outputs.items()}
        self._shapes = {name: tuple(entry["shape"].tolist()) for name, entry in inputs.items()}
        self.inputs = [_tensor(name, entry) for name, entry in inputs.items()]
        self.outputs = [_tensor(name, entry) for name, entry in outputs.items()]

    def set_inputs(self, arrays: dict[str, Array]) -> None:
        """Sets the inputs of the next invoke, in the artifact's own types."""
        resized = False
        for name, array in arrays.items():
            if array.shape != self._shapes[name]:
                self._interpreter.resize_tensor_input(self._input_index[name], array.shape, True)
                self._shapes[name] = array.shape
                resized = True
        if resized:
            self._interpreter.allocate_tensors()
        for name, array in arrays.items():
            self._interpreter.set_tensor(self._input_index[name], array)

    def get_outputs(self) -> dict[str, Array]:
        """The outputs of the last invoke, in the artifact's own types."""
        return {
            name: self._interpreter.get_tensor(index) for name, index in self._output_index.items()
        }

    def forget(self) -> None:
        """Clears what recurrent layers carry from one invoke to the next."""
        self._interpreter.reset_all_variables()

    def predict(self, arrays: dict[str, Array], batch: Any = None) -> dict[str, Array]:
        """Outputs [n, …] for inputs [n, …], float in and float out."""
        return batching.predict(self, arrays, batch)

    def facts(self) -> dict[str, Any]:
        """What executed the graph, and in which precision."""
        return {
            "precision": _precision(self._interpreter),
            "delegate": _delegate(self._interpreter),
            "versions": environment.versions(_DISTRIBUTION),
        }


def load(path: str, threads: int, options: dict[str, str]) -> Session:
    """Loads a `.tflite`.

    Raises:
        RunnerError: The file is not valid, needs operators that LiteRT lacks, or an option is
            unknown.
    """
    if options:
        raise RunnerError(
            "litert takes no runtime options, and got " + ", ".join(sorted(options)),
            "convert the model again",
        )
    try:
        interpreter = Interpreter(model_path=path, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise RunnerError(
            "LiteRT cannot load %s: %s" % (path, batching.brief(error)),
            _remedy(str(error)),
        ) from None
    return Session(interpreter)


def _remedy(said: str) -> str:
    found = next((name for name in _COMPILED_OPERATORS if name in said), None)
    if found is None:
        return "convert the model again, or check that the file is a complete .tflite"
    return "only an %s runs it: give the int8 .tflite that it was compiled from" % (
        _COMPILED_OPERATORS[found],
    )


def _named_details(interpreter: Any) -> Any:
    """Details of inputs and outputs by name: of the serving signature, else of the tensors."""
    signatures = interpreter.get_signature_list()
    if signatures:
        key = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
        signature = interpreter.get_signature_runner(key)
        inputs, outputs = signature.get_input_details(), signature.get_output_details()
        # invoke() runs subgraph 0; a signature of another subgraph has tensors of its own.
        main = {entry["index"] for entry in interpreter.get_input_details()}
        if {entry["index"] for entry in inputs.values()} == main:
            return inputs, outputs
        if len(signatures) > 1:
            raise RunnerError(
                "signature '%s' is not the file's first subgraph; its signatures: %s"
                % (key, ", ".join(sorted(signatures))),
                "export the model with this signature alone",
            )
    return (
        {entry["name"]: entry for entry in interpreter.get_input_details()},
        {entry["name"]: entry for entry in interpreter.get_output_details()},
    )


def _tensor(name: str, entry: dict[str, Any]) -> Tensor:
    scales = entry["quantization_parameters"]["scales"]
    quantized = len(scales) == 1
    shape = entry.get("shape_signature", entry["shape"])
    return {
        "name": name,
        "shape": [None if size < 0 else int(size) for size in shape],
        "dtype": np.dtype(entry["dtype"]).name,
        "scale": float(scales[0]) if quantized else None,
        "zero_point": (
            int(entry["quantization_parameters"]["zero_points"][0]) if quantized else None
        ),
    }


def _operators(interpreter: Any) -> Any:
    """Operators as LiteRT lists them after delegation; None where this version does not tell."""
    details = getattr(interpreter, "_get_ops_details", None)
    return details() if details else None


def _delegate(interpreter: Any) -> dict[str, Any]:
    """The delegate and the number of operators it took.

    LiteRT lists the original operators and, after them, one DELEGATE per group that was taken,
    with the group's own inputs and outputs: an operator was taken if it lies between the two.
    """
    operators = _operators(interpreter)
    if operators is None:
        return {"name": None, "nodes": None, "total_nodes": None}
    own = [entry for entry in operators if entry["op_name"] != "DELEGATE"]
    groups = [entry for entry in operators if entry["op_name"] == "DELEGATE"]
    producer = {int(tensor): entry for entry in own for tensor in entry["outputs"]}
    taken: set[int] = set()
    for group in groups:
        taken |= _between(set(group["inputs"].tolist()), group["outputs"].tolist(), producer)
    return {
        "name": "XNNPACK" if groups else None,
        "nodes": len(taken),
        "total_nodes": len(own),
    }


def _between(inputs: set[int], outputs: list[int], producer: dict[int, Any]) -> set[int]:
    found: set[int] = set()
    pending = list(outputs)
    while pending:
        tensor = pending.pop()
        entry = producer.get(tensor)
        if tensor in inputs or entry is None or entry["index"] in found:
            continue
        found.add(entry["index"])
        pending.extend(entry["inputs"].tolist())
    return found


def _precision(interpreter: Any) -> Any:
    """The types of the operators' results, the most frequent first, e.g. "int8, float32"."""
    operators = _operators(interpreter)
    if operators is None:
        return None
    types = {entry["index"]: entry["dtype"] for entry in interpreter.get_tensor_details()}
    counts: dict[str, int] = {}
    for entry in operators:
        results = [] if entry["op_name"] == "DELEGATE" else entry["outputs"].tolist()
        for dtype in (types[index] for index in results if index in types):
            name = np.dtype(dtype).name
            if name in _COMPUTE_DTYPES:
                counts[name] = counts.get(name, 0) + 1
    return ", ".join(sorted(counts, key=lambda name: -counts[name])) or None
