"""The job `describe`: loads the artifact and tells its inputs and outputs, without running it."""

from __future__ import annotations

from typing import Any

from . import loading
from .protocol import Channel


def run(job: dict[str, Any], channel: Channel) -> None:
    """Sends the frame `loaded`.

    Raises:
        RunnerError: The artifact cannot be loaded.
    """
    session = loading.session(loading.runtime(job["runtime"]), job)
    channel.send({"frame": "loaded", "inputs": session.inputs, "outputs": session.outputs})
