"""`qemu://aarch64`: the runner in an arm64 userland, under qemu's user-mode emulation.

Outputs and accuracy are those of an arm64 machine; its times mean nothing and are not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit import files
from edgekit.errors import DeviceError, UsageError
from edgekit.targets import Frame, OnFrame, conversation, packing, userland

SILENCE_S = 1800.0
"""As on this machine, but everything takes about ten times as long."""

_URL = "qemu://aarch64"
NAMES = ("aarch64",)
_RUNTIME = "litert"
_OF_THIS_MACHINE = (
    "cores", "usable_cores", "cpu_quota_cores", "governor", "load_1min", "memory_bytes", "virtual",
    "temperature_c", "throttled",
)  # fmt: skip
_CPU = f"{userland.CPU.replace('cortex-a', 'Cortex-A')} emulated by qemu {userland.QEMU}"


class EmulatedArm64:
    """Runs each job in a fresh emulated process."""

    url = _URL
    is_this_machine = False
    unjudged = None
    untimed = "an emulator's times are not those of the machine that it emulates"

    def __init__(self, system: Path, runner: Path) -> None:
        self._command = userland.command(system, str(runner))

    def probe(self) -> Frame:
        """The emulated machine, as the runner describes it."""
        found: list[Frame] = []
        self.run({"kind": "probe"}, found.append)
        return found[0]

    def run(self, job: Frame, on_frame: OnFrame, *, silence_s: float = SILENCE_S) -> None:
        """See `edgekit.targets.Device.run`."""
        what = Path(job["artifact"]).name if "artifact" in job else "the runner"
        if job.get("runtime", _RUNTIME) != _RUNTIME:
            raise DeviceError(
                f"{what} needs {job['runtime']}, and {_URL} has only {_RUNTIME}",
                "convert the model with --target linux-arm64, which gives a .tflite",
            )
        conversation.hold(
            self._command,
            job,
            lambda frame: on_frame(_told(frame)),
            what=what,
            silence_s=silence_s,
            death=lambda code, said: _death(code, said, what),
        )


def open(url: str) -> EmulatedArm64:  # noqa: A001 every target has it
    """Opens the userland that `set_up` has made; nothing is fetched here.

    Raises:
        UsageError: The URL says more than `qemu://aarch64`.
        DeviceError: There is no userland yet.
    """
    _check(url)
    system = userland.place()
    if not system.is_dir():
        raise DeviceError(
            f"{_URL} needs an arm64 userland, and none is in {userland.home()} for these versions",
            f"edgekit device setup {_URL} (about {userland.DOWNLOAD_BYTES / 1e6:.0f} MB, once)",
        )
    content = packing.runner()
    runner = userland.home() / packing.file_name(content)
    if not runner.is_file():
        files.write_atomic(runner, content)
    return EmulatedArm64(system, runner)


def set_up(url: str, runtime: str, say: Callable[[str], None], *, look_only: bool) -> Frame:
    """Makes the userland where there is none, or only tells what that would do.

    Returns:
        `python`, `venv` (where it is), `packages`, `commands`, `was_there` and, once it is there,
        `versions`.

    Raises:
        UsageError: The URL says more than `qemu://aarch64`, or another runtime is asked for.
        DeviceError: See `userland.build`.
    """
    _check(url)
    if runtime != _RUNTIME:
        raise UsageError(f"{_URL} has {_RUNTIME} only, and not {runtime}", "leave out --runtime")
    system = userland.place()
    there = system.is_dir()
    commands = (f"nothing: the userland is there ({system})",) if there else userland.steps()
    if not (there or look_only):
        userland.build(say)
    return {
        "python": userland.PYTHON,
        "venv": str(system),
        "packages": list(userland.packages()),
        "commands": list(commands),
        "versions": {} if look_only else userland.versions(),
        "was_there": there,
    }


def _check(url: str) -> None:
    if url != _URL:
        raise UsageError(f"device '{url}': nothing can follow {_URL}", f"type --device {_URL}")


def _told(frame: Frame) -> Frame:
    """What is emulated is not this machine: its processor, its load, clocks and heat."""
    if frame["frame"] != "environment":
        return frame
    return {**frame, **dict.fromkeys(_OF_THIS_MACHINE), "cpu": _CPU}


def _death(code: int, said: str, what: str) -> DeviceError:
    return DeviceError(
        f"{what} crashed the emulated runner {conversation.ended(code, said)}",
        "check it with --device local; a model that runs there may meet a fault of the emulator",
    )
