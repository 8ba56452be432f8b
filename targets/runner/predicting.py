"""The job `predict`: runs a directory of samples through the artifact, float in and float out."""

from __future__ import annotations

import os
from typing import Any

from . import loading, samples
from .protocol import Channel


def run(job: dict[str, Any], channel: Channel) -> None:
    """Writes one file of outputs for each file of samples, under the same number.

    Raises:
        RunnerError: The artifact cannot be loaded or run, or the samples do not fit it.
    """
    session = loading.session(loading.runtime(job["runtime"]), job)
    channel.send({"frame": "loaded", "inputs": session.inputs, "outputs": session.outputs})
    os.makedirs(job["results"], exist_ok=True)
    for number, path in enumerate(samples.paths(job["samples"])):
        outputs = session.predict(samples.read_one(path), job.get("batch"))
        samples.write_one(job["results"], number, outputs)
        channel.send({"frame": "predicted", "files": number + 1})
