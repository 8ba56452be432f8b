"""`python -m …runner`: reads one job, does it, and ends with {"done": true}."""

from __future__ import annotations

import errno
import importlib
import os
import traceback
from typing import Any, Optional

from . import protocol

_MODULES = {
    "probe": ".environment",
    "describe": ".describing",
    "measure": ".measuring",
    "profile": ".profiling",
    "predict": ".predicting",
    "build": ".building",
}
"""What a job can be. Imported when asked for: `measuring` times the import of numpy, too."""


def main() -> None:
    """Runs the job that stands on standard input."""
    protocol.die_with_parent()
    job = protocol.read_job()
    channel = protocol.Channel(job["token"])
    protocol.end_with_client()
    try:
        _run(job, channel)
    except protocol.RunnerError as error:
        body = {"message": error.message, "fix": error.fix, "about": error.about}
        channel.send({"error": body})
    except OSError as error:
        channel.send(_refusal(error) or {"bug": traceback.format_exc()})
    except Exception:  # whatever it is, the client has to hear of it
        channel.send({"bug": traceback.format_exc()})
    channel.send({"done": True})
    os._exit(0)  # runtimes have been seen to crash in their destructors


def _run(job: dict[str, Any], channel: protocol.Channel) -> None:
    importlib.import_module(_MODULES[job["kind"]], __package__).run(job, channel)


def _refusal(error: OSError) -> Optional[dict[str, Any]]:
    """What the device refused for want of space; None for anything else, which is a bug."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    message = "no space is left for the outputs on the device: " + str(error.strerror)
    return {"error": {"message": message, "fix": "free some space there", "about": "device"}}


if __name__ == "__main__":
    main()
