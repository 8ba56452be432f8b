"""Finds the Python of a device, and what that Python has."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgekit.errors import DeviceError
from edgekit.targets import kept_files
from edgekit.targets.kept_files import Keeper
from edgekit.targets.ssh_connection import Connection

VENV = '"${XDG_DATA_HOME:-$HOME/.local/share}/edgekit/venv"'
"""Where `edgekit device setup` installs, as the shell there expands it."""
READY = "edgekit-setup.json"
"""Written into that environment last: without it, it is half made."""
FACTS = ("python", "modules", "bits", "cache", "home_writable", "free_bytes")
_NO_PYTHON = 120
_FIRST_S = 90.0

_FIND = f"""\
venv={VENV}
own=python3
[ -f "$venv/{READY}" ] && own=$venv/bin/python
for python in "$own" python3 python3.13 python3.12 python3.11 python3.10 python3.9; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    exec "$python" "$@"
  fi
done
python3 --version >&2
exit {_NO_PYTHON}
"""

RUNTIMES = {
    "litert": (("ai_edge_litert", "tflite_runtime"), ("numpy",)),
    "openvino": (("openvino",), ("numpy",)),
    "onnxruntime": (("onnxruntime",), ("numpy",)),
    "tensorrt": (("tensorrt",), ("numpy",)),
}
"""What a runtime imports: one of each group."""
_HOW = {
    "tensorrt": "install it for that Python: sudo apt install python3-libnvinfer on a Jetson, pip"
    " install tensorrt elsewhere; an environment of device setup does not see the system's packages"
}
"""What `device setup` does not install."""


class Found(NamedTuple):
    """A device's Python, the keeper of its files, and what a survey told."""

    python: list[str]
    keeper: Keeper
    facts: dict[str, Any]


def find(connection: Connection, *, look_only: bool = False) -> Found:
    """Looks for the environment of `device setup`, then for the system's Python, 3.9 or later.

    Args:
        connection: To the device.
        look_only: Make no place for files there.

    Raises:
        DeviceError: There is none, no place can be written, or the device cannot be reached.
    """
    modules = sorted({name for groups in RUNTIMES.values() for group in groups for name in group})
    url = connection.peer.url
    seeking = Keeper(connection, ["sh", "-c", _FIND, "sh"])
    try:
        facts = seeking.ask(
            "survey", modules=modules, ready=READY, look_only=look_only, limit_s=_FIRST_S
        )
    except DeviceError as error:
        silent = error.__cause__
        if isinstance(silent, kept_files.NoAnswer) and silent.code == _NO_PYTHON:
            raise _no_python(url, silent.said) from None
        raise
    keeper = Keeper(connection, [facts["python"]], facts["cache"] or "")
    return Found([facts["python"]], keeper, facts)


def require_runtime(url: str, runtime: str, facts: dict[str, Any]) -> None:
    """Refuses a job whose runtime the device lacks, before anything is sent.

    Raises:
        DeviceError: It is named, with the command that installs it.
    """
    groups = RUNTIMES.get(runtime, ())
    lacking = [" or ".join(one) for one in groups if not set(one) & set(facts["modules"])]
    if lacking:
        raise DeviceError(
            f"{url} lacks {', '.join(lacking)} in {facts['python']} (Python {facts['version']},"
            f" {facts['arch']}), which {runtime} needs",
            _HOW.get(runtime, f"edgekit device setup {url} --runtime {runtime}"),
        )


def _no_python(url: str, said: str) -> DeviceError:
    version = said.strip().splitlines()[-1:] or [""]
    has = f"; it has {version[0]}" if version[0].startswith("Python") else ""
    return DeviceError(
        f"{url} has no Python 3.9 or later on its PATH{has}",
        "install one there (sudo apt install python3 python3-venv), then edgekit device setup"
        f" {url}",
    )
