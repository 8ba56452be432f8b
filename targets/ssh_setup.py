"""Installs a runtime on a device, into an environment of edgekit's own, with the device's pip."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from edgekit.errors import DeviceError, UsageError
from edgekit.targets import Frame, conversation, kept_files, ssh_failures, ssh_python
from edgekit.targets.ssh_connection import SSH_FAILED, Connection

SILENCE_S = 900.0
"""pip says nothing while it fetches a large file, or builds one on a slow board."""

_ON_64_BIT = {
    "litert": ("numpy", "ai-edge-litert"),
    "openvino": ("numpy", "openvino"),
    "onnxruntime": ("numpy", "onnxruntime"),
}
_ON_ARMV7 = {"litert": ("numpy<2", "tflite-runtime==2.14.0")}
"""The last runtime with a wheel for 32-bit Arm; it needs NumPy 1."""
_PACKAGES = {"x86_64": _ON_64_BIT, "aarch64": _ON_64_BIT, "armv7l": _ON_ARMV7}
_MODULES = {
    "numpy": "numpy", "ai-edge-litert": "ai_edge_litert", "openvino": "openvino",
    "onnxruntime": "onnxruntime", "numpy<2": "numpy", "tflite-runtime==2.14.0": "tflite_runtime",
}  # fmt: skip


class Plan(NamedTuple):
    """What a setup does, on which Python."""

    python: str
    venv: str
    is_new: bool
    packages: tuple[str, ...]

    def commands(self) -> list[str]:
        """The commands that run on the device, as one would type them."""
        pip = [f"{self.venv}/bin/python", "-m", "pip", "install", *self.packages]
        made = [shlex.join([self.python, "-m", "venv", self.venv])] if self.is_new else []
        return [*made, shlex.join(pip)]


def plan(connection: Connection, runtime: str) -> Plan:
    """Looks at a device, changes nothing there, and says what would be done.

    Raises:
        UsageError: There is no runtime of this name.
        DeviceError: The device has no Python, or no package of that runtime fits it.
    """
    if runtime not in _ON_64_BIT:
        raise UsageError(f"there is no runtime '{runtime}'", f"name one of {', '.join(_ON_64_BIT)}")
    facts = ssh_python.find(connection, look_only=True).facts
    packages = _packages(connection.peer.url, runtime, facts)
    return Plan(facts["python"], facts["venv"], not facts["venv_ready"], packages)


def carry_out(connection: Connection, wanted: Plan, say: Callable[[str], None]) -> dict[str, str]:
    """Makes the environment and installs; returns the versions that it then has.

    Raises:
        DeviceError: It failed, or the connection was lost; a half-made environment is removed.
    """
    versions: dict[str, str] = {}

    def on_frame(frame: Frame) -> None:
        if frame["frame"] == "ready":
            versions.update(frame["versions"])
        else:
            say(frame["text"])

    url = connection.peer.url
    conversation.hold(
        connection.command([wanted.python, *kept_files.script("remote_setup")]),
        {
            "venv": wanted.venv,
            "ready": ssh_python.READY,
            "packages": wanted.packages,
            "modules": [_MODULES[name] for name in wanted.packages],
        },
        on_frame,
        what=url,
        silence_s=SILENCE_S,
        death=lambda code, said: _death(connection, code, said),
    )
    return versions


def _packages(url: str, runtime: str, facts: dict[str, Any]) -> tuple[str, ...]:
    arch, version = facts["arch"], facts["version"]
    if facts["bits"] == 32 and arch in ("aarch64", "armv8l"):
        arch = "armv7l"  # a 64-bit kernel below a 32-bit system
    known = _PACKAGES.get(arch, {})
    if runtime not in known:
        has = f"for {arch} there is {', '.join(known)}" if known else "none is"
        raise DeviceError(
            f"{url} is {arch} with Python {version}, and no {runtime} is published for it; {has}",
            "use a 64-bit system there" if arch.startswith("arm") else "use another device",
        )
    if arch == "armv7l" and tuple(map(int, version.split(".")[:2])) > (3, 11):
        raise DeviceError(
            f"{url} has Python {version}, and tflite-runtime, the last one for 32-bit Arm, takes"
            " 3.9 to 3.11",
            "use a 64-bit system there, or an older Python",
        )
    return known[runtime]


def _death(connection: Connection, code: int, said: str) -> DeviceError:
    if code == SSH_FAILED or code < 0:
        return ssh_failures.lost(connection.peer, "the setup")
    return DeviceError(f"{connection.peer.url}: the setup crashed there: {said}", "try once more")
