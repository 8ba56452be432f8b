"""Has a TensorRT engine built on a device, and holds what it computes there against the source."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgekit import chunks, engine_plan, parity, registry
from edgekit.conversion_work import Made
from edgekit.engine_types import EngineInfo
from edgekit.errors import DeviceError
from edgekit.targets import Device, Frame

SILENCE_S = 7200.0
"""A builder says nothing while it times kernels, and a Jetson takes its time over a large model."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in the staging directory, what it is, and what a reader has to know of it."""

    path: Path
    info: EngineInfo
    warnings: tuple[str, ...]
    build_s: float


@contextlib.contextmanager
def opened(url: str) -> Iterator[Device]:
    """A device that can hold a GPU.

    Raises:
        DeviceError: It is not there, or is an emulator.
    """
    with contextlib.ExitStack() as stack:
        device: Device = registry.target(url.partition("://")[0]).open(url)
        if isinstance(device, contextlib.AbstractContextManager):
            stack.enter_context(device)
        if device.untimed:
            raise DeviceError(
                f"{url} has no GPU: {device.untimed}", "name a device that has one (ssh://…)"
            )
        if device.is_this_machine:
            registry.require(registry.RUNTIMES[engine_plan.RUNTIME], "building an engine here")
        yield device


def check(url: str) -> None:
    """Finds out whether a device can be asked for an engine, before a model is converted for it.

    Raises:
        DeviceError: It cannot be reached, is an emulator, or has no TensorRT for its Python.
        MissingExtra: It is this machine, and TensorRT is not installed.
    """
    with opened(url) as device:
        device.run({"kind": "probe", "runtime": engine_plan.RUNTIME}, lambda _frame: None)


def build(
    device: Device,
    onnx: Made,
    asked: dict[str, Any],
    options: dict[str, str],
    sparse: tuple[str, ...],
) -> Engine:
    """Builds an engine on a device, fetches it, and runs the calibration samples through it there.

    Args:
        device: Opened.
        onnx: The checked .onnx, in the staging directory.
        asked: From `engine_plan.wanted`.
        options: How the engine is to be run.
        sparse: The layers whose weights are 2:4 sparse.

    Raises:
        ModelError: TensorRT refuses the model.
        DeviceError: The device lacks TensorRT or the target's GPU, or failed.
        ParityError: The engine does not compute what the source does.
    """
    model = onnx.files[0]
    path = model.with_suffix(engine_plan.SUFFIX)
    told = _built(device, model, asked, path)
    matched = {key: {**asked, **told}[key] for key in engine_plan.MATCHED}
    computed = _computed(device, onnx, path, matched, options)
    precision = onnx.outcome.built.choice.precision
    sampled = onnx.prepared.sampled
    expected = chunks.read_all(sampled.calibration_outputs)
    measured = parity.measure(expected, computed, precision, real_data=sampled.real_data)
    warnings = (*parity.judge(measured, precision), *_elsewhere(told))
    seen = {
        "file": path.name,
        "device": device.url,
        "sparse_layers": sparse,
        "options": options,
        "sqnr_db": measured.sqnr_db,
        "max_rel": measured.max_rel,
    }
    return Engine(path, _info(told, asked, seen), warnings, told["build_s"])


def _built(device: Device, model: Path, asked: dict[str, Any], path: Path) -> Frame:
    results = path.parent / "engine"
    frames: dict[str, Frame] = {}
    job = {
        "kind": "build",
        "runtime": engine_plan.RUNTIME,
        "artifact": str(model),
        "siblings": [],
        "results": str(results),
        "wanted": asked,
    }
    device.run(job, lambda frame: frames.update({frame["frame"]: frame}), silence_s=SILENCE_S)
    path.write_bytes(chunks.read_all(results)["engine"].tobytes())
    return frames["built"]


def _computed(
    device: Device, onnx: Made, path: Path, built: Frame, options: dict[str, str]
) -> chunks.Arrays:
    """The outputs for the calibration samples."""
    results = path.parent / "engine-outputs"
    made = onnx.outcome.built
    job = {
        "kind": "predict",
        "runtime": engine_plan.RUNTIME,
        "artifact": str(path),
        "siblings": [],
        "threads": 1,
        "options": options,
        "inputs": msgspec.to_builtins(made.inputs),
        "outputs": msgspec.to_builtins(made.outputs),
        "built": built,
        "samples": str(onnx.prepared.sampled.calibration),
        "results": str(results),
    }
    device.run(job, lambda _frame: None)
    return chunks.read_all(results)


def _elsewhere(told: Frame) -> Iterator[str]:
    if told["on_gpu"]:
        count = len(told["on_gpu"])
        shown = ", ".join(told["on_gpu"][:5]) + ", …" * (count > 5)
        yield f"the DLA does not take {count} layers, which run on the GPU: {shown}"


def _info(told: Frame, asked: dict[str, Any], seen: dict[str, Any]) -> EngineInfo:
    """What the device told of the engine, what it was asked for, and what was seen here."""
    named = [layer["precision"] or "not told" for layer in told["layers"]]
    counts = {name: named.count(name) for name in sorted(set(named))}
    known = {**told, **asked, **seen, "precisions": counts}
    return msgspec.convert({key: known[key] for key in EngineInfo.__struct_fields__}, EngineInfo)
