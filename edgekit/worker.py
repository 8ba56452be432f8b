"""The child's side of `edgekit.workers`: `python -m edgekit.worker MODULE:CLASS IN OUT`."""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any

from edgekit.errors import EdgekitError, is_refusal, to_wire

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def disable_telemetry() -> None:
    """Makes openvino_telemetry unimportable here; openvino and nncf then use their stubs."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def serve(reference: str, requests: int, answers: int) -> None:
    """Answers requests, one JSON line each, until the parent closes its end."""
    module, _, name = reference.partition(":")
    served: Any = None
    with os.fdopen(requests, "rb") as reader, os.fdopen(answers, "wb") as writer:
        for line in reader:
            request = json.loads(line)
            try:
                if served is None:
                    served = getattr(importlib.import_module(module), name)()
                value = getattr(served, request["method"])(**request["arguments"])
                answer = json.dumps({"value": value})
            except EdgekitError as error:
                answer = json.dumps({"error": to_wire(error)})
            except BaseException as error:  # whatever it is, the parent has to hear of it
                answer = json.dumps(_unexpected(error))
            writer.write(answer.encode() + b"\n")
            writer.flush()


def _unexpected(error: BaseException) -> dict[str, Any]:
    if isinstance(error, OSError) and is_refusal(error):
        return {"refusal": [error.errno, error.strerror, error.filename]}
    return {"bug": traceback.format_exc()}


if __name__ == "__main__":
    faulthandler.enable(all_threads=False)  # a crash writes where it happened into the log
    die_with_parent()
    disable_telemetry()
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
