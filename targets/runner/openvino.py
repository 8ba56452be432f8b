"""Executes OpenVINO IR."""

from __future__ import annotations

import statistics
import sys
from typing import Any

# openvino's tools look for this package to send usage data; without it they have a silent stub.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import openvino  # noqa: E402

from . import batching, environment  # noqa: E402
from .protocol import RunnerError  # noqa: E402
from .tensors import Array, Tensor  # noqa: E402

PROFILE_OPTIONS = {"PERF_COUNT": "YES"}
"""What `profiling` adds; never set while latency is measured."""

_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8"}
_NOT_COMPUTED = ("Const", "Input", "Output")


class Session:
    """A compiled model with one infer request.

    `invoke` is exactly what is timed, and `elapsed_ns` the runtime's own clock for it: the same
    figure that benchmark_app reports, without the Python binding's dictionary of outputs.
    """

    failures = (RuntimeError,)

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        # The binding's own infer, below the Python one that wraps each output.
        self._infer = super(openvino.InferRequest, self._request).infer  # type: ignore[misc]
        self._static = [not port.partial_shape.is_dynamic for port in compiled.inputs]
        self.inputs = [_tensor(port) for port in compiled.inputs]
        self.outputs = [_tensor(port) for port in compiled.outputs]
        self._position = {tensor["name"]: at for at, tensor in enumerate(self.inputs)}

    def invoke(self) -> None:
        """One inference on this thread."""
        self._infer({}, share_outputs=True, decode_strings=False)

    def elapsed_ns(self) -> int:
        """How long the last inference took, by the runtime's clock."""
        return int(self._request.latency * 1e6)

    def set_inputs(self, arrays: dict[str, Array]) -> None:
        """Sets the inputs of the next invoke, in the artifact's own types."""
        for name, array in arrays.items():
            at = self._position[name]
            if self._static[at]:
                self._request.get_input_tensor(at).data[...] = array
            else:
                self._request.set_input_tensor(at, openvino.Tensor(np.ascontiguousarray(array)))

    def get_outputs(self) -> dict[str, Array]:
        """The outputs of the last invoke, in the artifact's own types."""
        return {
            tensor["name"]: np.array(self._request.get_output_tensor(at).data)
            for at, tensor in enumerate(self.outputs)
        }

    def forget(self) -> None:
        """Clears what recurrent layers carry from one invoke to the next."""
        self._request.reset_state()

    def predict(self, arrays: dict[str, Array], batch: Any = None) -> dict[str, Array]:
        """Outputs [n, …] for inputs [n, …], float in and float out."""
        return batching.predict(self, arrays, batch)

    def facts(self) -> dict[str, Any]:
        """What executed the graph, and in which precision."""
        nodes = _executed(self._compiled)
        hint = self._compiled.get_property("INFERENCE_PRECISION_HINT")
        device = ", ".join(self._compiled.get_property("EXECUTION_DEVICES"))
        return {
            "precision": _most_frequent([_info(node, "runtimePrecision") for node in nodes]),
            "precision_hint": hint.get_type_name(),
            "streams": self._compiled.get_property("NUM_STREAMS"),
            "delegate": {"name": device, "nodes": len(nodes), "total_nodes": len(nodes)},
            "versions": environment.versions("openvino"),
        }

    def operators(self, runs: int) -> list[dict[str, Any]]:
        """Median time of each node over some runs; needs PERF_COUNT."""
        seen: dict[str, list[float]] = {}
        described: dict[str, Any] = {}
        for _ in range(runs):
            batching.invoke(self)
            for node in self._request.profiling_info:
                if node.status == openvino.ProfilingInfo.Status.EXECUTED:
                    seen.setdefault(node.node_name, []).append(node.real_time.total_seconds())
                    described[node.node_name] = node
        return [
            {
                "name": name,
                "kind": described[name].node_type,
                "implementation": described[name].exec_type,
                "median_s": statistics.median(times),
            }
            for name, times in seen.items()
        ]


def load(path: str, threads: int, options: dict[str, str]) -> Session:
    """Loads IR and compiles it for one stream.

    Args:
        path: The `.xml`; its `.bin` stands beside it.
        threads: Threads of the one stream.
        options: OpenVINO properties, and `device` for a plugin other than CPU.

    Raises:
        RunnerError: The file is not valid, or an option is unknown.
    """
    properties: dict[str, Any] = {"NUM_STREAMS": 1, **options}
    device = properties.pop("device", "CPU")
    if device.startswith("CPU"):
        properties["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(path, device, properties)
    except RuntimeError as error:
        raise RunnerError(
            "OpenVINO cannot load %s: %s" % (path, batching.brief(error)),
            "convert the model again, or check that the .xml and its .bin are complete",
        ) from None
    return Session(compiled)


def _tensor(port: Any) -> Tensor:
    names = sorted(port.get_names())
    shape = port.partial_shape
    return {
        "name": names[0] if names else port.node.friendly_name,
        "shape": [None if size.is_dynamic else size.get_length() for size in shape],
        "dtype": np.dtype(port.element_type.to_dtype()).name,
        "scale": None,
        "zero_point": None,
    }


def _executed(compiled: Any) -> list[Any]:
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return [node for node in nodes if _info(node, "layerType") not in _NOT_COMPUTED]


def _info(node: Any, key: str) -> str:
    value = node.get_rt_info()[key]
    return str(value if isinstance(value, str) else value.astype(str))


def _most_frequent(names: list[str]) -> str:
    ordered = sorted(set(names), key=lambda name: (-names.count(name), name))
    return ", ".join(_DTYPES.get(name, name) for name in ordered)
