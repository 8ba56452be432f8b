"""Builds an engine of an .onnx: one way for TensorRT 10 and 11, strongly typed on both.

Precision stands in the .onnx. Flags that 11 removed are not used; what differs between versions is
asked for by name. What the builder timed is kept in the cache of this device for the next engine.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorrt as trt

from . import cuda, nvml, samples, tensorrt, tensorrt_layers, tensorrt_match, tensorrt_timing
from .protocol import Channel, RunnerError
from .tensorrt_log import Log

Wanted = dict[str, Any]
"""What a job asks for: `profile` ({input: [min, opt, max]}), `sparse`, `workspace_bytes`,
`dla_core`, `hardware_compatible`, `version_compatible` and `compute_capability`."""


class Built(NamedTuple):
    """A serialized engine, and what was decided on the way to it.

    `timing_cache` is None where the device had no place for it.
    """

    content: Any
    on_gpu: list[str]
    timing_cache: Optional[str]
    build_s: float


def run(job: dict[str, Any], channel: Channel) -> None:
    """The job `build`.

    Raises:
        RunnerError: There is no GPU, or another than the target's; or no engine comes of the model.
    """
    gpu = cuda.open_gpu()
    here = tensorrt_match.here(gpu, trt.__version__)
    require(job["wanted"], here)
    log = Log()
    place = tensorrt_timing.place(trt.__version__, gpu.compute_capability)
    built = build(job["artifact"], job["wanted"], log, place)
    samples.write_one(job["results"], 0, {"engine": np.frombuffer(built.content, dtype=np.uint8)})
    channel.send(
        {
            "frame": "built",
            **here,
            "driver": nvml.watch(gpu.bus_id).driver(),
            "cuda": gpu.cuda_version,
            "on_gpu": built.on_gpu,
            "timing_cache": built.timing_cache,
            "build_s": built.build_s,
            "layers": _layers(built, job["wanted"], log),
        }
    )


def require(wanted: Wanted, here: dict[str, Any]) -> None:
    """Refuses to build on another kind of GPU than the target's.

    Raises:
        RunnerError: The compute capabilities differ.
    """
    expected, found = wanted["compute_capability"], here["compute_capability"]
    if expected != found:
        raise RunnerError(
            "the target has compute capability %s, and this device %s (%s)"
            % (expected, found, here["gpu"]),
            "name a --target for this GPU, or a --device that the target describes",
            "device",
        )


def build(path: str, wanted: Wanted, log: Log, timing_place: str) -> Built:
    """Parses a model and builds its engine.

    Args:
        path: The .onnx.
        wanted: See `Wanted`.
        log: Where TensorRT says why not.
        timing_place: The file of what earlier builds timed, and this one.

    Raises:
        RunnerError: TensorRT refuses the model, an option, or to build.
    """
    start = time.perf_counter()
    builder = _builder(log)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    _parse(parser, path, log)
    config = builder.create_builder_config()
    _configure(config, wanted)
    profile = builder.create_optimization_profile()
    if _fill(profile, wanted):
        config.add_optimization_profile(profile)
    on_gpu = _use_dla(builder, network, config, wanted["dla_core"])
    tensorrt_timing.give(config, timing_place)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise RunnerError(
            "TensorRT builds no engine of this model: %s" % log.reason(),
            "look for the layer it names; where it lacks memory, give it a larger workspace_bytes"
            " in the profile's [tensorrt]",
        )
    kept = timing_place if tensorrt_timing.keep(config, timing_place) else None
    return Built(content, on_gpu, kept, time.perf_counter() - start)


def _builder(log: Log) -> Any:
    try:
        return trt.Builder(log)
    except TypeError:  # the binding's word for: the library returned nothing
        raise RunnerError(
            "TensorRT does not start on this device: %s" % log.reason(),
            "see that its libraries have the version of its Python bindings",
            "device",
        ) from None


def _parse(parser: Any, path: str, log: Log) -> None:
    with open(path, "rb") as file:
        content = file.read()
    if parser.parse(content):
        return
    count = parser.num_errors
    if not count:
        raise RunnerError("TensorRT's parser refuses the model: %s" % log.reason(), _LINT)
    error = parser.get_error(0)
    where = " ".join(filter(None, (error.node_operator(), error.node_name())))
    more = " (and %d more)" % (count - 1) if count > 1 else ""
    raise RunnerError(
        "TensorRT's parser refuses %s: %s%s" % (where or "the model", error.desc(), more), _LINT
    )


_LINT = "edgekit inspect the .onnx with this --target: its linter may say more"


def _configure(config: Any, wanted: Wanted) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if wanted["workspace_bytes"]:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, wanted["workspace_bytes"])
    if wanted["sparse"]:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if wanted["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if wanted["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _fill(profile: Any, wanted: Wanted) -> bool:
    """Sets the shapes between which inputs may vary; False where none does."""
    for name, shapes in wanted["profile"].items():
        profile.set_shape(name, *(tuple(shape) for shape in shapes))
    return bool(wanted["profile"])


def _use_dla(builder: Any, network: Any, config: Any, core: Optional[int]) -> list[str]:
    """Sends what can run there to a DLA core, and names the layers that stay on the GPU."""
    if core is None:
        return []
    if core >= builder.num_DLA_cores:
        raise RunnerError(
            "dla_core is %d, and this device has %d DLA cores" % (core, builder.num_DLA_cores),
            "take dla_core out of the profile's [tensorrt], or choose another device",
            "device",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    left = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
    if len(left) == len(layers):
        raise RunnerError(
            "the DLA takes none of the %d layers of this model" % len(layers),
            "use --precision fp16, or take dla_core out of the profile's [tensorrt]",
        )
    return left


def _layers(built: Built, wanted: Wanted, log: Log) -> list[dict[str, Any]]:
    """What the builder chose, as the engine itself tells."""
    engine = tensorrt.deserialized(built.content, log, trusted=wanted["version_compatible"])
    inspector = engine.create_engine_inspector()
    return tensorrt_layers.read(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
