"""Finds the module of a runtime and loads the job's artifact with it."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from .protocol import RunnerError

RUNTIMES = ("litert", "openvino", "onnxruntime", "tensorrt")


def runtime(name: str) -> ModuleType:
    """Imports the module of a runtime, and with it the runtime.

    Raises:
        RunnerError: There is none of this name, or it is not installed on this device.
    """
    if name not in RUNTIMES:
        raise RunnerError(
            "the runner has no runtime '%s'; it has %s" % (name, ", ".join(RUNTIMES)),
            "choose an artifact for one of these",
            "device",
        )
    try:
        return importlib.import_module("." + name, __package__)
    except ImportError as error:
        raise RunnerError(
            "the runtime %s cannot be imported on this device: %s" % (name, error),
            "install it there",
            "device",
        ) from None


def session(module: ModuleType, job: dict[str, Any]) -> Any:
    """The job's artifact, loaded, with what its manifest knows of its inputs and outputs."""
    from . import tensors  # noqa: PLC0415 brings numpy, whose import `measuring` times

    more = {"built": job["built"]} if "built" in job else {}
    loaded = module.load(job["artifact"], job["threads"], dict(job.get("options", {})), **more)
    tensors.adopt(loaded.inputs, job.get("inputs", []))
    tensors.adopt(loaded.outputs, job.get("outputs", []))
    return loaded
