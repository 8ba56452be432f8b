"""The data of TensorRT engines: where one was built, and what the builder chose."""

from __future__ import annotations

from msgspec import Struct


class EngineLayer(Struct, frozen=True, forbid_unknown_fields=True):
    """One layer of an engine, which may hold many of the model's.

    `precision` is that in which it takes its first input, `output` that in which it gives its first
    output; None where the inspector does not tell.
    """

    name: str
    kind: str | None = None
    precision: str | None = None
    output: str | None = None
    tactic: str | None = None


class EngineInfo(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An engine that was built, and what it depends on: it runs nowhere else.

    `precisions` counts layers by precision. `sparse_layers` are those of the model whose weights
    are 2:4 sparse, so that the builder might take sparse kernels. With a `dla_core`, `on_gpu` are
    the layers that the DLA did not take. `timing_cache` is the device's file of earlier timings.
    `options` are those that it is run with; the manifest's own are ONNX Runtime's, for the .onnx.
    `sqnr_db` is the signal-to-noise ratio of its outputs against the source's on the calibration
    samples, on the device; of the worst output.
    """

    file: str
    device: str
    tensorrt: str
    compute_capability: str
    gpu: str
    os: str
    arch: str
    driver: str | None
    cuda: str
    hardware_compatible: bool
    version_compatible: bool
    workspace_bytes: int | None
    sparse_layers: tuple[str, ...]
    dla_core: int | None
    on_gpu: tuple[str, ...]
    timing_cache: str | None
    precisions: dict[str, int]
    layers: tuple[EngineLayer, ...]
    options: dict[str, str]
    sqnr_db: float
    max_rel: float
