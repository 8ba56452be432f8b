"""The job `profile`: time per operator, where the runtime's Python binding tells it."""

from __future__ import annotations

from typing import Any

from . import inputs, loading
from .protocol import Channel

WARM_UP_RUNS = 10
RUNS = 50


def run(job: dict[str, Any], channel: Channel) -> None:
    """Sends the frame `operators`; its list is None where the runtime tells nothing.

    Raises:
        RunnerError: The artifact cannot be loaded or run.
    """
    module = loading.runtime(job["runtime"])
    options = getattr(module, "PROFILE_OPTIONS", None)
    if options is None:
        channel.send({"frame": "operators", "operators": None})
        return
    profiled = {**job, "options": {**job.get("options", {}), **options}}
    session = loading.session(module, profiled)
    inputs.Source(job).fill(session)
    session.operators(WARM_UP_RUNS)
    channel.send({"frame": "operators", "operators": session.operators(RUNS)})
