"""The job `describe`: loads the artifact and tells what it is and would run as, untimed."""

from __future__ import annotations

from typing import Any

from . import environment, loading
from .protocol import Channel


def run(job: dict[str, Any], channel: Channel) -> None:
    """Sends the frames `environment`, `loaded` and `facts`.

    Raises:
        RunnerError: The artifact cannot be loaded.
    """
    module = loading.runtime(job["runtime"])
    channel.send({"frame": "environment", **environment.describe()})
    session = loading.session(module, job)
    channel.send({"frame": "loaded", "inputs": session.inputs, "outputs": session.outputs})
    channel.send({"frame": "facts", **session.facts()})
