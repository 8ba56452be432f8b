"""Executes `.onnx` files with ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

# Since 1.29 the library reports models and machine to its maker unless told before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime  # noqa: E402
from onnxruntime.capi import onnxruntime_pybind11_state as states  # noqa: E402

from . import batching, environment  # noqa: E402
from .protocol import RunnerError  # noqa: E402
from .tensors import Array, Tensor  # noqa: E402

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
}
_FAILURES = (
    RuntimeError,
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
)
"""What ONNX Runtime raises; its classes have no common parent but Exception."""


class Session:
    """A loaded `.onnx`. `invoke` is exactly what is timed."""

    failures = _FAILURES

    def __init__(self, session: Any) -> None:
        self._session = session
        self._binding = session.io_binding()
        self.inputs = [_tensor(entry) for entry in session.get_inputs()]
        self.outputs = [_tensor(entry) for entry in session.get_outputs()]

    def invoke(self) -> None:
        """One inference."""
        self._session.run_with_iobinding(self._binding)

    def set_inputs(self, arrays: dict[str, Array]) -> None:
        """Sets the inputs of the next invoke, in the artifact's own types."""
        for name, array in arrays.items():
            self._binding.bind_cpu_input(name, np.ascontiguousarray(array))
        # A run leaves its outputs bound, in the size of that run.
        self._binding.clear_binding_outputs()
        for tensor in self.outputs:
            self._binding.bind_output(tensor["name"], "cpu")

    def get_outputs(self) -> dict[str, Array]:
        """The outputs of the last invoke, in the artifact's own types."""
        names = [tensor["name"] for tensor in self.outputs]
        return dict(zip(names, self._binding.copy_outputs_to_cpu()))

    def forget(self) -> None:
        """Nothing is carried from one run to the next."""

    def predict(self, arrays: dict[str, Array], batch: Any = None) -> dict[str, Array]:
        """Outputs [n, …] for inputs [n, …], float in and float out."""
        return batching.predict(self, arrays, batch)

    def facts(self) -> dict[str, Any]:
        """What executed the graph; ONNX Runtime does not tell which node ran where."""
        return {
            "precision": None,
            "delegate": {
                "name": ", ".join(self._session.get_providers()),
                "nodes": None,
                "total_nodes": None,
            },
            "versions": environment.versions("onnxruntime"),
        }


def load(path: str, threads: int, options: dict[str, str]) -> Session:
    """Loads an `.onnx`; options are session configuration entries.

    Raises:
        RunnerError: The file is not valid, or needs operators that ONNX Runtime lacks.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except _FAILURES as error:
        raise RunnerError(
            "ONNX Runtime cannot load %s: %s" % (path, batching.brief(error)),
            "convert the model again, or check that the file is a complete .onnx",
        ) from None
    return Session(session)


def _tensor(entry: Any) -> Tensor:
    kind = entry.type
    return {
        "name": entry.name,
        "shape": [size if isinstance(size, int) else None for size in entry.shape],
        "dtype": _DTYPES.get(kind) or kind[len("tensor(") : -1],
        "scale": None,
        "zero_point": None,
    }
