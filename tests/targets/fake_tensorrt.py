"""A stand-in for TensorRT's Python bindings, for the control flow that no machine here can run.

It has no name that the recorded surface of a version lacks, so that it hides no removed one: which
version, FAKE_TENSORRT_VERSION says, and where the surfaces are, FAKE_TENSORRT_SURFACE. An "engine"
is JSON and the .onnx itself, which ONNX Runtime computes in the place of a GPU, on the memory and
in the stream of `stub_cuda.c`. It shows nothing of how TensorRT behaves.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
from pathlib import Path

import numpy as np
import onnxruntime

_SURFACE = next(
    one
    for one in json.loads(Path(os.environ["FAKE_TENSORRT_SURFACE"]).read_text())
    if one["version"] == os.environ["FAKE_TENSORRT_VERSION"]
)
_CLASSES = {name: set(text.split()) for name, text in _SURFACE["classes"].items()}
_MARK = b"\nmodel\n"
_DLA_CORES = int(os.environ.get("FAKE_TENSORRT_DLA_CORES", "0"))
__version__ = _SURFACE["version"]

_WORK = ctypes.CFUNCTYPE(None)


def _real(kind):
    """Refuses a class or a member that the recorded surface has not."""
    offered = _CLASSES[kind.__name__]
    invented = {name for name in vars(kind) if not name.startswith("_")} - offered
    assert not invented, f"TensorRT {__version__} has no {kind.__name__}.{sorted(invented)}"

    def keep(self, name, value):
        if type(self) is kind and not name.startswith("_") and name not in offered:
            raise AttributeError(f"'{kind.__name__}' object has no attribute '{name}'")
        object.__setattr__(self, name, value)

    kind.__setattr__ = keep
    return kind


def _choices(name):
    """An enumeration with the members that the surface has."""
    members = [one for one in _SURFACE["classes"][name].split() if one.isupper()]
    return enum.IntEnum(name, {one: at for at, one in enumerate(members)})


BuilderFlag = _choices("BuilderFlag")
DeviceType = _choices("DeviceType")
HardwareCompatibilityLevel = _choices("HardwareCompatibilityLevel")
LayerInformationFormat = _choices("LayerInformationFormat")
MemoryPoolType = _choices("MemoryPoolType")
NetworkDefinitionCreationFlag = _choices("NetworkDefinitionCreationFlag")
ProfilingVerbosity = _choices("ProfilingVerbosity")
TensorIOMode = _choices("TensorIOMode")
TensorLocation = _choices("TensorLocation")


def nptype(kind):
    return np.dtype(kind).type


@_real
class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, msg):
        raise NotImplementedError


@_real
class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


@_real
class INetworkDefinition:
    def __init__(self, flags):
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._model = b""
        self._layers = []

    @property
    def num_layers(self):
        return len(self._layers)

    def get_layer(self, index):
        return self._layers[index]


@_real
class ILayer:
    def __init__(self, name):
        self.name = name


@_real
class ParserError:
    def __init__(self, said):
        self._said = said

    def node_operator(self):
        return "Gemm"

    def node_name(self):
        return "dense"

    def desc(self):
        return self._said


@_real
class OnnxParser:
    def __init__(self, network, logger):
        assert isinstance(logger, ILogger)
        self._network = network
        self._errors = []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model):
        if os.environ.get("FAKE_TENSORRT_REFUSES"):
            self._errors = [ParserError("it is refused"), ParserError("another")]
            return False
        self._network._model = model
        names = os.environ.get("FAKE_TENSORRT_LAYERS", "dense").split()
        self._network._layers = [ILayer(name) for name in names]
        return True


@_real
class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, *shapes):
        assert len(shapes) == 3
        self._shapes[name] = shapes


@_real
class ITimingCache:
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content)


@_real
class IBuilderConfig:
    profiling_verbosity = None
    hardware_compatibility_level = None
    default_device_type = None
    DLA_core = None

    def __init__(self):
        self._flags, self._pools, self._profiles, self._cache = [], {}, [], None

    def set_flag(self, flag):
        self._flags.append(flag.name)

    def set_memory_pool_limit(self, pool, size):
        self._pools[pool.name] = size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile._shapes)

    def can_run_on_DLA(self, layer):  # noqa: N802 TensorRT's own
        return layer.name.startswith("conv")

    def create_timing_cache(self, content):
        return ITimingCache(bytes(content))

    def set_timing_cache(self, cache, ignore_mismatch):
        self._cache = cache
        assert ignore_mismatch is False
        return not cache._content.startswith(b"foreign")

    def get_timing_cache(self):
        return ITimingCache(self._cache._content + b"timed ")


@_real
class Builder:
    num_DLA_cores = _DLA_CORES  # noqa: N815 TensorRT's own

    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        if os.environ.get("FAKE_TENSORRT_BUILDS_NOTHING"):
            self._logger.log(ILogger.ERROR, "Could not find any implementation\nfor node dense.")
            return None
        level = config.hardware_compatibility_level
        settings = {
            "version": __version__,
            "flags": config._flags,
            "pools": config._pools,
            "profiles": config._profiles,
            "level": level.name if level is not None else None,
            "core": config.DLA_core,
            "verbosity": config.profiling_verbosity.name,
        }
        return IHostMemory(json.dumps(settings).encode() + _MARK + network._model)


@_real
class EngineInspector:
    def __init__(self, settings):
        self._settings = settings

    def get_engine_information(self, format):  # noqa: A002 TensorRT's own
        assert format is LayerInformationFormat.JSON
        assert self._settings["verbosity"] == "DETAILED"
        tensor = {"Name": "in", "Format/Datatype": "Row major linear FP32"}
        layer = {
            "Name": "dense", "LayerType": "gemm", "Inputs": [tensor], "Outputs": [tensor],
            "TacticName": json.dumps(self._settings, sort_keys=True),
        }  # fmt: skip
        return json.dumps({"Layers": [layer], "Bindings": ["in", "out"]})


@_real
class ICudaEngine:
    num_layers = 1

    def __init__(self, settings, model):
        self._settings = settings
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._entries = {
            **{one.name: (one, TensorIOMode.INPUT) for one in self._session.get_inputs()},
            **{one.name: (one, TensorIOMode.OUTPUT) for one in self._session.get_outputs()},
        }

    @property
    def num_io_tensors(self):
        return len(self._entries)

    def get_tensor_name(self, index):
        return list(self._entries)[index]

    def get_tensor_mode(self, name):
        return self._entries[name][1]

    def get_tensor_location(self, name):
        assert name in self._entries
        return TensorLocation.DEVICE

    def get_tensor_dtype(self, name):
        return {"tensor(float)": "float32", "tensor(float16)": "float16"}[
            self._entries[name][0].type
        ]

    def get_tensor_shape(self, name):
        shape = self._entries[name][0].shape
        return [size if isinstance(size, int) else -1 for size in shape]

    def get_tensor_profile_shape(self, name, profile_index):
        return self._settings["profiles"][profile_index][name]

    def create_engine_inspector(self):
        return EngineInspector(self._settings)

    def create_execution_context(self):
        return IExecutionContext(self)


@_real
class IExecutionContext:
    def __init__(self, engine):
        self._engine = engine
        self._addresses, self._batch, self._work = {}, None, None

    def set_input_shape(self, name, shape):
        if -1 not in self._engine.get_tensor_shape(name):
            return tuple(self._engine.get_tensor_shape(name)) == tuple(shape)
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        self._batch = shape[0]
        return low[0] <= shape[0] <= high[0]

    def get_tensor_shape(self, name):
        shape = self._engine.get_tensor_shape(name)
        return [self._batch if size < 0 else size for size in shape]

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        self._work = _WORK(self._compute)  # kept, since a graph may call it later
        ctypes.CDLL("libcuda.so.1").stub_queue(ctypes.c_void_p(stream_handle), self._work)
        return True

    def _compute(self):
        session = self._engine._session
        given = {one.name: self._array(one.name).copy() for one in session.get_inputs()}
        for one, value in zip(session.get_outputs(), session.run(None, given), strict=True):
            self._array(one.name)[...] = value

    def _array(self, name):
        kind = np.dtype(self._engine.get_tensor_dtype(name))
        shape = self.get_tensor_shape(name)
        size = int(np.prod(shape)) * kind.itemsize
        place = (ctypes.c_ubyte * size).from_address(self._addresses[name])
        return np.frombuffer(place, kind).reshape(shape)


@_real
class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger):
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        content = bytes(serialized_engine)
        head, found, model = content.partition(_MARK)
        if not found or json.loads(head)["version"] != __version__:
            self._logger.log(ILogger.ERROR, "Serialization assertion failed: Version tag")
            return None
        settings = json.loads(head)
        if "VERSION_COMPATIBLE" in settings["flags"] and not self.engine_host_code_allowed:
            self._logger.log(ILogger.ERROR, "host code is not allowed")
            return None
        return ICudaEngine(settings, model)
