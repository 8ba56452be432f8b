"""An arm64 userland in the user's cache: an interpreter, numpy, LiteRT and the qemu to run it.

Debian packages and wheels by name, unpacked side by side; no root, no chroot, no binfmt. Its name
holds a hash of what it is made of, so that another version is another userland.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from edgekit import hashing, locking
from edgekit.errors import DeviceError
from edgekit.targets import debian

RELEASE = "trixie"
PYTHON = "3.13"
"""The interpreter of that release."""
QEMU = "10.0"
"""Of that release; 7.2, which older ones have, crashes LiteRT from 2.2 on."""
CPU = "cortex-a53"
"""The oldest arm64 core that is still common in devices: what needs more fails here, as there."""
PACKAGES = (
    "libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "liblzma5",
    f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6",
    f"python{PYTHON}-minimal", "zlib1g",
)  # fmt: skip
RUNTIME = "ai-edge-litert"
"""At the version that is installed here, so that both machines run the same kernels' sources."""
WHEELS = ("numpy==2.4.6",)
PLATFORMS = (
    "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)  # fmt: skip
DOWNLOAD_BYTES = 110_000_000
"""About what is fetched; most of it is qemu for every machine, of which one is kept."""

_HOSTS = {"x86_64": "amd64", "aarch64": "arm64"}
_EMULATOR = "qemu-aarch64"
_LIBRARIES = f"usr/lib/python{PYTHON}"
"""Wheels lie with the standard library: the one place that `python -I -S` has on its path."""

Say = Callable[[str], None]


def home() -> Path:
    """The directory that holds userlands, and what is being fetched for one."""
    return hashing.cache_directory() / "qemu-aarch64"


def place() -> Path:
    """Where the userland is, or will be."""
    made_of = [RELEASE, _host(), PACKAGES, _wheels(), PLATFORMS]
    return home() / hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def command(system: Path, *arguments: str) -> list[str]:
    """The argument list that starts its interpreter, without the variables of this machine.

    LD_PRELOAD or OPENBLAS_CORETYPE of this machine would mean something else there.
    """
    emulator = [str(system / _EMULATOR), "-cpu", CPU, "-L", str(system)]
    return ["env", "-i", *emulator, str(system / f"usr/bin/python{PYTHON}"), "-I", "-S", *arguments]


def steps() -> tuple[str, ...]:
    """What building it does, for people.

    Raises:
        DeviceError: This machine lacks what that needs.
    """
    debian.check_tools()
    size = f"{DOWNLOAD_BYTES / 1e6:.0f} MB"
    debs = f"qemu-user and {len(PACKAGES)} arm64 packages of Debian {RELEASE} ({debian.mirror()})"
    wheels = f"by pip {', '.join(_wheels())} for arm64"
    return (
        f"fetch about {size}: {debs}, and {wheels}",
        f"unpack them into {place()}; nothing is installed on this machine",
        "import the runtime there once",
    )


def packages() -> tuple[str, ...]:
    """What it is made of, by name."""
    return (*PACKAGES, *_wheels())


def versions() -> dict[str, str]:
    """The versions of its runtime and of numpy."""
    return {name: version for name, _, version in (one.partition("==") for one in _wheels())}


def build(say: Say) -> Path:
    """Makes the userland where it is not there yet, whole or not at all.

    What a call that failed or was interrupted had fetched is not fetched again.

    Raises:
        DeviceError: This machine lacks what that needs, or something cannot be fetched.
    """
    debian.check_tools()
    system = place()
    waiting = "another edgekit is building it: waiting"
    with locking.locked(home() / "lock", on_wait=lambda: say(waiting)):
        if not system.is_dir():
            staged = system.with_suffix(".new")
            try:
                _build(staged, say)
                staged.rename(system)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
            shutil.rmtree(_downloads())
    return system


def _build(staged: Path, say: Say) -> None:
    say(f"fetching arm64 packages of Debian {RELEASE}")
    source = debian.Packages(RELEASE, debian.mirror(), _downloads())
    source.directory.mkdir(exist_ok=True)
    names = [f"qemu-user:{_host()}", *(f"{name}:arm64" for name in PACKAGES)]
    emulator, *archives = source.fetch(names)
    say(f"fetching {', '.join(_wheels())} for arm64")
    wheels = _fetch_wheels(source.directory / "wheels")
    say("unpacking")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    for archive in archives:
        debian.unpack(archive, staged)
    (staged / "lib").symlink_to("usr/lib")  # where libc's loader is looked for
    debian.unpack_file(emulator, f"usr/bin/{_EMULATOR}", staged / _EMULATOR)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(staged / _LIBRARIES)
    say("importing the runtime")
    debian.run(
        command(staged, "-c", "import numpy, ai_edge_litert.interpreter"),
        "importing LiteRT under qemu",
        "report this with the versions that edgekit doctor shows",
    )


def _fetch_wheels(directory: Path) -> list[Path]:
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    debian.run(
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--python-version", PYTHON, "--implementation", "cp", *platforms),
            *("--dest", str(directory), *_wheels()),
        ],
        "pip download",
        "check the network, and that this Python has pip (python -m ensurepip)",
    )
    return [_wheel(directory, wanted) for wanted in _wheels()]


def _wheel(directory: Path, wanted: str) -> Path:
    name, _, version = wanted.partition("==")
    return next(directory.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def _wheels() -> tuple[str, ...]:
    return (f"{RUNTIME}=={metadata.version(RUNTIME)}", *WHEELS)


def _downloads() -> Path:
    return home() / "downloads"


def _host() -> str:
    machine = platform.machine()
    if machine not in _HOSTS:
        raise DeviceError(
            f"arm64 is emulated on {' and '.join(_HOSTS)}, and this machine is {machine}",
            "run edgekit on one of these",
        )
    return _HOSTS[machine]
