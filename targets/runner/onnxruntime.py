"""Executes `.onnx` files with ONNX Runtime, on the CPU unless another provider is asked for."""

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

_CPU = "CPUExecutionProvider"
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"

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
        """What executed the graph, and which provider took how many of its nodes.

        Nodes are counted before they are fused; versions before 1.24 do not tell them.
        """
        counted = _assigned(self._session)
        provider = self._session.get_providers()[0]
        return {
            "precision": None,
            "delegate": {
                "name": provider,
                "nodes": counted.get(provider, 0) if counted else None,
                "total_nodes": sum(counted.values()) if counted else None,
            },
            "assignment": counted or None,
            "versions": environment.versions("onnxruntime"),
        }


def load(path: str, threads: int, options: dict[str, str]) -> Session:
    """Loads an `.onnx`.

    Args:
        path: The file.
        threads: Threads of one operator.
        options: Session configuration entries; and `provider`, one of ONNX Runtime's execution
            providers, whose place nothing but the CPU takes, node by node.

    Raises:
        RunnerError: The file is not valid, needs operators that ONNX Runtime lacks, or the provider
            is not there.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    entries = {_RECORD_ASSIGNMENT: "1"}
    entries.update(options)
    providers = _providers(entries.pop("provider", _CPU))
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=providers)
    except _FAILURES as error:
        raise RunnerError(
            "ONNX Runtime cannot load %s: %s" % (path, batching.brief(error)),
            "convert the model again, or check that the file is a complete .onnx",
        ) from None
    if session.get_providers()[0] != providers[0]:  # it falls back to the CPU without an error
        raise _no_provider(providers[0], "did not start")
    return Session(session)


def _providers(wanted: str) -> list[str]:
    if wanted not in onnxruntime.get_available_providers():
        raise _no_provider(wanted, "is not part of this onnxruntime")
    return [wanted] if wanted == _CPU else [wanted, _CPU]


def _no_provider(name: str, why: str) -> RunnerError:
    return RunnerError(
        "the execution provider %s %s; there are %s"
        % (name, why, ", ".join(onnxruntime.get_available_providers())),
        "install the onnxruntime package that has it (onnxruntime-gpu), or leave it out",
    )


def _assigned(session: Any) -> dict[str, int]:
    """How many nodes each provider took."""
    counted: dict[str, int] = {}
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    for subgraph in tell() if tell else ():
        counted[subgraph.ep_name] = counted.get(subgraph.ep_name, 0) + len(subgraph.get_nodes())
    return counted


def _tensor(entry: Any) -> Tensor:
    kind = entry.type
    return {
        "name": entry.name,
        "shape": [size if isinstance(size, int) else None for size in entry.shape],
        "dtype": _DTYPES.get(kind) or kind[len("tensor(") : -1],
        "scale": None,
        "zero_point": None,
    }
