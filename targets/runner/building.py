"""The job `build`: makes an engine of an .onnx on the device that is to run it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from . import loading
from .protocol import Channel


def run(job: dict[str, Any], channel: Channel) -> None:
    """Sends the frame `built`; the engine's bytes stand among the results, as outputs do.

    Raises:
        RunnerError: The device lacks TensorRT or a GPU, or TensorRT refuses the model.
    """
    loading.runtime(job["runtime"])
    os.makedirs(job["results"], exist_ok=True)
    importlib.import_module("." + job["runtime"] + "_build", __package__).run(job, channel)
