"""This machine as a device: the runner as a child process."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from edgekit.errors import DeviceError, UsageError
from edgekit.targets import Frame, OnFrame, conversation

SILENCE_S = 600.0
"""Loading and the first inference send nothing while they run, and may take minutes."""

_COMMAND = (sys.executable, "-P", "-m", "edgekit.targets.runner")
"""-P: a file in the user's directory must not be imported in place of a library."""


class Local:
    """Runs each job in a fresh child process."""

    url = "local"
    is_this_machine = True
    untimed = None
    unjudged = None

    def probe(self) -> Frame:
        """The machine and its state, as the runner describes them."""
        found: list[Frame] = []
        self.run({"kind": "probe"}, found.append)
        return found[0]

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`."""
        what = Path(job["artifact"]).name if "artifact" in job else "the runner"
        conversation.hold(
            _COMMAND,
            job,
            on_frame,
            what=what,
            silence_s=silence_s,
            death=lambda code, said: _death(code, said, what),
        )


def open(url: str) -> Local:  # noqa: A001 every target has it
    """Opens this machine.

    Raises:
        UsageError: The URL says more than `local`.
    """
    if url not in ("local", "local://"):
        raise UsageError(f"device '{url}': local takes nothing after it", "type --device local")
    return Local()


def _death(code: int, said: str, what: str) -> DeviceError:
    fix = (
        "give the machine more memory"
        if code == -signal.SIGKILL
        else "check that the file is complete; convert the model again"
    )
    return DeviceError(f"{what} crashed the runner {conversation.ended(code, said)}", fix)
