"""Executes TensorRT engines, version 10 or 11, on the device that they were built for.

An inference is what an application does with an engine: inputs from page-locked memory to the GPU,
the engine, outputs back. GPU time is taken apart from it, by CUDA's events, after latency was
measured.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorrt as trt

from . import batching, cuda, nvml, tensorrt_match
from .protocol import RunnerError
from .tensorrt_log import Log
from .tensors import Array, Tensor

GPU_RUNS = 200
"""Inferences whose GPU time is taken, within about GPU_S seconds; LEAST_GPU_RUNS at least."""
LEAST_GPU_RUNS = 11
GPU_S = 0.5

_OPTIONS = ("cuda_graph",)


class _Buffer(NamedTuple):
    """A tensor's memory on both sides; `array` lies upon the host's."""

    host: int
    device: int
    size_bytes: int
    array: Array


class Session:
    """An engine with its context and buffers. `invoke` is exactly what is timed."""

    failures = (RuntimeError,)

    def __init__(
        self, gpu: cuda.Gpu, engine: Any, log: Log, *, wants_graph: bool, free_bytes: int
    ) -> None:
        self._gpu, self._engine, self._log = gpu, engine, log
        self._watched = nvml.watch(gpu.bus_id)
        self._wants_graph = wants_graph
        self._free_bytes = free_bytes
        self._context = engine.create_execution_context()
        if self._context is None:
            raise _failed("has no room for this engine", log)
        self._stream = gpu.stream()
        self._buffers: dict[str, _Buffer] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._graph: Optional[int] = None
        self.inputs, self.outputs = _described(engine)
        self._before = self._watched.state()
        self._memory_bytes: Optional[int] = None

    def invoke(self) -> None:
        """One inference, and the wait for its outputs."""
        self._copy_in()
        self._compute()
        self._copy_out()
        self._gpu.wait(self._stream)

    def set_inputs(self, arrays: dict[str, Array]) -> None:
        """Sets the inputs of the next invoke, in the artifact's own types."""
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        if shapes != self._shapes:
            self._reshape(shapes)
        for name, array in arrays.items():
            self._buffers[name].array[...] = array

    def get_outputs(self) -> dict[str, Array]:
        """The outputs of the last invoke, in the artifact's own types."""
        return {one["name"]: self._buffers[one["name"]].array.copy() for one in self.outputs}

    def forget(self) -> None:
        """Nothing is carried from one run to the next."""

    def predict(self, arrays: dict[str, Array], batch: Any = None) -> dict[str, Array]:
        """Outputs [n, …] for inputs [n, …], float in and float out."""
        return batching.predict(self, arrays, batch)

    def gpu_figures(self) -> dict[str, Any]:
        """The GPU's state right after timing, then its own time for the parts of an inference."""
        after = self._watched.state()
        times = self._timed_parts()
        medians = [statistics.median(part) for part in zip(*times)]
        return {
            "h2d_median_s": medians[0],
            "compute_median_s": medians[1],
            "d2h_median_s": medians[2],
            "runs": len(times),
            "cuda_graph": self._graph is not None,
            "memory_bytes": self._memory_bytes,
            "clock_before_hz": self._before["clock_hz"],
            "clock_after_hz": after["clock_hz"],
            "memory_clock_hz": after["memory_clock_hz"],
            "power_w": after["power_w"],
            "temperature_c": after["temperature_c"],
            "throttle_reasons": after["throttle_reasons"],
        }

    def facts(self) -> dict[str, Any]:
        """What executes the engine."""
        layers = int(self._engine.num_layers)
        return {
            "precision": None,
            "delegate": {"name": "TensorRT", "nodes": layers, "total_nodes": layers},
            "versions": {"tensorrt": str(trt.__version__)},
            "gpu": {
                "name": self._gpu.name,
                "compute_capability": self._gpu.compute_capability,
                "driver": self._watched.driver(),
                "cuda": self._gpu.cuda_version,
            },
        }

    def _timed_parts(self) -> list[tuple[float, ...]]:
        marks = [self._gpu.event() for _ in range(4)]
        found: list[tuple[float, ...]] = []
        start = time.perf_counter()
        while len(found) < LEAST_GPU_RUNS or (
            len(found) < GPU_RUNS and time.perf_counter() - start < GPU_S
        ):
            self._gpu.record(marks[0], self._stream)
            for mark, part in zip(marks[1:], (self._copy_in, self._compute, self._copy_out)):
                part()
                self._gpu.record(mark, self._stream)
            self._gpu.wait(self._stream)
            found.append(tuple(self._gpu.elapsed_s(*pair) for pair in zip(marks, marks[1:])))
        return found

    def _copy_in(self) -> None:
        for one in self.inputs:
            buffer = self._buffers[one["name"]]
            self._gpu.copy_in(buffer.device, buffer.host, buffer.size_bytes, self._stream)

    def _copy_out(self) -> None:
        for one in self.outputs:
            buffer = self._buffers[one["name"]]
            self._gpu.copy_out(buffer.host, buffer.device, buffer.size_bytes, self._stream)

    def _compute(self) -> None:
        if self._graph is not None:
            self._gpu.launch(self._graph, self._stream)
        else:
            self._queue()

    def _queue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise RuntimeError("TensorRT did not run it: " + self._log.reason())

    def _reshape(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Memory for these shapes of inputs, and a graph that works on it where one is wanted."""
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise RuntimeError(self._log.reason())
        self._release()
        context = self._context
        for tensor in (*self.inputs, *self.outputs):
            name = tensor["name"]
            shape = tuple(context.get_tensor_shape(name))
            if any(size < 0 for size in shape):
                raise RuntimeError("the shape of '%s' depends on the data" % name)
            self._buffers[name] = self._buffer(shape, tensor["dtype"])
            context.set_tensor_address(name, self._buffers[name].device)
        self._shapes = shapes
        if self._wants_graph:
            self._capture()
        self._memory_bytes = self._memory_bytes or max(0, self._free_bytes - self._gpu.free_bytes())

    def _buffer(self, shape: tuple[int, ...], dtype: str) -> _Buffer:
        kind: Any = np.dtype(dtype)
        count = math.prod(shape)
        size_bytes = count * kind.itemsize
        host = self._gpu.allocate_host(size_bytes)
        place = (ctypes.c_ubyte * max(size_bytes, 1)).from_address(host)
        array = np.frombuffer(place, dtype=kind, count=count).reshape(shape)
        array[...] = 0
        return _Buffer(host, self._gpu.allocate(size_bytes), size_bytes, array)

    def _release(self) -> None:
        if self._graph is not None:
            self._gpu.forget(self._graph)
            self._graph = None
        for buffer in self._buffers.values():
            self._gpu.free(buffer.device)
            self._gpu.free_host(buffer.host)
        self._buffers = {}

    def _capture(self) -> None:
        """Writes the engine's work down as a graph; the first run in a shape must not be that."""
        self._queue()
        self._gpu.wait(self._stream)
        try:
            self._gpu.begin_capture(self._stream)
            self._queue()
            self._graph = self._gpu.end_capture(self._stream)
        except RuntimeError as error:
            raise RunnerError(
                "this engine cannot be captured as a CUDA graph: %s" % batching.brief(error),
                "measure it without: leave cuda_graph out of the profile's [tensorrt]",
            ) from None


def load(path: str, threads: int, options: dict[str, str], built: Any = None) -> Session:
    """Loads an engine.

    Args:
        path: The file.
        threads: Of no meaning to a GPU.
        options: `cuda_graph`: "on" launches the engine as one graph.
        built: What the manifest says of where it was built, which is held against this device
            before TensorRT sees the file.

    Raises:
        RunnerError: The engine is not for this device, or no engine; or there is no GPU here.
    """
    del threads
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise RunnerError(
            "TensorRT takes no runtime option %s" % ", ".join(unknown), "leave it out"
        )
    gpu = cuda.open_gpu()
    if built:
        tensorrt_match.check(built, tensorrt_match.here(gpu, trt.__version__))
    free_bytes = gpu.free_bytes()
    log = Log()
    with open(path, "rb") as file:
        content = file.read()
    engine = deserialized(content, log, trusted=bool(built and built["version_compatible"]))
    wants_graph = options.get("cuda_graph") == "on"
    return Session(gpu, engine, log, wants_graph=wants_graph, free_bytes=free_bytes)


def deserialized(content: Any, log: Log, *, trusted: bool) -> Any:
    """An engine, ready for contexts.

    Args:
        content: Its bytes.
        log: Where TensorRT says why not.
        trusted: Run the code that a version-compatible engine carries.

    Raises:
        RunnerError: TensorRT does not take it; its own reason is told.
    """
    try:
        runtime = trt.Runtime(log)
    except TypeError:  # the binding's word for: the library returned nothing
        raise _failed("does not start", log) from None
    if trusted:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise _failed("cannot load the engine", log)
    return engine


def _failed(what: str, log: Log) -> RunnerError:
    return RunnerError(
        "TensorRT %s: %s" % (what, log.reason()),
        "build it on this device: edgekit convert MODEL --target PROFILE --device URL",
    )


def _described(engine: Any) -> tuple[list[Tensor], list[Tensor]]:
    sides: dict[Any, list[Tensor]] = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
    for at in range(engine.num_io_tensors):
        name = engine.get_tensor_name(at)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise RunnerError(
                "'%s' is a shape that TensorRT reads on the CPU, which is not supported" % name,
                "export the model with fixed shapes",
            )
        sides[engine.get_tensor_mode(name)].append(_tensor(engine, name))
    return sides[trt.TensorIOMode.INPUT], sides[trt.TensorIOMode.OUTPUT]


def _tensor(engine: Any, name: str) -> Tensor:
    kind = engine.get_tensor_dtype(name)
    try:
        dtype = np.dtype(trt.nptype(kind)).name
    except TypeError:
        raise RunnerError(
            "'%s' has the type %s, which numpy lacks" % (name, kind),
            "convert the model with float32 or float16 inputs and outputs",
        ) from None
    shape = [None if size < 0 else int(size) for size in engine.get_tensor_shape(name)]
    if shape and shape[0] is None and engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        smallest = int(engine.get_tensor_profile_shape(name, 0)[0][0])
        shape[0] = smallest if smallest > 1 else None  # what takes no single sample has that batch
    return {"name": name, "shape": shape, "dtype": dtype, "scale": None, "zero_point": None}
