"""The runner as the one file that a device receives."""

from __future__ import annotations

import hashlib
import io
import zipfile
from importlib import resources

_PACKAGE = "edgekit_runner"
_MAIN = f"from {_PACKAGE}.__main__ import main\nmain()\n"
_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def runner() -> bytes:
    """The runner's sources as a `.pyz` that `python3 FILE` starts; the same bytes every time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**_sources(), "__main__.py": _MAIN.encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, _FIRST_ZIP_DATE), text)
    return packed.getvalue()


def file_name(content: bytes) -> str:
    """What a packed runner is called on a device: another version is another file."""
    return f"runner-{hashlib.sha256(content).hexdigest()[:16]}.pyz"


def _sources() -> dict[str, bytes]:
    package = resources.files("edgekit.targets.runner")
    found = [entry for entry in package.iterdir() if entry.name.endswith(".py")]
    return {f"{_PACKAGE}/{one.name}": one.read_bytes() for one in sorted(found, key=str)}
