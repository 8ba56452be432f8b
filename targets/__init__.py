"""Where artifacts run. One module per kind of device; the registry finds it by the URL's scheme.

A module has `open(url) -> Device`, and `set_up(url, runtime, say, *, look_only) -> Frame` where
such a device needs something first: it does that or only looks, and returns commands and packages.
A job is plain JSON (see `runner/`); `artifact`, `siblings`, `samples` and `results` in it are paths
on this machine, which a remote device carries across.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edgekit.errors import DataError, DeviceError, ModelError, UserError

Frame = dict[str, Any]
OnFrame = Callable[[Frame], None]

_BLAMED: dict[str, type[UserError]] = {
    "artifact": ModelError, "data": DataError, "device": DeviceError,
}  # fmt: skip


def runner_error(about: str, message: str, fix: str) -> UserError:
    """The runner's own error (`runner.protocol.RunnerError`) as one of edgekit's."""
    return _BLAMED[about](message, fix)


class Device(Protocol):
    """A place where the runner can be started."""

    @property
    def url(self) -> str:
        """How the user named it."""
        ...

    @property
    def is_this_machine(self) -> bool:
        """Whether what is measured there is measured here."""
        ...

    @property
    def untimed(self) -> str | None:
        """Why times and memory there mean nothing (an emulator); None where they are measured."""
        ...

    @property
    def unjudged(self) -> str | None:
        """Why no outputs come from there, and so no accuracy; None where they do."""
        ...

    def probe(self) -> Frame:
        """The machine and its state, as the runner describes them."""
        ...

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = ...) -> None:
        """Starts a fresh runner, gives it one job, and hands over each frame as it comes.

        However this ends, no process is left on the device.

        Args:
            job: What to do.
            on_frame: Gets every frame but the last.
            silence_s: Seconds without a frame after which the runner is given up.

        Raises:
            ModelError: The artifact cannot be loaded or run.
            DataError: The samples do not fit it.
            DeviceError: The runner crashed, fell silent, or lacks the runtime.
        """
        ...
